"""The loss of a language model's head, without ever holding the logits of all positions.

Logits of a batch take batch x length x vocabulary x 4 bytes: 1 GiB for 2,048 positions and 131,072 tokens, and several
times that with their gradient. Here only positions that are learnt are projected, a chunk at a time, and the gradient
of each chunk is made right after its loss, while its logits are still there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from xtune.dist import ranks

CHUNK_ELEMENTS = 2**24
"""Logits held at once; in fp32 64 MiB, and as much again for a moment."""


class LogitRule(NamedTuple):
    """What a model does to its head's output z: cap * tanh(scale * z / cap), without a cap scale * z.

    Gemma 2 caps (arXiv:2408.00118, section 2); Granite, Cohere and MiniCPM scale.
    """

    scale: float = 1.0
    cap: float | None = None

    def __call__(self, logits: Tensor) -> Tensor:
        logits = logits if self.scale == 1.0 else logits * self.scale
        return logits if self.cap is None else torch.tanh(logits / self.cap) * self.cap


class LinearCrossEntropy(torch.autograd.Function):
    """Sum of the cross entropies of `hidden_NH @ weight_VH.T + bias_V` against `targets_N`, in fp32.

    The gradient is made in forward, chunk by chunk, so nothing is computed twice. That of the weight is made only where
    it is asked for (a head that is trained, or tied to embeddings that are); then one fp32 V x H buffer is held.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden_NH: Tensor,
        weight_VH: Tensor,
        bias_V: Tensor | None,
        targets_N: Tensor,
        rule: LogitRule,
        differentiate: bool,
    ) -> Tensor:
        hidden, weight, bias = (
            wanted and differentiate
            for wanted in (*ctx.needs_input_grad[:2], bias_V is not None and ctx.needs_input_grad[2])
        )
        grad_hidden_NH = torch.empty_like(hidden_NH) if hidden else None
        grad_weight_VH = torch.zeros_like(weight_VH, dtype=torch.float32) if weight else None
        grad_bias_V = torch.zeros(len(weight_VH), device=weight_VH.device) if bias else None
        loss = torch.zeros((), device=hidden_NH.device)
        for rows in _chunks(len(targets_N), len(weight_VH)):
            chunk_CH, targets_C1 = hidden_NH[rows], targets_N[rows, None]
            logits_CV = rule(F.linear(chunk_CH, weight_VH, bias_V).float())
            target_C = logits_CV.gather(1, targets_C1)[:, 0]
            slope_CV = None if rule.cap is None else 1.0 - (logits_CV / rule.cap).square()
            total_C = torch.logsumexp(logits_CV, dim=1)
            loss += (total_C - target_C).sum()
            if not (hidden or weight or bias):
                continue
            grad_CV = logits_CV.sub_(total_C[:, None]).exp_()
            grad_CV.scatter_add_(1, targets_C1, grad_CV.new_full(targets_C1.shape, -1.0))
            if slope_CV is not None:
                grad_CV *= slope_CV
            grad_CV = (grad_CV * rule.scale if rule.scale != 1.0 else grad_CV).to(hidden_NH.dtype)
            if grad_hidden_NH is not None:
                torch.mm(grad_CV, weight_VH, out=grad_hidden_NH[rows])
            if grad_weight_VH is not None:
                grad_weight_VH += grad_CV.T @ chunk_CH
            if grad_bias_V is not None:
                grad_bias_V += grad_CV.sum(0, dtype=torch.float32)
        ctx.save_for_backward(grad_hidden_NH, grad_weight_VH, grad_bias_V)
        ctx.weight_dtype = weight_VH.dtype
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias = ctx.saved_tensors
        return (
            None if hidden is None else hidden * grad.to(hidden.dtype),
            None if weight is None else (weight * grad).to(ctx.weight_dtype),
            None if bias is None else (bias * grad).to(ctx.weight_dtype),
            None,
            None,
            None,
        )


def summed_cross_entropy(
    hidden_NH: Tensor, head: nn.Module, targets_N: Tensor, rule: LogitRule, fused: Callable[..., Tensor] | None = None
) -> Tensor:
    """The sum of the cross entropies of `rule(head(hidden_NH))` against `targets_N`: a scalar in fp32.

    A plain `nn.Linear` takes LinearCrossEntropy, or `fused` (xtune.training.fused) instead. Any other head (one with
    LoRA around it, one that normalises its weight, a quantized one) is called as it is, chunk by chunk, and again in
    backward.
    """
    if type(head) is nn.Linear:
        weight, bias = head.weight, head.bias
        if torch.is_autocast_enabled(hidden_NH.device.type):
            dtype = torch.get_autocast_dtype(hidden_NH.device.type)
            hidden_NH, weight, bias = hidden_NH.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
        # Liger's cannot take no positions, and makes no gradient at all where `hidden_NH` needs none
        if fused is not None and len(targets_N) and hidden_NH.requires_grad:
            return fused(hidden_NH, weight, bias, targets_N)
        return LinearCrossEntropy.apply(hidden_NH, weight, bias, targets_N, rule, torch.is_grad_enabled())

    def chunk_loss(chunk_CH: Tensor, targets_C: Tensor) -> Tensor:
        return F.cross_entropy(rule(head(chunk_CH).float()), targets_C, reduction="sum")

    vocabulary = getattr(head, "out_features", None) or len(head.weight)
    chunks = _chunks(len(targets_N), vocabulary)
    # ranks that learn fewer positions, or none, call the head as often: ZeRO-3 gathers its weights in each call
    chunks += [slice(0, 0)] * (max(1, ranks.largest(len(chunks))) - len(chunks))
    return torch.stack(
        [checkpoint(chunk_loss, hidden_NH[rows], targets_N[rows], use_reentrant=False) for rows in chunks]
    ).sum()


def _chunks(positions: int, vocabulary: int) -> list[slice]:
    size = max(16, CHUNK_ELEMENTS // vocabulary)
    return [slice(start, start + size) for start in range(0, positions, size)]
