"""bitsandbytes: 4 and 8 bits, quantized while the model is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from xtune.compat.bitsandbytes import keep_weights_readable
from xtune.quantization.quantization import Quantization

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


class FourBits(Quantization):
    """4-bit weights in blocks of 64, each block with a scale (arXiv:2305.14314)."""

    bits: ClassVar[int | None] = 4
    quant_type: ClassVar[str]

    double_quant: bool = Field(default=True, description="quantize the quantization constants too")

    def bytes_per_weight(self, width: int) -> float:
        # a scale for 64 weights; quantized in turn, it takes a byte, and a float32 for 256 of them
        return 0.5 + ((1 + 4 / 256) if self.double_quant else 4) / 64

    def load_options(self, compute_dtype: torch.dtype) -> Any:
        from transformers import BitsAndBytesConfig

        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=self.quant_type,
            bnb_4bit_use_double_quant=self.double_quant,
            bnb_4bit_compute_dtype=compute_dtype,
        )

    def prepare(self, model: PreTrainedModel) -> None:
        keep_weights_readable(model)


class Nf4(FourBits):
    """4-bit weights of the type NormalFloat, in blocks of 64 (arXiv:2305.14314)."""

    quant_type: ClassVar[str] = "nf4"


class Fp4(FourBits):
    """4-bit weights of a floating point type, in blocks of 64."""

    quant_type: ClassVar[str] = "fp4"


class Int8(Quantization):
    """8-bit weights (LLM.int8, arXiv:2208.07339)."""

    bits: ClassVar[int | None] = 8
    readable_on_cpu: ClassVar[bool] = False  # peft loses their scales there

    def bytes_per_weight(self, width: int) -> float:
        return 1.0

    def load_options(self, compute_dtype: torch.dtype) -> Any:
        from transformers import BitsAndBytesConfig

        return BitsAndBytesConfig(load_in_8bit=True)
