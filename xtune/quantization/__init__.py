"""Weights that are held or stored in few bits."""

from __future__ import annotations

from typing import Any

from xtune.plugins.hookspecs import hookimpl
from xtune.registry import Registry


@hookimpl
def register_quantizations(quantizations: Registry[Any]) -> None:
    from xtune.quantization.bits import Fp4, Int8, Nf4
    from xtune.quantization.quantization import Quantization

    for name, kind in {"none": Quantization, "nf4": Nf4, "fp4": Fp4, "int8": Int8}.items():
        quantizations.add(name, kind)
