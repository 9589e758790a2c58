"""What a run is and what it was made with."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from xtune import __version__
from xtune.data.schedule import Plan
from xtune.dist import ranks
from xtune.models.identity import identify

if TYPE_CHECKING:
    from xtune.registries import Components
    from xtune.run import Run

PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "deepspeed", "liger-kernel", "tokenizers", "safetensors")


def versions() -> dict[str, str]:
    """Versions of xtune, Python and the packages that shape a result."""
    found = {"xtune": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def plugin_versions(components: Components) -> dict[str, str]:
    return {plugin.name: plugin.version for plugin in components.plugins}


def device_name() -> str:
    """The device in words."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'s' if threads > 1 else ''}"


def describe_run(run: Run, plan: Plan, report: Any) -> dict[str, Any]:
    """What a run is, as JSON values: config, base model, data, steps, versions, plugins, device. The first rank alone
    reads the base model's files; None there for one that is not downloaded yet.
    """
    return {
        "config": run.config.model_dump(mode="json"),
        "base": identify(run.config.model.path) if ranks.rank() == 0 else None,
        "data": {
            "packs": len(plan.packs),
            "fingerprint": plan.packs.fingerprint,
            "order": plan.packs.order_name,
            "report": report.to_json(),
        },
        "packs_a_step": plan.global_batch,
        "steps": plan.steps,
        "ranks": plan.ranks,
        "versions": versions(),
        "plugins": plugin_versions(run.components),
        "device": device_name(),
    }
