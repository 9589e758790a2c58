"""The weight files of a model folder: which ones are read, whether they are whole, and what they hold."""

from __future__ import annotations

import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from xtune.atomic import file_digest, text_digest, whole_file
from xtune.errors import ModelError
from xtune.foreign import foreign, read_json
from xtune.paths import cache_root

CHOICES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""What transformers looks for in a folder: the first that is there."""

POINTER = b"version https://git-lfs"
AGAIN = "download it again"


def weight_files(folder: Path, config: Any = None) -> list[Path]:
    """The files that the weights in `folder` are read from, in the order of their names.

    `config` is the model's, which may name another file than the usual ones. Raises ModelError where there are none,
    and for an index that names files which are not there.
    """
    named = getattr(config, "transformers_weights", None)
    found = next((folder / name for name in ([named] if named else CHOICES) if (folder / name).is_file()), None)
    if found is None:
        others = sorted(path.name for pattern in ("*.safetensors", "*.bin", "*.pth") for path in folder.glob(pattern))
        got = f"{', '.join(others[:3])}, which transformers does not read" if others else "none of them"
        raise ModelError(
            f"model folder has no weights ({named or 'model.safetensors, pytorch_model.bin or their index'}): got "
            f"{folder} with {got}",
            "is it all there?",
        )
    if not found.name.endswith(".index.json"):
        return [found]
    shape = dict[str, Any]
    index = read_json(found, what="index of weights", error=ModelError, hint=AGAIN, shape=shape, lenient=True)
    names = index.get("weight_map")
    if not isinstance(names, dict) or not names or not all(isinstance(name, str) for name in names.values()):
        raise ModelError(f"index of weights `{found}` names no files: it has no usable weight_map", AGAIN)
    files = sorted({found.parent / name for name in names.values()})
    if absent := [file.name for file in files if not file.is_file()]:
        raise ModelError(
            f"weights are incomplete: {len(absent)} of the {len(files)} files that {found.name} names are not in "
            f"{folder}, the first is `{absent[0]}`",
            "download the rest",
        )
    return files


def refuse_damaged(files: list[Path]) -> None:
    """Raises ModelError that names the first file that is empty, truncated, or a pointer in place of the weights."""
    for file in files:
        with foreign(f"weight file `{file}` cannot be read", ModelError, AGAIN):
            with file.open("rb") as stream:
                start = stream.read(len(POINTER))
            if start == POINTER:
                raise ModelError(
                    f"weight file `{file}` is a pointer of Git LFS, not the weights",
                    "run git lfs pull in its folder, or download it from the hub",
                )
            if not start:
                raise ModelError(f"weight file `{file}` is empty", AGAIN)
            if file.suffix == ".bin" and start.startswith(b"PK") and not zipfile.is_zipfile(file):
                raise ModelError(f"weight file `{file}` is truncated: its table of contents is missing", AGAIN)
        if file.suffix == ".safetensors":
            opened(file)


def opened(file: Path) -> Any:
    """A safetensors file, its header read. Raises ModelError where it is damaged or not all there."""
    from safetensors import safe_open

    size = f"{file.stat().st_size:,} bytes"
    with foreign(f"weight file `{file}` ({size}) is damaged or was not downloaded whole", ModelError, AGAIN):
        return safe_open(file, framework="pt")


def stored_tensors(files: list[Path]) -> dict[str, Any]:
    """Every tensor of `files` by name, on torch's meta device: shape and dtype. No value is read, but from `.bin` files
    of before 2020.
    """
    import torch

    tensors: dict[str, Any] = {}
    for file in files:
        if file.suffix == ".safetensors":
            with opened(file) as stored:  # it maps the file into memory: a tensor is read where its values are used
                names = stored.keys()
                tensors |= {name: stored.get_tensor(name).to("meta") for name in names}
        else:
            mapped = zipfile.is_zipfile(file)
            tensors |= torch.load(file, map_location="meta", weights_only=True, mmap=mapped)
    return tensors


def kept_digest(file: Path) -> str:
    """file_digest of `file`, from the cache where it has been read before and has not been written to since."""
    seen = file.stat()
    key = text_digest(f"{file.resolve()} {seen.st_size} {seen.st_mtime_ns} {seen.st_ctime_ns}")
    place = cache_root() / "digests" / key
    with suppress(OSError, UnicodeDecodeError):
        if len(kept := place.read_text(encoding="ascii")) == len(key):
            return kept
    digest = file_digest(file)
    with suppress(OSError):  # a cache that cannot be written costs the next reading only
        place.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(place) as beside:
            beside.write_text(digest, encoding="ascii")
    return digest
