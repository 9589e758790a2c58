"""What is known of a base model before anything is downloaded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Facts of one base model. `parameters` is their number; `context` the longest input in tokens."""

    path: str
    """Hub id of the weights."""
    family: str
    """The file of this folder that holds it, and the folder of its configs, such as "llama"."""
    template: str
    """Registry name of its chat template."""
    parameters: int
    context: int
    licence: str
    chat: bool = False
    """Whether the vendor tuned it for chat."""
