"""Models whose weights are stored quantized: what may be asked of them, and what may not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from xtune.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

PLAIN = "give the model that is not quantized"


def method_and_bits(quantization: Any) -> tuple[str, int]:
    """The method and the bits of a quantization config, as an object or as config.json has it; 0 for unknown bits."""
    values = quantization if isinstance(quantization, dict) else quantization.to_dict()
    if values.get("load_in_4bit") or values.get("load_in_8bit"):
        return "bitsandbytes", 4 if values.get("load_in_4bit") else 8
    method = values.get("quant_method")
    bits = values.get("bits")
    return str(getattr(method, "value", method)), bits if isinstance(bits, int) else 0


def stored_as(config: PreTrainedConfig) -> str:
    """How the weights are stored, such as "4 bits (bitsandbytes)"; "" where they are not quantized."""
    stored = getattr(config, "quantization_config", None) or getattr(
        config.get_text_config(), "quantization_config", None
    )
    if not stored:
        return ""
    method, bits = method_and_bits(stored)
    return f"{bits} bits ({method})" if bits else method


def refuse_requantizing(path: str | Path, config: PreTrainedConfig, wanted: Any) -> None:
    """Raises ModelError where a model that is stored quantized is asked for in another quantization.

    transformers would load it as it is stored, whatever is asked for.
    """
    stored = stored_as(config)
    method, bits = method_and_bits(wanted)
    if stored and stored != f"{bits} bits ({method})":
        raise ModelError(
            f"model {path} is stored in {stored}, and cannot be loaded in {bits or method} bits; "
            f"{PLAIN}, or ask for the bits that it has"
        )


def refuse_quantized(path: str | Path, config: PreTrainedConfig, purpose: str, hint: str) -> None:
    """Raises ModelError where the weights are stored quantized, which `purpose` cannot have."""
    if stored := stored_as(config):
        raise ModelError(f"model {path} is stored in {stored}: {purpose}; {hint}")
