"""Models whose weights are stored quantized: what may be asked of them, and what may not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from xtune.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

SETTINGS = {
    ("bitsandbytes nf4", 4): "nf4",
    ("bitsandbytes fp4", 4): "fp4",
    ("bitsandbytes", 8): "int8",
}
"""What the settings call the ways that they can ask for."""
PLAIN = "give the model that is not quantized"


class Stored(NamedTuple):
    """A way to hold weights: the method, such as "bitsandbytes nf4", and the bits, 0 where they are not said."""

    method: str
    bits: int

    def __str__(self) -> str:
        return f"{self.bits} bits ({self.method})" if self.bits else self.method


def way_of(quantization: Any) -> Stored:
    """What a quantization config says, as an object of transformers or as config.json has it."""
    values = quantization if isinstance(quantization, dict) else quantization.to_dict()
    if values.get("load_in_4bit"):
        return Stored(f"bitsandbytes {values.get('bnb_4bit_quant_type', 'fp4')}", 4)
    if values.get("load_in_8bit"):
        return Stored("bitsandbytes", 8)
    method, bits = values.get("quant_method"), values.get("bits")
    return Stored(str(getattr(method, "value", method)), bits if isinstance(bits, int) else 0)


def stored_as(config: PreTrainedConfig) -> Stored | None:
    """How the weights of a model are stored; None where they are not quantized."""
    found = getattr(config, "quantization_config", None)
    found = found or getattr(config.get_text_config(), "quantization_config", None)
    return way_of(found) if found else None


def refuse_requantizing(path: str | Path, config: PreTrainedConfig, wanted: Any) -> None:
    """Raises ModelError where a model that is stored quantized is asked for in another way.

    transformers would load it as it is stored, whatever is asked for.
    """
    stored = stored_as(config)
    if stored and stored != way_of(wanted):
        raise ModelError(
            f"model {path} is stored in {stored}, and cannot be loaded in {way_of(wanted)}",
            f"{PLAIN}, or ask for what it is",
        )


def refuse_quantized(path: str | Path, config: PreTrainedConfig, what: str, hint: str = PLAIN) -> None:
    """Raises ModelError where the weights are stored quantized, and something needs whole ones: `what`."""
    if stored := stored_as(config):
        raise ModelError(f"model {path} is stored in {stored}: {what}", hint)


def refuse_unasked(path: str | Path, config: PreTrainedConfig) -> None:
    """Raises ModelError where adapters are to be trained on weights that bitsandbytes quantized, and the settings say
    that they are not. Other methods have no setting: there, the model alone says it.
    """
    stored = stored_as(config)
    if stored and stored.method.startswith("bitsandbytes"):
        setting = SETTINGS.get(stored, "nf4")
        raise ModelError(
            f"model {path} is stored in {stored}, and quantization=none asks for whole weights",
            f"set quantization={setting}, or {PLAIN}",
        )
