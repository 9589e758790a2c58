"""PiSSA (arXiv:2404.02948) and OLoRA (arXiv:2406.01775): adapters that begin as a part of the base, taken out of it.

A layer of base weight W then computes (W - s B0 A0) x + s B A x, with B = B0 and A = A0 at first. To the untouched base
that is an adapter of twice the rank, s [B, -B0] [A; A0]: what is saved, so that it fits the base that everyone has.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from xtune.errors import ConfigError

if TYPE_CHECKING:
    from peft import PeftModel
    from peft.tuners.lora import LoraLayer
    from torch import Tensor, nn

Starts = dict[str, tuple["Tensor", "Tensor"]]
"""(A0_RI, B0_OR) on the CPU in float32, by the name of the layer in the PeftModel."""


def pissa(weight_OI: Tensor, rank: int, scale: float) -> tuple[Tensor, Tensor]:
    """The largest `rank` singular values with their vectors, shared between A_RI and B_OR."""
    import torch

    u_OK, s_K, v_KI = torch.linalg.svd(weight_OI, full_matrices=False)
    root_R = (s_K[:rank] / scale).sqrt()
    return root_R[:, None] * v_KI[:rank], u_OK[:, :rank] * root_R


def olora(weight_OI: Tensor, rank: int, scale: float) -> tuple[Tensor, Tensor]:
    """The first rows of R and columns of Q in W = Q R, whatever the scale."""
    import torch

    q_OK, r_KI = torch.linalg.qr(weight_OI)
    return r_KI[:rank], q_OK[:, :rank]


METHODS = {"pissa": pissa, "olora": olora}


def start_from_base(model: PeftModel, method: str) -> None:
    """Sets A and B of all layers by `method` and takes their product out of the base. Minutes for 7 B parameters on a
    GPU, hours on a CPU for PiSSA.

    Raises ConfigError for layers that are not linear ones, that share their weight, or that are smaller than the rank.
    """
    layers = lora_layers(model)
    for name, layer in layers.items():
        _check(model, name, layer, method)
    starts = {}
    for name, layer in layers.items():
        weight_OI = layer.get_base_layer().weight.data.float()
        a_RI, b_OR = METHODS[method](weight_OI, layer.r["default"], layer.scaling["default"])
        layer.lora_A["default"].weight.data.copy_(a_RI)
        layer.lora_B["default"].weight.data.copy_(b_OR)
        starts[name] = a_RI.cpu().contiguous(), b_OR.cpu().contiguous()
    take_out(model, starts)


def expect_taken_out(model: PeftModel) -> None:
    """Marks `model` as one whose base `start_from_base` or a checkpoint is going to take something out of."""
    model.taken_out = {}


def takes_out(model: nn.Module) -> bool:
    return hasattr(model, "taken_out")


def take_out(model: PeftModel, starts: Starts) -> None:
    """Takes s B0 A0 of each layer out of its base weight, and notes that in `model`."""
    for name, layer in lora_layers(model).items():
        weight = layer.get_base_layer().weight
        a_RI, b_OR = (tensor.to(weight.device) for tensor in starts[name])
        weight.data = (weight.data.float() - layer.scaling["default"] * b_OR @ a_RI).to(weight.dtype)
    model.taken_out = starts


def widened(model: PeftModel, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """`state`, the trained weights of `model` by parameter name, as that of an adapter of twice the rank to the base
    from which nothing is taken out.
    """
    import torch

    wide = dict(state)
    for name, (a_RI, b_OR) in model.taken_out.items():
        key_a, key_b = f"{name}.lora_A.default.weight", f"{name}.lora_B.default.weight"
        wide[key_a] = torch.cat([state[key_a], a_RI])
        wide[key_b] = torch.cat([state[key_b], -b_OR], dim=1)
    return wide


def widened_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """The adapter_config.json of an adapter of twice the rank and of the same scale."""
    rank, alpha = settings["r"], settings["lora_alpha"]
    factor = math.sqrt(2) if settings["use_rslora"] else 2
    return {**settings, "r": 2 * rank, "lora_alpha": factor * alpha}


def narrowed(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], Starts]:
    """Undoes `widened` for the tensors of an adapter file: what is trained, and what was taken out."""
    narrow, starts = dict(tensors), {}
    for key_a in tensors:
        name, found, _ = key_a.partition(".lora_A.weight")
        if found:
            key_b = f"{name}.lora_B.weight"
            narrow[key_a], a_RI = tensors[key_a].chunk(2)
            narrow[key_b], minus_b_OR = (part.contiguous() for part in tensors[key_b].chunk(2, dim=1))
            starts[name] = a_RI, -minus_b_OR
    return narrow, starts


def lora_layers(model: PeftModel) -> dict[str, LoraLayer]:
    """The layers with an adapter, by name."""
    from peft.tuners.lora import LoraLayer

    return {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}


def _check(model: PeftModel, name: str, layer: LoraLayer, method: str) -> None:
    from torch import nn

    base = layer.get_base_layer()
    shown = name.removeprefix("base_model.model.")
    if type(base) is not nn.Linear:
        raise ConfigError(
            f"tuning.init={method} is for linear layers: got `{shown}`, a {type(base).__name__}",
            "set tuning.init=default, or take it out of tuning.targets",
        )
    if base.weight is model.get_input_embeddings().weight:
        raise ConfigError(
            f"tuning.init={method} changes the base weight, which {shown} shares with the embeddings",
            "set tuning.init=default, or take it out of tuning.targets",
        )
    if layer.r["default"] > min(base.weight.shape):
        raise ConfigError(
            f"tuning.init={method} takes at most the rank of each weight: got tuning.rank={layer.r['default']}, "
            f"{shown} is {' x '.join(map(str, base.weight.shape))}",
            "lower tuning.rank",
        )
