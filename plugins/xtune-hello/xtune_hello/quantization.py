"""A way to hold the weights of the base model. Its fields are its options."""

from pydantic import Field

from xtune.quantization.bits import Nf4


class Spared(Nf4):
    """4 bits of the type NormalFloat, but for the layers that it spares."""

    spared: list[str] = Field(default=["lm_head"], description="what the names of layers that stay whole have in them")

    def load_options(self, compute_dtype):
        options = super().load_options(compute_dtype)
        options.llm_int8_skip_modules = self.spared
        return options
