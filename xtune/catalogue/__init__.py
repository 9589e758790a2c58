"""The built-in configs, as a product of small tables: any name of known parts is one."""

from __future__ import annotations

from xtune.plugins.hookspecs import hookimpl
from xtune.registry import ConfigRegistry


@hookimpl
def register_configs(configs: ConfigRegistry) -> None:
    from xtune.catalogue.grammar import Catalogue

    configs.add_package("xtune.configs.deepspeed")
    configs.grammar = Catalogue(configs.models)
