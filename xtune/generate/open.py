"""A model folder and an adapter -> a Session with the chat template that was trained."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xtune.errors import ModelError
from xtune.generate.session import Session
from xtune.models.adapter import adapter_base, load_adapter
from xtune.models.adapter_files import check_adapter
from xtune.models.identity import recorded_base, refuse_other_base
from xtune.models.load import load_model, load_tokenizer
from xtune.models.place import local_folder
from xtune.models.vocabulary import added_beyond, embedding_rows
from xtune.templates.own_jinja import own_template
from xtune.templates.store import find_template, load_template

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from xtune.registries import Components
    from xtune.templates.template import ChatTemplate

log = logging.getLogger(__name__)


def open_session(
    model: str,
    found: Components,
    *,
    adapter: str | None = None,
    bits: int | None = None,
    template: str | None = None,
    dtype: str = "auto",
    other_base: bool = False,
) -> Session:
    """Loads what is needed to chat. `model` may itself be an adapter's folder: its base model is then loaded too.

    The template is the one stored with the adapter or model, else the registry's for that model, else the tokenizer's
    own. Choosing another one with `template` is allowed and warned of; so is, with `other_base`, a model with other
    weights than the adapter was trained on.
    """
    if adapter is None and os.path.isfile(os.path.join(model, "adapter_config.json")):
        base = adapter_base(model)
        rest: dict[str, Any] = {"bits": bits, "template": template, "dtype": dtype, "other_base": other_base}
        try:
            return open_session(base, found, adapter=model, **rest)
        except ModelError as error:
            if os.path.exists(base):
                raise
            raise ModelError(
                f"{error} (adapter {model} names this base", f"if it lies elsewhere: xtune chat BASE --adapter {model})"
            ) from error
    if adapter is not None:
        check_adapter(adapter)  # a wrong one is reported before the model is loaded
        refuse_other_base(f"adapter {adapter}", recorded_base(adapter), model, other_base=other_base)
    tokenizer = session_tokenizer(model, adapter)
    chosen = choose_template(model, adapter, template, tokenizer, found)
    network = load_model(model, dtype=dtype, quantization=bits)
    added_beyond(tokenizer, embedding_rows(network.config))  # another model's tokenizer is refused
    if adapter is not None:
        network = load_adapter(network, adapter)
    return Session(network.eval(), tokenizer, chosen)


def session_tokenizer(model: str, adapter: str | None) -> PreTrainedTokenizerBase:
    """The tokenizer stored with the adapter, where there is one, else the model's."""
    if adapter is not None and (Path(adapter) / "tokenizer_config.json").is_file():
        return load_tokenizer(adapter)
    return load_tokenizer(model)


def choose_template(
    model: str,
    adapter: str | None,
    name: str | None,
    tokenizer: PreTrainedTokenizerBase,
    found: Components,
) -> ChatTemplate | None:
    """The template to chat with; None means the tokenizer's own. Raises ModelError where there is none that works."""
    folders = [folder for folder in (adapter, local_folder(model, weights=False)) if folder and Path(folder).is_dir()]
    stored = next((template for folder in folders if (template := load_template(folder))), None)
    if name is not None:
        chosen = find_template(name, found.templates)
        if stored is not None and stored != chosen:
            log.warning("this model was trained with another chat template than %s: its answers may be poor", name)
        return chosen
    if stored is not None:
        return stored
    known = next((spec for spec in found.models.values() if spec.path == model), None)
    if known is not None:
        return found.templates[known.template]
    if own_template(tokenizer) is not None:  # a broken one is refused before the model is loaded
        return None
    raise ModelError(f"model {model} has no chat template", "choose one with --prompt-template (xtune list-templates)")
