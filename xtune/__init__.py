"""xtune: fine-tune large language models from named configs.

The names below are the public API. They are imported on first use, so `import xtune` costs nothing: no torch, no
transformers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Callback": "xtune.callbacks.callback",
    "ChatTemplate": "xtune.templates.template",
    "Conversation": "xtune.conversation",
    "Distributed": "xtune.distributed.parallel",
    "Example": "xtune.conversation",
    "ModelSpec": "xtune.models.spec",
    "Objective": "xtune.objectives.objective",
    "Optimizer": "xtune.optimizers.optimizer",
    "Preference": "xtune.conversation",
    "Quantization": "xtune.quantization.quantization",
    "Sample": "xtune.conversation",
    "Span": "xtune.conversation",
    "Tuning": "xtune.tuning.tuning",
    "Turn": "xtune.conversation",
    "XtuneError": "xtune.errors",
    "components": "xtune.commands",
    "encode": "xtune.names",
    "hookimpl": "xtune.plugins.hookspecs",
    "list_configs": "xtune.names",
    "load_config": "xtune.names",
    "load_model": "xtune.models.load",
    "load_tokenizer": "xtune.models.load",
    "prepare_data": "xtune.resolve",
    "render": "xtune.names",
    "train": "xtune.training.train",
}

__all__ = [*_HOME, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'xtune' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


if TYPE_CHECKING:
    from xtune.callbacks.callback import Callback
    from xtune.commands import components
    from xtune.conversation import Conversation, Example, Preference, Sample, Span, Turn
    from xtune.distributed.parallel import Distributed
    from xtune.errors import XtuneError
    from xtune.models.load import load_model, load_tokenizer
    from xtune.models.spec import ModelSpec
    from xtune.names import encode, list_configs, load_config, render
    from xtune.objectives.objective import Objective
    from xtune.optimizers.optimizer import Optimizer
    from xtune.plugins.hookspecs import hookimpl
    from xtune.quantization.quantization import Quantization
    from xtune.resolve import prepare_data
    from xtune.templates.template import ChatTemplate
    from xtune.training.train import train
    from xtune.tuning.tuning import Tuning
