"""What plugins and scripts rely on, hooks and public names, does not change unnoticed.

api.txt holds every signature. A change needs three things: `python tests/plugins/test_api.py --update`, a higher
API_VERSION in xtune/plugins/hookspecs.py, and a line in CHANGELOG.md with that version and the digest that --update
prints.
"""

from __future__ import annotations

import inspect
import sys
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

import xtune
from xtune.plugins import hookspecs
from xtune.plugins.checks import HOOKS

SNAPSHOT = Path(__file__).with_name("api.txt")
CHANGELOG = Path(__file__).resolve().parents[2] / "CHANGELOG.md"

PLUGIN_MODULES = {
    "xtune.models.spec": ["sizes"],
    "xtune.registry": ["Registry", "ConfigRegistry"],
    "xtune.sources.row": ["Row"],
    "xtune.sources.text": ["open_bytes"],
    "xtune.mappers.columns": ["text", "optional_text", "items", "blank", "exchange"],
}
"""Public names beside those of xtune: what hooks are given, describes a model, reads files and columns."""


def signatures() -> list[str]:
    """One line for every hook, public function, public class and method of one."""
    lines = [described(f"hook {name}", getattr(hookspecs, name)) for name in HOOKS]
    places = [(xtune, sorted(set(xtune.__all__) - {"__version__", "hookimpl"}))]  # hookimpl is pluggy's
    places += [(import_module(module), names) for module, names in PLUGIN_MODULES.items()]
    for module, names in places:
        for name in names:
            value = getattr(module, name)
            lines.append(described(f"{module.__name__}.{name}", value))
            if inspect.isclass(value):
                lines += [described(f"{module.__name__}.{name}.{key}", found) for key, found in methods(value)]
    return lines


def methods(kind: type) -> list[tuple[str, Any]]:
    """The public methods that a class itself defines."""
    return [(name, value) for name, value in inspect.getmembers(kind, inspect.isfunction) if own(kind, name)]


def own(kind: type, name: str) -> bool:
    return name in vars(kind) and not name.startswith("_")


def described(name: str, value: Any) -> str:
    if inspect.isclass(value) and issubclass(value, Exception):
        return name
    return f"{name}{inspect.signature(value)}"


def digest(lines: list[str]) -> str:
    return sha256("\n".join(lines).encode()).hexdigest()[:8]


def changelog_line(lines: list[str]) -> str:
    return f"API {hookspecs.API_VERSION} ({digest(lines)})"


def test_signatures_are_those_of_the_snapshot():
    found, known = signatures(), SNAPSHOT.read_text(encoding="utf-8").splitlines()
    changed = [f"- {line}" for line in known if line not in found] + [
        f"+ {line}" for line in found if line not in known
    ]
    assert not changed, f"the public API changed; {__doc__}\n" + "\n".join(changed)


def test_the_changelog_tells_of_this_api():
    wanted = changelog_line(SNAPSHOT.read_text(encoding="utf-8").splitlines())
    assert wanted in CHANGELOG.read_text(encoding="utf-8"), f"CHANGELOG.md has no line with {wanted}; {__doc__}"


def test_the_version_is_the_same_everywhere():
    setup = CHANGELOG.with_name("setup.py").read_text(encoding="utf-8")
    assert f'version="{xtune.__version__}"' in setup
    assert f"## {xtune.__version__}" in CHANGELOG.read_text(encoding="utf-8")


def test_a_changed_signature_changes_the_digest():
    assert digest(["hook a(x)"]) != digest(["hook a(y)"])


if __name__ == "__main__":
    if sys.argv[1:] != ["--update"]:
        sys.exit(f"usage: {sys.argv[0]} --update")
    SNAPSHOT.write_text("\n".join(signatures()) + "\n", encoding="utf-8")
    print(f"CHANGELOG.md needs a line with: {changelog_line(signatures())}")
