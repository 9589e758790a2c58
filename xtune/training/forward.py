"""From a batch to the log-probabilities of its labels: the one call that every distributed strategy wraps."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xtune.conversation import IGNORE
from xtune.training.fused import fused_loss
from xtune.training.loss import LogitRule, log_probabilities

log = logging.getLogger(__name__)


class LogProbModel(nn.Module):
    """A causal language model whose forward gives the log-probabilities of a batch's labels.

    Wrapping them into the module keeps the head's weight inside what DDP, FSDP and ZeRO gather and reduce.
    `model` is a transformers model, alone or inside a PeftModel.

    How the model gets from hidden states to logits is measured, not assumed: `rule` is the first of the known rules
    with which its decoder, its head and that rule give the model's own logits on a few ids. If none does, `rule` is
    None and whole logits are taken, which is said once.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        dtype: torch.dtype = torch.float32,
        chunked: bool = True,
        summed: bool = False,
        neftune_alpha: float | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.dtype = dtype
        self.summed = summed
        self.rule = find_rule(causal(model), dtype) if chunked else None
        self.fused = fused_loss(computing_head(causal(model)), self.rule, dtype)
        self._noisy_positions_BT: Tensor | None = None
        if neftune_alpha is not None:
            embedding = causal(model).get_input_embeddings()
            embedding.register_forward_hook(partial(self._add_noise, alpha=neftune_alpha))

    @property
    def layers(self) -> list[nn.Module]:
        """The decoder layers: what a sharding strategy gathers one at a time."""
        return decoder_layers(self.model)

    def forward(self, inputs: dict[str, Any], labels_BT: Tensor) -> Tensor:
        """Log-probabilities of the N labels of `labels_BT` that are not IGNORE, in their order, fp32: (N,), or with
        `summed` their sum, (1,). The label at a position is the id that follows it.
        """
        device = labels_BT.device.type
        self._noisy_positions_BT = inputs.get("position_ids") if self.training else None
        try:
            with torch.autocast(device, dtype=self.dtype, enabled=self.dtype != torch.float32):
                return self._log_probs(inputs, labels_BT)
        finally:
            self._noisy_positions_BT = None

    def _log_probs(self, inputs: dict[str, Any], labels_BT: Tensor) -> Tensor:
        positions_N = (labels_BT != IGNORE).flatten().nonzero()[:, 0]
        targets_N = labels_BT.flatten().index_select(0, positions_N)
        if self.rule is None:
            logits_NV = self.model(**inputs).logits.flatten(0, 1).index_select(0, positions_N).float()
            found_N = -F.cross_entropy(logits_NV, targets_N, reduction="none")
            return found_N.sum()[None] if self.summed else found_N
        model = causal(self.model)
        hidden_NH = model.base_model(**inputs)[0].flatten(0, 1).index_select(0, positions_N)
        head = computing_head(model)
        return log_probabilities(hidden_NH, head, targets_N, self.rule, summed=self.summed, fused=self.fused)

    def generate(self, *inputs: Any, **options: Any) -> Any:
        """The model's own generate."""
        return self.model.generate(*inputs, **options)  # type: ignore[operator]

    def _add_noise(self, _: nn.Module, __: Any, embeddings_BTH: Tensor, *, alpha: float) -> Tensor:
        if self._noisy_positions_BT is None:  # not in a training forward: an evaluation, or an answer
            return embeddings_BTH
        return noisy_embeddings(embeddings_BTH, self._noisy_positions_BT, alpha)


def noisy_embeddings(embeddings_BTH: Tensor, position_ids_BT: Tensor, alpha: float) -> Tensor:
    """NEFTune (arXiv:2310.05914): uniform noise of magnitude alpha / sqrt(L * H), where L is a sample's own length.

    Samples begin where positions restart, so packed samples get the noise they would get alone.
    """
    sample_BT = (position_ids_BT == 0).flatten().cumsum(0) - 1
    lengths_BT = torch.bincount(sample_BT)[sample_BT].view_as(position_ids_BT)
    reach_BT1 = alpha / (lengths_BT * embeddings_BTH.shape[-1]).sqrt()[..., None]
    noise = torch.rand_like(embeddings_BTH) * 2 - 1
    return embeddings_BTH + noise * reach_BT1.to(noise.dtype)


def causal(model: nn.Module) -> Any:
    """The transformers model itself, out of a PeftModel where it is in one."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def computing_head(model: Any) -> Any:
    """The module that makes logits; where the head is trained whole beside an adapter, that is peft's copy of it."""
    head = model.get_output_embeddings()
    copies = getattr(head, "modules_to_save", None)
    return head if copies is None else copies["default"]


def decoder_layers(model: nn.Module) -> list[nn.Module]:
    """The model's decoder layers, in order: the list of modules that is as long as its config says."""
    inner = causal(model)
    count = getattr(inner.config, "num_hidden_layers", None)
    for module in inner.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return list(module)
    return []


@torch.no_grad()
def find_rule(model: Any, dtype: torch.dtype = torch.float32) -> LogitRule | None:
    """The rule with which `model.base_model`, the head and it give the logits of `model` itself, computed in `dtype`;
    None if none does.
    """
    head = model.get_output_embeddings()
    device = next(model.parameters()).device
    ids_BT = torch.arange(8, device=device)[None] % model.config.vocab_size
    training = model.training
    model.eval()
    try:
        with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
            logits_BTV = model(input_ids=ids_BT, use_cache=False).logits
            chunkable = head is not None and model.base_model is not model
            raw_BTV = head(model.base_model(input_ids=ids_BT, use_cache=False)[0]) if chunkable else logits_BTV[:0]
        # the model applies its rule in the dtype of its logits, we in fp32
        tolerance = max(1e-3, 2 * torch.finfo(logits_BTV.dtype).eps)
        for rule in _known_rules(model.config):
            if raw_BTV.shape == logits_BTV.shape and torch.allclose(
                rule(raw_BTV.float()), logits_BTV.float(), rtol=tolerance, atol=1e-4
            ):
                return rule
    finally:
        model.train(training)
    log.warning(
        "the loss takes whole logits, and the memory they need: %s makes its logits in a way that is not known here",
        type(model).__name__,
    )
    return None


def _known_rules(config: Any) -> list[LogitRule]:
    scales = [1.0]
    if getattr(config, "logits_scaling", None):
        scales.append(1.0 / config.logits_scaling)
    if getattr(config, "logit_scale", None):
        scales.append(float(config.logit_scale))
    if getattr(config, "dim_model_base", None):
        scales.append(config.dim_model_base / config.hidden_size)
    # the cap first: it hardly changes small logits, so that none would seem to fit where there is one
    caps = [getattr(config, "final_logit_softcapping", None), None]
    return [LogitRule(scale, cap) for scale in scales for cap in dict.fromkeys(caps)]
