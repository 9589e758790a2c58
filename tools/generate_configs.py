"""Writes xtune/configs, and the digests of all composed values, from xtune/catalogue.

With --check it says what differs, exiting with 1 if anything does. So that no value changes unnoticed, the digests are
of every config that the wheel has a module of, and, where a name begins with *, of a data set over all models.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any

from xtune.catalogue.compose import compose
from xtune.catalogue.datasets import DATASETS
from xtune.catalogue.names import Name
from xtune.catalogue.points import browsed, points
from xtune.catalogue.tree import tree
from xtune.catalogue.tunings import TUNINGS
from xtune.models.spec import ModelSpec
from xtune.registries import components

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = "xtune/configs"
DIGESTS = "tests/catalogue/digests.txt"


def digest(values: Any) -> str:
    return sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]


def digests(models: Mapping[str, ModelSpec]) -> Iterator[str]:
    """Lines of a name and the digest of its values."""
    for text, name in points(models).items():
        yield f"{text} {digest(compose(name, models[name.model]))}\n"
    for tuning, dataset in product(TUNINGS, DATASETS):
        name = Name("*", tuning, dataset, DATASETS[dataset].epochs)
        yield f"{name.text} {digest([compose(replace(name, model=model), spec) for model, spec in models.items()])}\n"


def wanted() -> dict[str, str]:
    """The texts of all generated files, by their paths below ROOT."""
    models = components([]).models
    files = {f"{CONFIGS}/{path}": text for path, text in tree(models, browsed(models).values()).items()}
    return {**files, DIGESTS: "".join(digests(models))}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    texts = wanted()
    there = {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for path in [*(ROOT / CONFIGS).rglob("*"), ROOT / DIGESTS]
        if path.is_file() and not {"__pycache__", "deepspeed"} & {*path.parts}
    }
    stale = sorted(there.keys() - texts.keys())
    changed = sorted(path for path, text in texts.items() if there.get(path) != text)
    if check:
        for path in stale + changed:
            print(f"{path} differs from the catalogue; run make configs", file=sys.stderr)
        return 1 if stale or changed else 0
    for path in stale:
        (ROOT / path).unlink()
    for path in changed:
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(texts[path], encoding="utf-8")
    print(f"{len(texts)} files, {len(changed)} written, {len(stale)} removed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
