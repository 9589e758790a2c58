"""transformers: the attention that a model computes, the class for a config, and what is written of a model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def attention_of(config: Any) -> str:
    """The attention that a model with this config computes: it decides how packed samples are kept apart."""
    name: str = config._attn_implementation
    return name


def set_attention(config: Any, name: str) -> None:
    config._attn_implementation = name


def takes_sdpa(kind: Any) -> bool:
    """Whether a model class computes attention by torch's scaled_dot_product_attention if asked."""
    return bool(kind._supports_sdpa)


def causal_classes(config: Any) -> list[type[Any]]:
    """The causal language models of transformers for a config, by its class; none where there are none."""
    from transformers import AutoModelForCausalLM

    found = AutoModelForCausalLM._model_mapping.get(type(config), None)
    return list(found) if isinstance(found, (tuple, list)) else [found] if found is not None else []


def forget_quantizer(model: Any) -> None:
    """Makes a plain model of one that was dequantized while it was loaded: save_pretrained refuses it otherwise."""
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config


def stored_tensors(model: Any) -> dict[str, Tensor]:
    """The tensors of a model by the names that its checkpoints have; tied ones under each of theirs.

    Families of fused weights (experts, q, k and v) come apart again, as save_pretrained takes them.
    """
    from transformers.core_model_loading import revert_weight_conversion

    state = model.state_dict()
    for name in model._keys_to_ignore_on_save or ():
        state.pop(name, None)
    found: dict[str, Tensor] = revert_weight_conversion(model, state)
    return found


@contextmanager
def without_zero3() -> Iterator[None]:
    """Within, transformers loads as if ZeRO-3 were not on, which takes no device."""
    from transformers.integrations import deepspeed

    config = deepspeed._hf_deepspeed_config_weak_ref and deepspeed._hf_deepspeed_config_weak_ref()
    if config is None:
        yield
        return
    deepspeed.unset_hf_deepspeed_config()
    try:
        yield
    finally:
        deepspeed.set_hf_deepspeed_config(config)
