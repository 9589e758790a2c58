"""Chat templates: one file per family of plain values; render, encode and the rest read them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from xtune.hookspecs import hookimpl

if TYPE_CHECKING:
    from xtune.registry import Registry
    from xtune.templates.template import ChatTemplate

FAMILIES = (
    "generic", "baichuan", "chatglm", "cohere", "deepseek", "gemma", "internlm", "llama", "minicpm", "mistral", "phi",
    "qwen", "smollm",
)  # fmt: skip


@hookimpl
def register_templates(templates: Registry[ChatTemplate]) -> None:
    for family in FAMILIES:
        for name, template in import_module(f"{__name__}.{family}").TEMPLATES.items():
            templates.add(name, template)
