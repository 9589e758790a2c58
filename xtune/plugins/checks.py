"""Every way in which a plugin can be wrong, each with the line that names its distribution and says what to do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from inspect import signature
from typing import TYPE_CHECKING, Any

from xtune import __version__
from xtune.errors import DuplicateName, PluginError, nearest
from xtune.foreign import reason
from xtune.plugins import hookspecs
from xtune.text import one_line

if TYPE_CHECKING:
    from xtune.registry import Registry

HOOKS = tuple(name for name in vars(hookspecs) if name.startswith("register_"))
KINDS = tuple(hook.removeprefix("register_") for hook in HOOKS)
"""What a plugin can add. The hook of each is register_KIND(KIND)."""


@dataclass(frozen=True)
class Plugin:
    """A loaded plugin: the distribution's name and version, and the module (or object) that implements hooks."""

    name: str
    version: str
    module: Any

    @property
    def hooks(self) -> list[str]:
        """Names of the functions marked as hooks, whether there is such a hook or not."""
        return sorted(name for name in dir(self.module) if hasattr(getattr(self.module, name), "xtune_impl"))


def failure(name: str, problem: str, hint: str = "install another version of it") -> PluginError:
    """The error for the plugin `name`, in one line; it ends with the ways to go on without that plugin."""
    return PluginError(
        f"plugin {name} {one_line(problem, 1000)}", f"{hint}, uninstall {name}, or set XTUNE_PLUGINS= to load no plugin"
    )


@contextmanager
def failing(name: str, what: str) -> Iterator[None]:
    """Turns whatever code of the plugin `name` raises into one PluginError, which says `what` and the error's type."""
    try:
        yield
    except (PluginError, DuplicateName, KeyboardInterrupt):
        raise
    except BaseException as error:
        kind, text = type(error).__name__, reason(error)
        raise failure(name, f"{what}: {text if text.startswith(kind) else f'{kind}: {text}'}") from error


def check_distribution(distribution: Distribution) -> None:
    """Refuses a distribution that is on the path in two versions, or whose metadata asks for another xtune."""
    name = distribution.name
    places = {found.version: str(found.locate_file("")) for found in distributions(name=name)}
    if len(places) > 1:
        both = " and ".join(f"{version} in {place}" for version, place in sorted(places.items()))
        raise failure(name, f"is installed in {len(places)} versions at once: got `{both}`", "uninstall all but one")
    unmet = _unmet(distribution.requires or [])
    if unmet:
        problem = f"{distribution.version} needs xtune {unmet}: got xtune {__version__}"
        raise failure(name, problem, f"install another version of xtune or of {name}")


def _unmet(requires: Iterable[str]) -> str | None:
    """The versions of xtune that Requires-Dist lines ask for, where this one is not among them."""
    lines = [line for line in requires if re.match(r"xtune(?![\w.-])", line, re.IGNORECASE)]
    if not lines:
        return None
    from packaging.requirements import Requirement  # takes as long to import as all plugins to be found

    for need in map(Requirement, lines):
        applies = need.marker is None or need.marker.evaluate({"extra": ""})
        if applies and not need.specifier.contains(__version__, prereleases=True):
            return str(need.specifier)
    return None


def check_hooks(plugin: Plugin) -> None:
    """Refuses hooks that nobody would call, or that could not add anything."""
    for hook in HOOKS:
        if hook not in plugin.hooks and hasattr(plugin.module, hook):
            raise failure(plugin.name, f"has {hook} without a mark", "write @xtune.hookimpl above it")
    if not plugin.hooks:
        raise failure(plugin.name, "implements no hook", f"give it one of {', '.join(HOOKS)}")
    for hook in plugin.hooks:
        if hook not in HOOKS:
            problem = f"has a hook that xtune does not know: got `{hook}`"
            raise failure(plugin.name, problem, f"rename it to {' or '.join(nearest(hook, HOOKS) or HOOKS)}")
        parameters = signature(getattr(plugin.module, hook)).parameters
        wanted = hook.removeprefix("register_")
        if list(parameters) != [wanted]:
            problem = f"has a hook with wrong arguments: got {hook}({', '.join(parameters)})"
            raise failure(plugin.name, problem, f"write {hook}({wanted})")


def check_components(plugin: Plugin, registry: Registry[Any], wanted: str, fits: Callable[[Any], bool]) -> None:
    """Refuses what is no component of its kind, here where its plugin is known and not in the middle of a run."""
    for name, value in registry.added_by(plugin.name).items():
        if not fits(value):
            problem = f"adds {registry.kind} {name!r} of a wrong type: got {type(value).__name__}"
            raise failure(plugin.name, problem, f"add {wanted}")
