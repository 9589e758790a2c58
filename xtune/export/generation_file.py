"""generation_config.json of a model that leaves: the base's own, and every token that ends an answer."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xtune.encoding.stops import stops
from xtune.errors import ModelError
from xtune.export.config_file import raw_config
from xtune.foreign import read_json, reason
from xtune.text import one_line

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from xtune.templates.template import ChatTemplate

log = logging.getLogger(__name__)

NAME = "generation_config.json"
TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
SAMPLING = ("temperature", "top_k", "top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff")
BEAMS = ("early_stopping", "length_penalty", "diversity_penalty", "num_beam_groups", "num_return_sequences")


def save_generation_config(template: ChatTemplate | None, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Writes the one in a model's folder anew, where something has to change, or makes one of its config.json.

    Values that transformers would refuse to write are left out, which is said: they cannot be what ends an export.
    """
    file = folder / NAME
    stored = readable(file) if file.is_file() else None
    values = dict(stored) if stored is not None else made_of(raw_config(folder), tokenizer)
    own = values.get("eos_token_id")
    ends = [index for index in (own if isinstance(own, list) else [own]) if isinstance(index, int)]
    ends += [index for index in stops(template, tokenizer).ids if index not in ends]
    if ends:
        values["eos_token_id"] = ends if len(ends) > 1 else ends[0]
    values = accepted(values)
    if values != stored:
        file.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def readable(file: Path) -> dict[str, Any] | None:
    """Its values. A broken one is passed over, and that is said: the base loads without it too."""
    try:
        values: dict[str, Any] = read_json(file, what="generation config", error=ModelError, lenient=True)
    except ModelError as error:
        log.warning("%s of the base is made anew: %s", NAME, error)
        return None
    return values


def made_of(config: dict[str, Any], tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """What config.json says of generation, where older models have it."""
    from transformers import GenerationConfig

    known = GenerationConfig().to_dict().keys() - {"transformers_version", "use_cache", "_from_model_config"}
    values = {key: config[key] for key in sorted(known & config.keys()) if config[key] is not None}
    pad = {} if tokenizer.pad_token_id is None else {"pad_token_id": tokenizer.pad_token_id}
    return {"_from_model_config": True, **pad, **values}


def accepted(values: dict[str, Any]) -> dict[str, Any]:
    """`values`, or as much of them as transformers accepts."""
    idle = {*(() if values.get("do_sample") else SAMPLING), *(() if (values.get("num_beams") or 1) > 1 else BEAMS)}
    fewer = {key: value for key, value in values.items() if key not in idle}
    problem = refusal(values)
    if problem is None:
        return values
    tokens = {key: values[key] for key in TOKENS if key in values}
    kept = next((some for some in (fewer, tokens) if refusal(some) is None), {})
    out = ", ".join(sorted(values.keys() - kept.keys()))
    log.warning("%s: left out %s, which transformers refuses to write: %s", NAME, out, problem)
    return kept


def refusal(values: dict[str, Any]) -> str | None:
    """Why transformers would not write these values, in short; None where it would."""
    from transformers import GenerationConfig

    try:
        GenerationConfig.from_dict(values).validate(strict=True)
    except Exception as error:  # values of any type
        return one_line(reason(error), 120)
    return None
