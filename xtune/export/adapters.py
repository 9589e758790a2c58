"""convert adapters: LoRA adapters of the legacy families between the vendors' module names and the native ones.

Adapters that were trained with the vendors' code (by old XTuner, for one) name its modules: `wqkv`, `c_attn`,
`query_key_value`, `W_pack`. Here these are three modules, so one fused adapter becomes three that share their A, and
three become one of their summed rank whose B is block-diagonal. Both compute what the other computes: W + s B A.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from xtune.errors import ModelError
from xtune.export.folder import whole_folder
from xtune.foreign import foreign
from xtune.models.adapter import adapter_base
from xtune.models.adapter_files import read_adapter_config, read_adapter_weights
from xtune.models.config_file import told_in_one_line
from xtune.models.legacy import legacy_model_class
from xtune.models.legacy.names import Names
from xtune.models.place import local_folder

if TYPE_CHECKING:
    from torch import Tensor

Layout = Literal["native", "original"]
PEFTS_ALPHA = 8
"""Where adapter_config.json says nothing."""
PREFIX = "base_model.model."
PART = re.compile(
    r"^(?P<module>.+?)\.(?P<part>lora_(?:A|B)\.weight|lora_embedding_[AB]|lora_magnitude_vector|weight|bias)$"
)


@dataclass
class Module:
    """The adapter of one module: its tensors by part, such as "lora_A.weight", and the factor on its product."""

    parts: dict[str, Tensor]
    scale: float

    @property
    def rank(self) -> int:
        """0 for a module that is saved whole."""
        return next((len(tensor) for part, tensor in self.parts.items() if part in LOW_RANK), 0)


LOW_RANK = ("lora_A.weight", "lora_embedding_A")


def convert_adapter(
    adapter: str | Path, out: str | Path, layout: Layout, *, base: str | Path | None = None, force: bool = False
) -> None:
    """Writes the adapter in folder `adapter` to `out` with the module names of `layout`.

    `base` is the base model, of which only config.json is read; None takes the one that the adapter names. Ranks and
    alphas per module are carried over. Raises ModelError where the base is not of a legacy family or a module of the
    adapter is not in it.
    """
    from safetensors.torch import save_file
    from transformers import PreTrainedConfig

    adapter, model = Path(adapter), base or adapter_base(adapter)
    with told_in_one_line(model):
        vendor_config = PreTrainedConfig.get_config_dict(local_folder(model, weights=False))[0]
        family = legacy_model_class(vendor_config)
        if family is None:
            raise ModelError(f"adapters of this model have one layout only: got base {model}", "no need to convert")
        names = Names(family, family.config_class.from_dict(vendor_config))
    settings = read_adapter_config(adapter)
    modules = read_modules(adapter, settings)
    with foreign(f"adapter {adapter} does not fit {model}", ModelError, "give the base that it was trained on"):
        changed = to_native(modules, names) if layout == "native" else to_vendor(modules, names)
    unknown = sorted(set(changed) - names.modules(layout))
    if unknown:
        raise ModelError(
            f"adapter {adapter} does not fit {model}: it has no module {unknown[0]}",
            "give the base that it was trained on",
        )
    with whole_folder(out, force=force) as folder:
        tensors = {
            f"{PREFIX}{name}.{part}": t.contiguous() for name, m in changed.items() for part, t in m.parts.items()
        }
        save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        settings = new_settings(settings, changed, names.modules(layout))
        (folder / "adapter_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def read_modules(folder: Path, settings: dict[str, Any]) -> dict[str, Module]:
    """The adapter's modules by name. Raises ModelError for a tensor that is not LoRA's."""
    modules: dict[str, Module] = {}
    for key, tensor in read_adapter_weights(folder).items():
        match = PART.match(key.removeprefix(PREFIX))
        if match is None:
            raise ModelError(f"adapter {folder} has a tensor that is not LoRA's: got `{key}`", "only LoRA is converted")
        modules.setdefault(match["module"], Module({}, 1.0)).parts[match["part"]] = tensor
    for name, module in modules.items():
        if module.rank:
            alpha = matching(settings.get("alpha_pattern"), name, settings.get("lora_alpha", PEFTS_ALPHA))
            module.scale = alpha / (math.sqrt(module.rank) if settings.get("use_rslora") else module.rank)
    return modules


def matching(patterns: dict[str, Any] | None, name: str, default: Any) -> Any:
    """The value of the first pattern that fits a module's name, in the way peft looks it up."""
    found = (value for pattern, value in (patterns or {}).items() if re.match(rf"(.*\.)?({pattern})$", name))
    return next(found, default)


def to_native(modules: dict[str, Module], names: Names) -> dict[str, Module]:
    """Modules under native names; a fused one becomes three."""
    native: dict[str, Module] = {}
    for name, module in modules.items():
        targets = names.native(name)
        split = [Module({}, module.scale) for _ in targets]
        for part, tensor in module.parts.items():
            for one, piece in zip(split, pieces(part, tensor, names, len(targets)), strict=True):
                one.parts[part] = piece
        kept = separate_blocks(split) if len(split) > 1 and module.rank else split
        native |= {target: one for target, one in zip(targets, kept, strict=True) if one is not None}
    return native


