"""An optimizer, whose fields are its options, and a schedule."""

from typing import ClassVar

from pydantic import Field

from xtune import Optimizer


class Momentum(Optimizer):
    """Stochastic gradient descent with momentum."""

    momentum: float = Field(default=0.9, ge=0, lt=1, description="share of the last step that the next one keeps")

    state_bytes: ClassVar[float] = 4.0

    def make(self, groups, *, lr, betas, eps):
        import torch

        return torch.optim.SGD(groups, lr=lr, momentum=self.momentum)


def square(progress):
    """A parabola from 1 to 0."""
    return (1 - progress) ** 2
