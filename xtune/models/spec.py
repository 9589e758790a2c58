"""What is known of a base model before anything is downloaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from xtune.errors import ModelError


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Facts of one base model. Plugins may leave `config` out; then `parameters` is needed."""

    path: str
    """Hub id of the weights."""
    family: str
    """Its generation, such as "llama3": the folder of its configs."""
    template: str
    """Registry name of its chat template."""
    context: int
    """Longest input, in tokens."""
    licence: str
    chat: bool = False
    """Whether the vendor tuned it for chat."""
    config: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """The sizes in its config.json, under the names that transformers' class for it uses; `model_type` is one."""
    parameters: int = 0
    """Their number; computed from `config` where that is given."""

    def __post_init__(self) -> None:
        if not self.config and not self.parameters:
            raise ModelError(f"model {self.path} has neither config nor parameters", "give it one of them")
        if self.config and not self.parameters:
            from xtune.models.count import parameters
            from xtune.models.traits import TRAITS

            if self.config.get("model_type") not in TRAITS:
                raise ModelError(
                    f"model {self.path} cannot be counted by its config: got model_type "
                    f"`{self.config.get('model_type')}`",
                    "give the ModelSpec its parameters",
                )
            object.__setattr__(self, "parameters", parameters(self.config))


def sizes(
    model_type: str,
    *,
    hidden: int,
    layers: int,
    heads: int,
    intermediate: int,
    vocab: int,
    kv_heads: int | None = None,
    tied: bool = False,
    **others: Any,
) -> dict[str, Any]:
    """A ModelSpec's `config` from the few numbers in which most models differ; `others` keep transformers' names."""
    return {
        "model_type": model_type,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads if kv_heads is None else kv_heads,
        "intermediate_size": intermediate,
        "vocab_size": vocab,
        "tie_word_embeddings": tied,
        **others,
    }
