"""Direct preference optimisation (arXiv:2305.18290): of two answers, the preferred one is made likelier."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from xtune.conversation import Preference, Row
from xtune.objectives.objective import Objective

if TYPE_CHECKING:
    from torch import Tensor

    from xtune.data.collate import Batch


class Dpo(Objective):
    """Direct preference optimisation: -log sigmoid(beta * (gain of the chosen answer - gain of the rejected one)).

    A gain is an answer's log-probability less that by the model as it was before training.
    """

    beta: float = Field(default=0.1, gt=0, description="how closely the model is held to what it was")
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=0.5, description="share of pairs that may be the wrong way round"
    )

    takes: ClassVar[type[Row]] = Preference
    sequences: ClassVar[int] = 2
    needs_reference: ClassVar[bool] = True
    unit: ClassVar[str] = "pairs"
    loss_name: ClassVar[str] = "loss a pair"
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "margin", "chosen_reward", "rejected_reward")

    def loss(self, log_probs: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Equation 7 of the paper, in float64. Rewards are those of equation 5, and the margin is their difference."""
        from torch.nn.functional import logsigmoid

        rewards_E2 = self.beta * (batch.by_sequence(log_probs) - batch.numbers["reference"])
        margin_E = rewards_E2[:, 0] - rewards_E2[:, 1]
        loss_E = -logsigmoid(margin_E) + self.label_smoothing * margin_E  # logsigmoid(-m) is logsigmoid(m) - m
        chosen, rejected = rewards_E2.detach().sum(0)
        right = (margin_E > 0).double().sum()
        found = (right, margin_E.detach().sum(), chosen, rejected)
        return loss_E.sum(), dict(zip(self.metrics, found, strict=True))
