"""Models whose small files or weights are damaged anyhow are loaded or refused in one line, never anything else."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

import xtune
from xtune.errors import XtuneError
from xtune.models.adapter import load_adapter
from xtune.models.config_file import load_config_file
from xtune.models.load import refuse_incomplete
from xtune.tuning import Lora

VALUES = [
    None,
    True,
    0,
    -1,
    3,
    2**31,
    10**40,
    1e308,
    0.5,
    "",
    "x",
    "64",
    [],
    [1],
    ["a"],
    {},
    {"a": 1},
    "\u202e\x1b[31m",
]


def other_value(text: str, rng: random.Random) -> str:
    """JSON with one to three of its values, at any depth, taken out or replaced by one of VALUES."""
    whole: Any = json.loads(text)
    for _ in range(rng.choice([1, 1, 1, 3])):
        part = whole
        while True:
            keys = list(part) if isinstance(part, dict) else list(range(len(part)))
            if not keys:
                break
            key = rng.choice(keys)
            if isinstance(part[key], (dict, list)) and part[key] and rng.random() < 0.7:
                part = part[key]
            elif isinstance(part, dict) and rng.random() < 0.2:
                del part[key]
                break
            else:
                part[key] = rng.choice(VALUES)
                break
    return json.dumps(whole)


def other_bytes(content: bytes, rng: random.Random) -> bytes:
    """Bytes truncated, with bits flipped near the start or a stretch of zeros, or others altogether."""
    kind, start = rng.randrange(4), rng.randrange(min(len(content), 4000))
    if kind == 0:
        return content[: rng.randrange(len(content) + 1)]
    if kind == 1:
        return content[:start] + bytes([content[start] ^ 1 << rng.randrange(8)]) + content[start + 1 :]
    if kind == 2:
        return content[:start] + bytes(100) + content[start + 100 :]
    return rng.randbytes(rng.randrange(3000))


def damage(file: Path, rng: random.Random) -> None:
    if file.suffix == ".json" and rng.random() < 0.75:
        file.write_text(other_value(file.read_text(encoding="utf-8"), rng), encoding="utf-8")
    else:
        file.write_bytes(other_bytes(file.read_bytes(), rng))


def load_as_check_and_train_do(folder: Path) -> None:
    refuse_incomplete(folder)
    load_config_file(folder)
    xtune.load_tokenizer(folder)
    xtune.load_model(folder)


def is_one_line_or_none(work: Any) -> None:
    try:
        work()
    except XtuneError as error:
        assert "\n" not in str(error) and "\x1b" not in str(error) and 10 < len(str(error)) < 1500


FEW, MANY = range(25), range(25, 400)
SEEDS = [*FEW, *(pytest.param(seed, marks=pytest.mark.slow) for seed in MANY)]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_damaged_model_is_loaded_or_refused_in_one_line(tiny_model, tmp_path, seed):
    rng = random.Random(seed)
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    damage(rng.choice(sorted(folder.iterdir())), rng)
    is_one_line_or_none(lambda: load_as_check_and_train_do(folder))


@pytest.fixture(scope="module")
def adapter(tiny_model, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    Lora(rank=2, targets=["q_proj", "up_proj"]).prepare(xtune.load_model(tiny_model)).save_pretrained(folder)
    (folder / "README.md").unlink()
    return folder


@pytest.mark.parametrize("seed", SEEDS)
def test_a_damaged_adapter_is_loaded_or_refused_in_one_line(tiny_model, adapter, tmp_path, seed):
    rng = random.Random(seed)
    folder = shutil.copytree(adapter, tmp_path / "adapter")
    damage(rng.choice(sorted(folder.iterdir())), rng)
    is_one_line_or_none(lambda: load_adapter(xtune.load_model(tiny_model), folder))
