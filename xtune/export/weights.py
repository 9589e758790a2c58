"""The weights of a model folder: what is stored there, and how new ones are written into files like those."""

from __future__ import annotations

import json
import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import is_zipfile

import torch
from safetensors.torch import save_file

from xtune.errors import ModelError
from xtune.foreign import read_json
from xtune.models.config_file import read_config
from xtune.models.weight_files import opened, weight_files

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
INDEX = "model.safetensors.index.json"


class StoredWeights(Mapping[str, "Tensor"]):
    """The tensors in a model's folder by name, read from the disk when they are asked for."""

    def __init__(self, folder: Path) -> None:
        places = weight_files(folder, read_config(folder)[0])
        self._opened = {file.name: read_pickled(file) if file.suffix == ".bin" else opened(file) for file in places}
        self.files = {name: file for file, tensors in self._opened.items() for name in tensors.keys()}  # noqa: SIM118
        """Names of tensors to names of files."""
        indexes = [index for name in (INDEX, "pytorch_model.bin.index.json") if (index := folder / name).is_file()]
        read = [read_json(index, what="index of weights", error=ModelError, lenient=True) for index in indexes[:1]]
        self.metadata: dict[str, Any] = next((index.get("metadata") or {} for index in read if len(places) > 1), {})

    def __getitem__(self, name: str) -> Tensor:
        tensors = self._opened[self.files[name]]
        tensor: Tensor = tensors[name] if isinstance(tensors, dict) else tensors.get_tensor(name)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)

    def facts(self, name: str) -> tuple[torch.dtype | None, int]:
        """The dtype of a tensor, where it is one of DTYPES, and how many numbers it has."""
        tensors = self._opened[self.files[name]]
        if isinstance(tensors, dict):
            tensor = tensors[name]
            return (tensor.dtype if tensor.is_floating_point() else None), tensor.numel()
        stored = tensors.get_slice(name)
        return DTYPES.get(stored.get_dtype()), prod(stored.get_shape())

    def usual_dtype(self) -> torch.dtype:
        """The dtype that most of the weights have."""
        sizes: Counter[torch.dtype] = Counter()
        for dtype, size in map(self.facts, self):
            if dtype is not None:
                sizes[dtype] += size
        return sizes.most_common(1)[0][0] if sizes else torch.float32


def write_weights(
    tensors: Mapping[str, Tensor], base: StoredWeights, folder: Path, *, as_stored: bool, added: int = 0
) -> None:
    """Writes `tensors` to `folder` in files like those of `base`, by its names, and what `base` alone has as it is.

    `as_stored` gives each tensor the dtype that it has there. `added` tensors may be new; where more are, the base has
    other names for its tensors, and nothing of it is kept.
    """
    keys = {stored_name(key, base): key for key in tensors}
    alone = [name for name in base if name not in keys]
    if alone and len(keys.keys() - base.keys()) > added:
        log.warning("%d tensors of the base are left out: the model has none like %s", len(alone), alone[0])
        alone = []
    last = next(reversed(base.files.values()))
    places: dict[str, list[str]] = defaultdict(list)
    for name in [*(name for name in base if name in keys or name in alone), *(keys.keys() - base.keys())]:
        places[file_name(base.files.get(name, last))].append(name)
    sizes = 0
    for file, names in places.items():
        part: dict[str, Tensor] = {}
        for name in names:
            tensor = tensors[keys[name]] if name in keys else base[name]
            dtype = base.facts(name)[0] if as_stored and name in base and tensor.is_floating_point() else None
            part[name] = tensor.to(dtype or tensor.dtype).contiguous()
            sizes += part[name].nbytes
        save_file(distinct(part), folder / file, metadata={"format": "pt"})
    if len(places) > 1:
        weight_map = {name: file for file, names in places.items() for name in names}
        index = {"metadata": {**base.metadata, "total_size": sizes}, "weight_map": dict(sorted(weight_map.items()))}
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def without_copies(tensors: Mapping[str, Tensor], base: StoredWeights) -> dict[str, Tensor]:
    """`tensors` without those that `base` does not have, but whose memory is also that of one that it has."""
    there = {name for name in tensors if stored_name(name, base) in base}
    known = {tensors[name].data_ptr() for name in there}
    return {name: tensor for name, tensor in tensors.items() if name in there or tensor.data_ptr() not in known}


def stored_name(name: str, base: StoredWeights) -> str:
    """The name that `base` has for a tensor: some were stored without the part in front that the whole model has."""
    return next((known for known in (name, name.partition(".")[2]) if known in base), name)


def distinct(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors, each with memory of its own, as safetensors needs them."""
    seen: set[int] = set()
    found = {}
    for name, tensor in tensors.items():
        found[name] = tensor.clone() if tensor.data_ptr() in seen else tensor
        seen.add(tensor.data_ptr())
    return found


def file_name(stored: str) -> str:
    """The name of a new file in place of a stored one. The index of a stranger may name any path."""
    return Path(stored).name.replace("pytorch_model", "model").replace(".bin", ".safetensors")


def read_pickled(file: Path) -> dict[str, Tensor]:
    """The tensors of a .bin file, mapped into memory where its kind allows."""
    tensors: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True, mmap=is_zipfile(file))
    return tensors
