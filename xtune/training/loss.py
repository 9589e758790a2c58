"""Log-probabilities of a language model's targets, without ever holding the logits of all positions.

Logits of a batch take batch x length x vocabulary x 4 bytes: 1 GiB for 2,048 positions and 131,072 tokens, and several
times that with their gradient. Here only labelled positions are projected, a chunk at a time, and the gradient of each
chunk is made right after its log-probabilities, while its logits are still there.

Shapes: N labelled positions, of which a chunk has C; H hidden size, V vocabulary.
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


class LinearLogProbs(torch.autograd.Function):
    """Log-probabilities of `targets_N` by the logits `rule(hidden_NH @ weight_VH.T + bias_V)`, in fp32: (N,), or where
    they are `summed`, (1,).

    The gradient of each position is made in forward, chunk by chunk: for the hidden states, whatever the gradient that
    comes back will be, it is a factor of the position's own. A weight's gradient mixes positions. It is made in forward
    where they are summed, for then they share one factor; else in backward, from the chunks' logits made again. It is
    made only where it is asked for (a head that is trained, or tied to embeddings that are); then one fp32 V x H buffer
    is held.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden_NH: Tensor,
        weight_VH: Tensor,
        bias_V: Tensor | None,
        targets_N: Tensor,
        rule: LogitRule,
        summed: bool,
        differentiate: bool,
    ) -> Tensor:
        hidden, weight, bias = (wanted and differentiate for wanted in ctx.needs_input_grad[:3])
        grad_hidden_NH = torch.empty_like(hidden_NH) if hidden else None
        head = HeadGradient(weight_VH, weight and summed, bias and summed)
        found = torch.zeros(1 if summed else len(targets_N), device=hidden_NH.device)
        for rows in _chunks(len(targets_N), len(weight_VH)):
            chunk = hidden_NH[rows], weight_VH, bias_V, targets_N[rows], rule
            log_probs_C, grad_CV = _of_chunk(*chunk, differentiate=hidden or head.wanted)
            if summed:
                found += log_probs_C.sum()
            else:
                found[rows] = log_probs_C
            if grad_CV is None:
                continue
            if grad_hidden_NH is not None:
                torch.mm(grad_CV, weight_VH, out=grad_hidden_NH[rows])
            head.add(grad_CV, hidden_NH[rows])
        ctx.rule, ctx.summed, ctx.late = rule, summed, not summed and (weight, bias)
        again = (hidden_NH, weight_VH, bias_V, targets_N) if not summed and (weight or bias) else (None,) * 4
        ctx.save_for_backward(grad_hidden_NH, head.weight_VH, head.bias_V, *again)
        ctx.weight_dtype = weight_VH.dtype
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grad = -grad
        grad_hidden_NH, grad_weight_VH, grad_bias_V, hidden_NH, weight_VH, bias_V, targets_N = ctx.saved_tensors
        if hidden_NH is not None:
            head = HeadGradient(weight_VH, *ctx.late)
            for rows in _chunks(len(targets_N), len(weight_VH)):
                _, grad_CV = _of_chunk(hidden_NH[rows], weight_VH, bias_V, targets_N[rows], ctx.rule, True)
                head.add(grad_CV * grad[rows, None].to(grad_CV.dtype), hidden_NH[rows])  # type: ignore[operator, union-attr]
            grad_weight_VH, grad_bias_V = head.weight_VH, head.bias_V
        factor = grad if ctx.summed else grad.new_ones(1)
        return (
            None if grad_hidden_NH is None else grad_hidden_NH * grad[:, None].to(grad_hidden_NH.dtype),
            None if grad_weight_VH is None else (grad_weight_VH * factor).to(ctx.weight_dtype),
            None if grad_bias_V is None else (grad_bias_V * factor).to(ctx.weight_dtype),
            *(None,) * 4,
        )


