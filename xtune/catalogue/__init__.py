"""Every built-in config, as a product of small tables."""

from __future__ import annotations

from xtune.plugins.hookspecs import hookimpl
from xtune.registry import ConfigRegistry


@hookimpl
def register_configs(configs: ConfigRegistry) -> None:
    configs.add_package("xtune.configs")
