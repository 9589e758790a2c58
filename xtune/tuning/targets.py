"""Which weights of a model get adapters: modules by name, and parameters that hold all experts of a layer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from xtune.compat.deepspeed import whole_shape
from xtune.compat.peft import converted_targets
from xtune.errors import suggestion
from xtune.tuning.tuning import TuningError

if TYPE_CHECKING:
    from torch import nn

EXPERTS_DIM = 3
"""Dimensions of a parameter that holds the matrices of all experts."""


class Targets(NamedTuple):
    """What peft is given: names of modules, or "all-linear", and names of parameters."""

    modules: str | set[str]
    parameters: list[str]


def find_targets(model: nn.Module, names: Iterable[str] | str, *, dropout: float) -> Targets:
    """What `names` mean in `model`, each on its own.

    "all-linear" is every linear layer but the head. The routed experts of an MoE are parameters and no layers: they get
    no adapters with it. peft takes "all-linear" for them too, as adapters of transformers 4 had them, and then refuses
    dropout; so there, layers are named. Experts are trained by naming them: as parameters, or as transformers 4 did.

    Raises TuningError for a name that no module or parameter has, and for experts with dropout, which peft cannot drop.
    """
    converted = _as_peft_takes_it("all-linear" if isinstance(names, str) else set(names), model)
    if isinstance(names, str):
        return Targets(set(converted.modules) if converted.parameters else "all-linear", [])
    modules = {name for name, _ in model.named_modules()}
    parameters = {name for name, weight in model.named_parameters() if weight.dim() == EXPERTS_DIM}
    experts = list(converted.parameters)
    layers = set()
    for name in converted.modules:
        if _among(name, modules):
            layers.add(name)
        elif _among(name, parameters):
            experts.append(name)
        else:
            known = {path.rpartition(".")[2] for path, module in model.named_modules() if hasattr(module, "weight")}
            raise TuningError(f"tuning.targets names no module of this model: got {name}; {suggestion(name, known)}")
    if experts and dropout:
        raise TuningError(
            f"tuning.targets names weights of experts or of their router, whose adapters take no dropout: got "
            f"{', '.join(sorted(experts))}; set tuning.dropout=0, or take them out"
        )
    return Targets(layers, sorted(experts))


def what_is_trained(model: Any) -> str:
    """One line on a prepared model: which of its weights are trained, and which experts have no adapters."""
    from peft.tuners.lora import LoraLayer

    if not hasattr(model, "peft_config"):
        return "every weight is trained"
    layers = {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}
    places = {getattr(layer, "parameter_name", None) or name.rpartition(".")[2] for name, layer in layers.items()}
    shapes = {name: whole_shape(weight) for name, weight in model.named_parameters()}
    experts = {name: shape.numel() for name, shape in shapes.items() if len(shape) == EXPERTS_DIM}
    bare = {name: size for name, size in experts.items() if name.rpartition(".")[2] not in places}
    said = f"adapters on {', '.join(sorted(places - {'base_layer'}))}"
    if whole := sorted(set(model.peft_config["default"].modules_to_save or ())):
        said += f"; {', '.join(whole)} whole"
    if bare:
        part = sum(bare.values()) / sum(shape.numel() for shape in shapes.values())
        said += f"; none on the experts ({', '.join(sorted({name.rpartition('.')[2] for name in bare}))}), "
        said += f"{part:.0%} of the weights: name them in tuning.targets to train them"
    return said


def _among(name: str, paths: Iterable[str]) -> bool:
    """Whether one of `paths` is or ends with `name`, in whole words: what peft takes as a match."""
    return any(path == name or path.endswith(f".{name}") for path in paths)


def _as_peft_takes_it(names: str | set[str], model: nn.Module) -> Targets:
    """The targets after peft has renamed those of transformers 4, such as an expert's `w1`, to the weights of today."""
    try:
        return Targets(*converted_targets(names, model))
    except ValueError as error:
        raise TuningError(f"tuning.targets cannot be applied to this model: {error}") from error