class HeadGradient:
    """Sums of the gradients of a head's weight and bias over chunks, in fp32, where they are wanted."""

    def __init__(self, weight_VH: Tensor, weight: bool, bias: bool) -> None:
        self.wanted = weight or bias
        self.weight_VH = torch.zeros_like(weight_VH, dtype=torch.float32) if weight else None
        self.bias_V = torch.zeros(len(weight_VH), device=weight_VH.device) if bias else None

    def add(self, grad_CV: Tensor, hidden_CH: Tensor) -> None:
        if self.weight_VH is not None:
            self.weight_VH += grad_CV.T @ hidden_CH
        if self.bias_V is not None:
            self.bias_V += grad_CV.sum(0, dtype=torch.float32)


def _of_chunk(
    hidden_CH: Tensor,
    weight_VH: Tensor,
    bias_V: Tensor | None,
    targets_C: Tensor,
    rule: LogitRule,
    differentiate: bool,
) -> tuple[Tensor, Tensor | None]:
    """The log-probabilities of a chunk's targets, and the gradient of minus these by the head's output, in the hidden
    states' dtype."""
    logits_CV = rule(F.linear(hidden_CH, weight_VH, bias_V).float())
    target_C = logits_CV.gather(1, targets_C[:, None])[:, 0]
    slope_CV = None if rule.cap is None else 1.0 - (logits_CV / rule.cap).square()
    total_C = torch.logsumexp(logits_CV, dim=1)
    if not differentiate:
        return target_C - total_C, None
    grad_CV = logits_CV.sub_(total_C[:, None]).exp_()
    grad_CV.scatter_add_(1, targets_C[:, None], grad_CV.new_full((len(targets_C), 1), -1.0))
    if slope_CV is not None:
        grad_CV *= slope_CV
    return target_C - total_C, (grad_CV * rule.scale if rule.scale != 1.0 else grad_CV).to(hidden_CH.dtype)


def log_probabilities(
    hidden_NH: Tensor,
    head: nn.Module,
    targets_N: Tensor,
    rule: LogitRule,
    *,
    summed: bool = False,
    fused: Callable[..., Tensor] | None = None,
) -> Tensor:
    """The log-probabilities of `targets_N` by the logits `rule(head(hidden_NH))`, in fp32: (N,), or `summed`, (1,).

    A plain `nn.Linear` takes LinearLogProbs, or, where they are summed, `fused` (training.fused) in its place. Any
    other head (one with LoRA around it, one that normalises its weight, a quantized one) is called as it is, chunk by
    chunk, and again in backward.
    """
    if type(head) is nn.Linear:
        weight, bias = head.weight, head.bias
        if torch.is_autocast_enabled(hidden_NH.device.type):
            dtype = torch.get_autocast_dtype(hidden_NH.device.type)
            hidden_NH, weight, bias = hidden_NH.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
        # Liger's cannot take no positions, and makes no gradient at all where `hidden_NH` needs none
        if summed and fused is not None and len(targets_N) and hidden_NH.requires_grad:
            return -fused(hidden_NH, weight, bias, targets_N)[None]
        return LinearLogProbs.apply(hidden_NH, weight, bias, targets_N, rule, summed, torch.is_grad_enabled())

    def cross_entropy(chunk_CH: Tensor, targets_C: Tensor) -> Tensor:
        return F.cross_entropy(rule(head(chunk_CH).float()), targets_C, reduction="sum" if summed else "none")

    vocabulary = getattr(head, "out_features", None) or len(head.weight)
    chunks = _chunks(len(targets_N), vocabulary)
    # ranks that have fewer labelled positions, or none, call the head as often: ZeRO-3 gathers its weights in each call
    chunks += [slice(0, 0)] * (max(1, ranks.largest(len(chunks))) - len(chunks))
    found = [checkpoint(cross_entropy, hidden_NH[rows], targets_N[rows], use_reentrant=False) for rows in chunks]
    return -(torch.stack(found).sum()[None] if summed else torch.cat(found))


def _chunks(positions: int, vocabulary: int) -> list[slice]:
    size = max(16, CHUNK_ELEMENTS // vocabulary)
    return [slice(start, start + size) for start in range(0, positions, size)]
