"""What a folder needs for chat besides weights: the tokenizer, with the trained template as its Jinja chat template for
servers, the template's values for xtune, and generation settings that stop where the template ends an answer.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from xtune.generate.session import stops
from xtune.models.load import read_config
from xtune.templates.jinja import to_jinja
from xtune.templates.store import save_template

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from xtune.templates.template import ChatTemplate


def save_chat_files(template: ChatTemplate | None, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Writes them to `folder`; template None keeps the tokenizer's own."""
    if template is not None:
        tokenizer.chat_template = to_jinja(template)
        save_template(template, folder)
    tokenizer.save_pretrained(folder)
    if (folder / "config.json").is_file():
        save_generation_config(template, tokenizer, folder)


def save_generation_config(template: ChatTemplate | None, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """generation_config.json of a model folder: the model's own where there is one, with every stop token added."""
    from transformers import GenerationConfig

    own = (folder / "generation_config.json").is_file()
    config = (
        GenerationConfig.from_pretrained(folder) if own else GenerationConfig.from_model_config(read_config(folder)[0])
    )
    ids, _ = stops(template, tokenizer, config.eos_token_id)
    config.eos_token_id = ids if len(ids) > 1 else ids[0]
    if config.pad_token_id is None:
        config.pad_token_id = tokenizer.pad_token_id
    config.save_pretrained(folder)
