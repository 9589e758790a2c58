"""What is learned from a row. Its fields are its options."""

from typing import ClassVar

from pydantic import Field

from xtune import Objective


class Focal(Objective):
    """Cross entropy in which tokens that the model is sure of count less (arXiv:1708.02002)."""

    gamma: float = Field(default=1.0, ge=0, description="how much less; 0 is plain cross entropy")

    unit: ClassVar[str] = "trained"

    def loss(self, log_probs, batch):
        return -((1 - log_probs.exp()) ** self.gamma * log_probs).sum(), {}

    def weight(self, batch):
        return batch.trained
