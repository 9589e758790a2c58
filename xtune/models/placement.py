"""Whether every weight of a model came from its files, and every weight in the files found its place.

transformers gives random values to what the files lack and drops what the class has no place for, and says so in its
log only. Here both are refused, but for what SURPLUS lists.
"""

from __future__ import annotations

import io
import logging
import re
from collections import defaultdict
from collections.abc import Iterable
from contextlib import redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xtune.compat.transformers import without_zero3
from xtune.errors import ModelError
from xtune.models.weight_files import stored_tensors
from xtune.quantization.stored import stored_as

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

log = logging.getLogger(__name__)

SURPLUS = {
    r"(^|\.)(rotary_(emb|pos_emb)\.)?(inv_freq|cos_cached|sin_cached)$": "rotary tables, which follow from the config",
    r"(^|\.)(attn|attention|self_attention)\.(masked_)?bias$": "the causal mask, which old files of GPT kin store",
    r"(^|\.)position_ids$": "positions, which are counted",
    r"(^|\.)_extra_state$": "the state of another training framework",
    r"(^|\.)(mtp|mtp_layers|nextn_predict_layers)\.": "layers that predict tokens further ahead: training has no use",
    r"(^|\.)(vision_tower|vision_model|visual|multi_modal_projector|mm_projector|audio_tower|talker|token2wav)\.": (
        "the parts of a multimodal model that see and hear, beside the text model that is trained"
    ),
    r"(^|\.)(v_head|value_head|score)\.": "the head of a reward or value model, which was trained beside the model",
    r"\.([qkv]|kv)_scale$": "scales of a quantized key-value cache, which servers use",
}
"""Weights that a causal language model has no place for, by pattern, and why they may be left out. What a class of
transformers says that it ignores is left out already."""

WRAPPERS = {
    "_orig_mod": "torch.compile",
    "module": "DataParallel or DDP",
    "_fsdp_wrapped_module": "FSDP",
    "_forward_module": "Lightning",
    "base_model.model": "peft",
}
"""Prefixes that training frameworks leave on the names of saved weights, and whose they are."""

OWN_CONFIG = "take the config.json that belongs to these files"
EXPERT = re.compile(r"(?P<layer>.*\.experts\.)(?P<expert>\d+)(?P<weight>\..+)")
MOST_OF_A_LAYER = 5
"""Weights."""
LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks|block)\.(\d+)\.")


def refuse_misplaced(path: str | Path, found: dict[str, Any], config: PreTrainedConfig) -> None:
    """Raises ModelError for what from_pretrained could not place: `found` is its loading info, `config` the model's.

    The line names the first weight, how many there are, and what most likely is the cause.
    """
    missing, mismatched = sorted(found["missing_keys"]), sorted(found["mismatched_keys"])
    surplus = [key for key in sorted(found["unexpected_keys"]) if not left_out(key, config)]
    if missing:
        fact = f"{_weights(missing)} not in its files, and would be random: the first is `{missing[0]}`"
    elif mismatched:
        name, stored, wanted = mismatched[0]
        shapes = f"{_shape(stored)} in its files and {_shape(wanted)} by its config.json"
        fact = f"{_weights(mismatched)} of another shape: the first is `{name}`, {shapes}"
    elif surplus:
        fact = f"{_weights(surplus)} in its files that its class has no place for: the first is `{surplus[0]}`"
    else:
        if ignored := sorted(found["unexpected_keys"]):
            log.info("%s: %d weights are left out, such as %s", path, len(ignored), ignored[0])
        return
    raise ModelError(f"model {path} is not whole: {fact}", _cause(missing, surplus, config))


def left_out(key: str, config: PreTrainedConfig) -> bool:
    """Whether a weight of this name may be left out: it is among SURPLUS, or of a layer that only predicts ahead."""
    text = config.get_text_config()
    layer = LAYER.search(key)
    ahead = getattr(text, "num_nextn_predict_layers", None) or 0
    first = getattr(text, "num_hidden_layers", 0)
    if layer and ahead and first <= int(layer[1]) < first + ahead:
        return True
    return any(re.search(pattern, key) for pattern in SURPLUS)


