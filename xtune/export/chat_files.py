"""What a folder needs for chat besides weights: the tokenizer's own files, a Jinja chat template for servers that
writes what was trained, the trained template's values for xtune, and settings that stop where an answer ends.
"""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xtune.encoding.verify import compare
from xtune.errors import ModelError, XtuneError
from xtune.export.generation_file import save_generation_config
from xtune.export.source import TEMPLATES, carry_tokenizer
from xtune.export.spelling import tokenizer_spelling
from xtune.foreign import read_json
from xtune.templates.jinja import to_jinja
from xtune.templates.store import save_template

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from xtune.templates.template import ChatTemplate

log = logging.getLogger(__name__)

SETTINGS = "tokenizer_config.json"
OWN_TEMPLATES = ("chat_template.jinja", "chat_template.json")


def save_chat_files(
    template: ChatTemplate | None, tokenizer: PreTrainedTokenizerBase, source: Path, folder: Path
) -> None:
    """Writes them to `folder`; `tokenizer` was read from `source`. Template None keeps the tokenizer's own."""
    carry_tokenizer(source, folder)
    if not (folder / SETTINGS).is_file():
        tokenizer.save_pretrained(folder)
    finish_chat_files(template, tokenizer, folder)


def finish_chat_files(template: ChatTemplate | None, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """The rest of save_chat_files, where `folder` has the tokenizer's files already."""
    settings = tokenizer_settings(folder)
    if template is not None:
        save_template(template, folder)
        if not writes_the_same(template, tokenizer):
            replace_template(to_jinja(template), settings, folder)
    write_settings(tokenizer_spelling(settings), folder)
    if (folder / "config.json").is_file():
        save_generation_config(template, tokenizer, folder)


def writes_the_same(template: ChatTemplate, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the tokenizer's own chat template gives the ids that were trained: then it stays, with all that it can do
    besides, such as tools. That it does not is said.
    """
    if not tokenizer.chat_template:
        return False
    try:
        found = compare(template, tokenizer)
    except XtuneError as error:
        log.warning("the tokenizer's own chat template is replaced by the trained one: %s", error)
        return False
    if found.differences or not found.alike:
        log.warning(
            "the tokenizer's own chat template gives other ids than the trained one, which is written in its place; "
            "what it had besides (tools, reasoning) is gone: xtune check-template shows the difference"
        )
    return bool(found.alike and not found.differences)


def replace_template(jinja: str, settings: dict[str, Any], folder: Path) -> None:
    """Writes `jinja` as the only chat template of the tokenizer in `folder`, whose settings are changed in place."""
    shutil.rmtree(folder / TEMPLATES, ignore_errors=True)
    for name in OWN_TEMPLATES:
        (folder / name).unlink(missing_ok=True)
    if "chat_template" in settings:  # readers that are older than the file look here
        settings["chat_template"] = jinja
    (folder / OWN_TEMPLATES[0]).write_text(jinja, encoding="utf-8")


def tokenizer_settings(folder: Path) -> dict[str, Any]:
    """The values of tokenizer_config.json."""
    values: dict[str, Any] = read_json(folder / SETTINGS, what="tokenizer config", error=ModelError, lenient=True)
    return values


def write_settings(settings: dict[str, Any], folder: Path) -> None:
    """Writes tokenizer_config.json; one that says the same already stays as it is."""
    if tokenizer_settings(folder) != settings:
        text = json.dumps(settings, indent=2, ensure_ascii=False) + "\n"
        (folder / SETTINGS).write_text(text, encoding="utf-8")
