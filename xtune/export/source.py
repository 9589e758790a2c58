"""The folder that a model came from, and which of its files go along with a model that is made of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

from xtune.errors import ModelError
from xtune.foreign import foreign
from xtune.models.place import local_folder

OTHER_WEIGHTS = [
    *("*.safetensors", "*.bin", "*.pt", "*.pth", "*.ckpt", "*.index.json"),
    *("*.gguf", "*.ggml", "*.h5", "*.msgpack", "*.onnx", "*.onnx_data", "*.tflite", "*.mlmodel", "*.npz", "*.ot"),
    *("params.json", "consolidated*"),  # Llama's and Mistral's own format: readers that find it look for its weights
]
"""Weights in any format: those that are written anew, and those that the merge would make untrue."""

NOT_CARRIED = [
    *OTHER_WEIGHTS,
    ".*",  # of git and of download tools
    "adapter_config.json",  # transformers would load that adapter on top
    *("manifest.json", "xtune_config.json", "xtune_run.json", "xtune_base.json"),  # of a checkpoint that is a base
]

TOKENIZER_FILES = [
    *("tokenizer*", "special_tokens_map.json", "added_tokens.json", "chat_template*"),
    *("vocab.json", "vocab.txt", "merges.txt", "*.model", "*.tiktoken", "tekken.json", "tokenization_*.py"),
]
TEMPLATES = "additional_chat_templates"
"""The only folder of a model's folder that belongs to it: `original/`, `onnx/` and so on hold other formats."""

DOCUMENTS = ["license*", "licence*", "notice*", "readme*", "*policy*", "*.md", "*.pdf"]


def source_folder(path: str | Path) -> Path:
    """The folder of the model at `path` (see load_model). Of a hub id: its newest snapshot, without the weights."""
    place = Path(local_folder(path, weights=False))
    if place.is_dir():
        return place
    from huggingface_hub import snapshot_download

    with foreign(f"files of `{path}` cannot be read", ModelError, "give a local folder, or try again"):
        return Path(snapshot_download(str(path), ignore_patterns=OTHER_WEIGHTS))


def carry(source: Path, folder: Path, *, tokenizer: bool = True) -> None:
    """Copies to `folder` every file of a model's folder that is no weights, `tokenizer` says whether its own too."""
    _copy(source, folder, lambda name: not matches(name, NOT_CARRIED) and (tokenizer or not of_tokenizer(name)))
    if tokenizer:
        _copy_templates(source, folder)


def carry_tokenizer(source: Path, folder: Path) -> None:
    """Copies the files of a tokenizer."""
    _copy(source, folder, of_tokenizer)
    _copy_templates(source, folder)


def carry_documents(source: Path, folder: Path) -> None:
    """Copies licences and what else is for people."""
    _copy(source, folder, lambda name: matches(name.lower(), DOCUMENTS))


def of_tokenizer(name: str) -> bool:
    return matches(name, TOKENIZER_FILES)


def matches(name: str, patterns: list[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def _copy(source: Path, folder: Path, wanted: Callable[[str], bool]) -> None:
    for file in sorted(source.iterdir()):
        if file.is_file() and wanted(file.name):
            shutil.copyfile(file, folder / file.name)


def _copy_templates(source: Path, folder: Path) -> None:
    if (source / TEMPLATES).is_dir():
        (folder / TEMPLATES).mkdir(exist_ok=True)
        _copy(source / TEMPLATES, folder / TEMPLATES, lambda name: name.endswith(".jinja"))