def refuse_by_headers(
    path: str | Path, kind: type[PreTrainedModel], config: PreTrainedConfig, files: list[Path]
) -> None:
    """refuse_misplaced for weight `files`, by the names and shapes in them alone: no value is read.

    The same code of transformers runs as at loading, renamings and conversions included, on torch's meta device.
    Nothing is said of files whose weights are stored quantized: their names are the method's own.
    """
    if not files or stored_as(config):
        return
    tensors = stored_tensors(files)
    try:
        with redirect_stderr(io.StringIO()), without_zero3():  # a progress bar
            _, found = kind.from_pretrained(
                None,
                config=config,
                state_dict=tensors,
                device_map={"": "meta"},
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except RuntimeError as error:  # experts that cannot be joined to one weight, but transformers does not say which
        if absent := absent_experts(tensors):
            raise ModelError(
                f"model {path} is not whole: {_weights(absent)} not in its files, the first is `{absent[0]}`",
                "download the model again",
            ) from error
        raise
    refuse_misplaced(path, found, config)


def absent_experts(names: Iterable[str]) -> list[str]:
    """The names that are missing where the other layers, or other weights of the layer, have as many experts."""
    numbers: dict[tuple[str, str], set[str]] = defaultdict(set)
    for name in names:
        if match := EXPERT.match(name):
            numbers[match["layer"], match["weight"]].add(match["expert"])
    every = set().union(*numbers.values())
    return sorted(f"{layer}{expert}{weight}" for (layer, weight), has in numbers.items() for expert in every - has)


def _weights(keys: list[Any]) -> str:
    return "1 weight is" if len(keys) == 1 else f"{len(keys)} weights are"


def _shape(sizes: Iterable[int]) -> str:
    return " x ".join(map(str, sizes)) or "a single number"


def _cause(missing: list[str], surplus: list[str], config: PreTrainedConfig) -> str:
    """What most likely is wrong, and what to do."""
    if missing and surplus and (prefix := _prefix(missing, surplus)):
        whose = next((f" ({name})" for word, name in WRAPPERS.items() if prefix.startswith(f"{word}.")), "")
        return f"names in the files begin with `{prefix}`{whose}: rename them, or save the unwrapped model again"
    if missing and surplus and (lacking := _prefix(surplus, missing)):
        return f"names in the files lack `{lacking}`: rename them, or save the whole model again"
    layers = getattr(config.get_text_config(), "num_hidden_layers", 0)
    if (more := _layers(surplus)) and min(more) >= layers:
        return f"config.json has num_hidden_layers={layers}, the files hold {max(more) + 1}: {OWN_CONFIG}"
    fewer = _layers(missing)
    if fewer == set(range(min(fewer, default=0), layers)) - {0} and len(missing) >= MOST_OF_A_LAYER * len(fewer) > 0:
        return f"config.json has num_hidden_layers={layers}, the files seem to hold {min(fewer)}: {OWN_CONFIG}"
    if missing:
        return f"download the model again, or {OWN_CONFIG}"
    return f"{OWN_CONFIG}, or remove them from the files if they are no part of the model" if surplus else OWN_CONFIG


def _layers(keys: list[str]) -> set[int]:
    """The numbers of the layers that all `keys` are in; none where one is in no layer."""
    found = [LAYER.search(key) for key in keys]
    return {int(match[1]) for match in found if match} if all(found) else set()


def _prefix(plain: list[str], prefixed: list[str]) -> str:
    """What stands before one of the `plain` names in each of the `prefixed` ones; "" where that differs."""
    names = set(plain)
    first = prefixed[0]
    ends = (first[place + 1 :] for place, letter in enumerate(first) if letter == ".")
    prefix = next((first[: -len(end)] for end in ends if end in names), "")
    return prefix if prefix and all(key.startswith(prefix) for key in prefixed) else ""
