"""A way to tune weights. Its fields are its options."""

from pydantic import Field

from xtune import Tuning


class OnlyNorms(Tuning):
    """Trains the weights of the normalisation layers and nothing else (arXiv:2312.11420)."""

    part: str = Field(default="norm", description="what the names of the trained weights have in them")

    def prepare(self, model):
        for name, weight in model.named_parameters():
            weight.requires_grad_(self.part in name)
        return model
