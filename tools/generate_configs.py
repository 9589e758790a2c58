"""Writes xtune/configs from xtune/catalogue; with --check says what differs, exiting with 1 if anything does."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from xtune.catalogue.tree import tree
from xtune.registries import components

CONFIGS = Path(__file__).resolve().parents[1] / "xtune" / "configs"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    wanted = tree(components([]).models)
    there = {
        str(path.relative_to(CONFIGS)): path.read_text(encoding="utf-8")
        for path in CONFIGS.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    stale = sorted(there.keys() - wanted.keys())
    changed = sorted(path for path, text in wanted.items() if there.get(path) != text)
    if check:
        for path in stale + changed:
            print(f"xtune/configs/{path} differs from the catalogue; run make configs", file=sys.stderr)
        return 1 if stale or changed else 0
    for path in stale:
        (CONFIGS / path).unlink()
    for path in changed:
        (CONFIGS / path).parent.mkdir(parents=True, exist_ok=True)
        (CONFIGS / path).write_text(wanted[path], encoding="utf-8")
    print(f"{len(wanted)} files, {len(changed)} written, {len(stale)} removed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
