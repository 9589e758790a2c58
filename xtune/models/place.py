"""Where a model lies: a local folder, a file, or the hub."""

from __future__ import annotations

from pathlib import Path

from xtune.errors import ModelError
from xtune.models.gguf import gguf_folder
from xtune.paths import PACKAGE, packaged

WEIGHT_FILES = ("*.safetensors", "*.bin", "*.safetensors.index.json", "*.bin.index.json")


def refuse_absent(path: str | Path, *, weights: bool = True) -> None:
    """Raises ModelError for a local model that is not there, by its folder's names alone."""
    place = Path(packaged(str(path), ModelError))
    if place.suffix != ".gguf" or not place.is_file():
        local_folder(path, weights=weights)


def local_folder(path: str | Path, *, weights: bool = True) -> str:
    """A local model's folder, checked; a hub id comes back as it is. A GGUF file is converted to a folder once."""
    place = Path(packaged(str(path), ModelError))
    if place.suffix == ".gguf":
        if not place.is_file():
            raise ModelError(f"GGUF file does not exist: got `{path}`", "give the path of one")
        return str(gguf_folder(place))
    if place.is_dir():
        if not (place / "config.json").is_file() and weights:
            raise ModelError(f"model folder has no config.json: got `{path}`", "give the folder that holds it")
        if weights and (place / "adapter_config.json").is_file():
            raise ModelError(
                f"model folder holds an adapter too, which would be loaded with it: got `{path}`",
                "move adapter_config.json and adapter_model.* to a folder of their own",
            )
        if weights and not any(next(place.glob(pattern), None) for pattern in WEIGHT_FILES):
            raise ModelError(f"model folder has no weights (*.safetensors, *.bin): got `{path}`", "is it all there?")
        if not weights and not any((place / name).is_file() for name in ("tokenizer_config.json", "config.json")):
            raise ModelError(
                f"model folder has neither a tokenizer nor a config.json: got `{path}`", "give a model's folder"
            )
        return str(place)
    if str(path).startswith((PACKAGE, "/", "./", "../", "~")) or len(place.parts) != 2 or place.is_file():
        raise ModelError(f"model does not exist: got `{path}`", "give a folder, a .gguf file or a hub id (owner/name)")
    return str(path)
