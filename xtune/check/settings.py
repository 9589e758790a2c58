"""What the config, the installed packages and the work dir say."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from xtune.check.finding import Finding, refused
from xtune.check.resources import room
from xtune.errors import XtuneError
from xtune.training.versions import PACKAGES, plugin_versions

if TYPE_CHECKING:
    from xtune.run import Run


def of_settings(run: Run, work_dir: Path, ranks: int) -> Iterator[Finding]:
    """What the config, the packages and the machine say. `ranks` is the number of processes that will train."""
    yield packages()
    yield from extras(run)
    yield plugins(run)
    yield from room(run, work_dir, ranks)
    if fact := unusable(work_dir):
        yield Finding("work dir", "error", fact, "choose another --work-dir")


def packages() -> Finding:
    """The installed versions beside those that xtune was made for."""
    from packaging.requirements import Requirement

    wrong = []
    for requirement in map(Requirement, requires("xtune") or ()):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            wrong.append(f"{requirement.name} is not installed")
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            wrong.append(f"{requirement.name} {installed} is not {requirement.specifier}")
    if wrong:
        return Finding("packages", "warning", ", ".join(wrong), "pip install --upgrade xtune")
    return Finding("packages", "ok", ", ".join(f"{name} {version(name)}" for name in PACKAGES[:5] if find_spec(name)))


def extras(run: Run) -> Iterator[Finding]:
    """What this config asks for beyond the packages that always are there."""
    import torch

    if run.config.model.attention == "flash_attention_2" and not (
        find_spec("flash_attn") and torch.cuda.is_available()
    ):
        lacking = "the package flash-attn" if torch.cuda.is_available() else "a CUDA device"
        yield Finding("attention", "error", f"flash_attention_2 needs {lacking}", "set model.attention=auto")
    for package in run.distributed.packages:
        if not find_spec(package):
            hint = f"pip install {package}, or use distributed=fsdp"
            yield Finding("distributed", "error", f"{run.config.distributed_name} needs {package}", hint)
    for callback in run.callbacks:
        try:
            callback.check()
        except XtuneError as error:
            yield refused(callback.subject, error)


def plugins(run: Run) -> Finding:
    found = plugin_versions(run.components)
    return Finding("plugins", "ok", ", ".join(f"{name} {number}" for name, number in found.items()) or "none")


def unusable(work_dir: Path) -> str:
    """Why nothing can be written to the work dir; empty where it can."""
    place = next(place for place in (work_dir.absolute(), *work_dir.absolute().parents) if os.path.exists(place))
    if not place.is_dir():
        return f"{work_dir} cannot be made: got a file, {place}"
    if not os.access(place, os.W_OK):
        return f"{work_dir} cannot be written to: got {place}, which is read-only"
    return ""
