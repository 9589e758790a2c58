"""Chat templates: one file per family of plain values; render, encode and the rest read them."""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING

from xtune.plugins.hookspecs import hookimpl

if TYPE_CHECKING:
    from xtune.registry import Registry
    from xtune.templates.template import ChatTemplate

FAMILIES = (
    "generic", "baichuan", "chatglm", "cohere", "deepseek", "gemma", "internlm", "llama", "minicpm", "mistral", "phi",
    "qwen", "smollm",
)  # fmt: skip


@lru_cache(maxsize=1)
def builtin() -> dict[str, ChatTemplate]:
    """The templates that come with xtune, by name."""
    families = [import_module(f"{__name__}.families.{family}") for family in FAMILIES]
    return {name: template for family in families for name, template in family.TEMPLATES.items()}


@hookimpl
def register_templates(templates: Registry[ChatTemplate]) -> None:
    for name, template in builtin().items():
        templates.add(name, template)
