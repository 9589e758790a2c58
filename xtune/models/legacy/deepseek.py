"""DeepSeek-MoE-16B (arXiv:2401.06066): Llama's attention, and experts of which some are shared by all tokens.

Experts are modules of their own, as in the vendor's layout, so that they can be quantized and tuned one by one; the
fused experts of transformers' later DeepSeek classes cannot. The vendor's balance loss, which acts on pre-training
batches, is not added.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM, LlamaModel
from transformers.models.deepseek_v2.modeling_deepseek_v2 import DeepseekV2MLP

from xtune.errors import ModelError
from xtune.models.legacy.config import VendorConfig
from xtune.models.legacy.family import LegacyModel


class DeepseekConfig(VendorConfig, LlamaConfig):
    model_type = "deepseek"
    required: ClassVar[dict[str, Any]] = {"norm_topk_prob": False, "scoring_func": "softmax"}
    n_routed_experts: int | None = None
    n_shared_experts: int | None = None
    num_experts_per_tok: int | None = None
    moe_intermediate_size: int = 1407
    first_k_dense_replace: int = 0
    moe_layer_freq: int = 1


class Router(nn.Module):
    """How much each expert is worth to each token. Not a Linear: it is neither quantized nor adapted."""

    def __init__(self, config: DeepseekConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(config.n_routed_experts, config.hidden_size))

    def forward(self, hidden_NH: Tensor) -> Tensor:
        return F.linear(hidden_NH, self.weight).softmax(-1, dtype=torch.float32)


class DeepseekMoE(nn.Module):
    """Each token goes through its best experts, weighted by the router, and through the shared ones."""

    def __init__(self, config: DeepseekConfig) -> None:
        super().__init__()
        size, shared = config.moe_intermediate_size, config.n_shared_experts
        self.active = config.num_experts_per_tok
        self.gate = Router(config)
        self.experts = nn.ModuleList(
            DeepseekV2MLP(config, intermediate_size=size)
            for _ in range(config.n_routed_experts)  # type: ignore[arg-type]
        )
        self.shared_experts = DeepseekV2MLP(config, intermediate_size=size * shared) if shared else None

    def forward(self, hidden_BTH: Tensor) -> Tensor:
        hidden_NH = hidden_BTH.flatten(0, -2)
        weights_NK, experts_NK = self.gate(hidden_NH).topk(self.active)
        mixed_NH = torch.zeros_like(hidden_NH)
        for number, expert in enumerate(self.experts):
            tokens, places = torch.where(experts_NK == number)
            if len(tokens) or self.training:  # in training every rank runs every expert: collectives wait for all
                added = expert(hidden_NH[tokens]) * weights_NK[tokens, places, None].to(hidden_NH.dtype)
                mixed_NH = mixed_NH.index_add(0, tokens, added)
        mixed_BTH = mixed_NH.view_as(hidden_BTH)
        return mixed_BTH if self.shared_experts is None else mixed_BTH + self.shared_experts(hidden_BTH)


class DeepseekModel(LlamaModel):
    config_class = DeepseekConfig

    def __init__(self, config: DeepseekConfig) -> None:
        super().__init__(config)
        if config.n_routed_experts is not None:
            for number in range(config.first_k_dense_replace, config.num_hidden_layers):
                if number % config.moe_layer_freq == 0:
                    self.layers[number].mlp = DeepseekMoE(config)

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, Router):
            nn.init.normal_(module.weight, std=self.config.initializer_range)


class DeepseekForCausalLM(LegacyModel, LlamaForCausalLM):
    config_class = DeepseekConfig
    native = LlamaForCausalLM

    def __init__(self, config: DeepseekConfig) -> None:
        super().__init__(config)
        self.model = DeepseekModel(config)
        self.post_init()

    def native_settings(self) -> dict[str, Any]:
        raise ModelError("DeepSeek-MoE has no native layout: no class of transformers computes it", "keep the vendor's")
