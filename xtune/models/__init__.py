"""The built-in models, by name."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from xtune.plugins.hookspecs import hookimpl
from xtune.registry import Registry

FAMILIES = (
    "baichuan",
    "chatglm",
    "cohere",
    "deepseek",
    "gemma",
    "internlm",
    "llama",
    "minicpm",
    "mistral",
    "phi",
    "qwen",
    "smollm",
    "starcoder",
    "yi",
)
"""Files of specs/, each with a table MODELS."""


@hookimpl
def register_models(models: Registry[Any]) -> None:
    for family in FAMILIES:
        for name, spec in import_module(f"xtune.models.specs.{family}").MODELS.items():
            models.add(name, spec)