def pieces(part: str, tensor: Tensor, names: Names, count: int) -> list[Tensor]:
    """What q, k and v get of a fused module's tensor: all of A, their rows of the rest."""
    if count == 1:
        return [tensor]
    return [tensor.clone() for _ in range(count)] if part in LOW_RANK else names.split(tensor)


def separate_blocks(split: list[Module]) -> list[Module | None]:
    """Undoes what to_vendor does: where q, k and v use different columns of B, each keeps its own, and the rows of A
    that go with them; one that uses none had no adapter. Others come back as they are."""
    used = [module.parts["lora_B.weight"].ne(0).any(0) for module in split]
    shared = any((one & other).any() for number, one in enumerate(used) for other in used[:number])
    if shared or not any(own.any() for own in used):
        return list(split)
    kept: list[Module | None] = []
    for module, own in zip(split, used, strict=True):
        low_rank = {
            "lora_A.weight": module.parts["lora_A.weight"][own],
            "lora_B.weight": module.parts["lora_B.weight"][:, own],
        }
        kept.append(Module({**module.parts, **low_rank}, module.scale) if own.any() else None)
    return kept


def to_vendor(modules: dict[str, Module], names: Names) -> dict[str, Module]:
    """Modules under the vendor's names; q, k and v become one, also where only some of them have an adapter."""
    vendor: dict[str, Module] = {}
    fused: dict[str, dict[int, Module]] = defaultdict(dict)
    for name, module in modules.items():
        target, index = names.vendor(name)
        if index is None:
            vendor[target] = module
        else:
            fused[target][index] = module
    for target, members in fused.items():
        vendor[target] = join(target, members, names)
    return vendor


def join(name: str, members: dict[int, Module], names: Names) -> Module:
    """One module from those of q (0), k (1) and v (2). Where their scales differ, B takes up the difference."""
    import torch

    parts: dict[str, Tensor] = {}
    scale = next(iter(members.values())).scale
    ranks = {index: module.rank for index, module in members.items()}
    if all(ranks.values()):
        parts["lora_A.weight"] = torch.cat([members[index].parts["lora_A.weight"] for index in sorted(members)])
        blocks, start = [], 0
        for index, rows in enumerate(names.rows):
            block = parts["lora_A.weight"].new_zeros(rows, sum(ranks.values()))
            if index in members:
                weight = members[index].parts["lora_B.weight"]
                if members[index].scale != scale:
                    weight = weight * (members[index].scale / scale)
                block[:, start : start + ranks[index]] = weight
                start += ranks[index]
            blocks.append(block)
        parts["lora_B.weight"] = names.join(blocks)
    for part in {part for module in members.values() for part in module.parts} - {"lora_A.weight", "lora_B.weight"}:
        if len(members) < len(names.rows) or any(part not in module.parts for module in members.values()):
            raise ModelError(f"adapter cannot be joined: q, k and v of {name} have not all {part}", "train all or none")
        parts[part] = names.join([members[index].parts[part] for index in sorted(members)])
    return Module(parts, scale)


def new_settings(settings: dict[str, Any], modules: dict[str, Module], known: set[str]) -> dict[str, Any]:
    """adapter_config.json for `modules`, which are among the base's `known` ones."""
    low_rank = {name: module for name, module in modules.items() if module.rank}
    whole = {name for name, module in modules.items() if "weight" in module.parts}
    power = 0.5 if settings.get("use_rslora") else 1.0
    alphas = {name: tidy(module.scale * module.rank**power) for name, module in low_rank.items()}
    rank, rank_pattern = pattern({name: module.rank for name, module in low_rank.items()})
    alpha, alpha_pattern = pattern(alphas)
    return {
        **settings,
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": rank_pattern,
        "alpha_pattern": alpha_pattern,
        "target_modules": shortest(low_rank, known),
        "modules_to_save": shortest(whole, known) or None,
        "exclude_modules": None,
        "layers_to_transform": None,
        "layers_pattern": None,
    }


def pattern(values: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The commonest value, and the modules that have another, by their shortest names."""
    usual = Counter(values.values()).most_common(1)[0][0]
    other = defaultdict(set)
    for name, value in values.items():
        if value != usual:
            other[value].add(name)
    return usual, {name: value for value, members in other.items() for name in shortest(members, set(values))}


def shortest(chosen: Iterable[str], known: set[str]) -> list[str]:
    """Ends of names that fit exactly the `chosen` of the `known` modules, as short as can be."""
    chosen, ends = set(chosen), set()
    for name in chosen:
        words = name.split(".")
        for count in range(1, len(words) + 1):
            end = ".".join(words[-count:])
            if all(other in chosen for other in known if other == end or other.endswith(f".{end}")):
                ends.add(end)
                break
    return sorted(ends)


def tidy(alpha: float) -> float:
    """Alpha as an int where it is one, as peft's own files have it."""
    return round(alpha) if math.isclose(alpha, round(alpha), rel_tol=1e-12) else alpha
