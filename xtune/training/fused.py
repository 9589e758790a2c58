"""The loss by Liger's fused CUDA kernel (arXiv:2410.10989), where it is installed and gives what ours gives.

Both compute chunk by chunk and hold no whole logits; the kernel makes a chunk's loss and gradient in one pass over it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from xtune.foreign import reason
from xtune.training.loss import LinearLogProbs, LogitRule

log = logging.getLogger(__name__)

FusedLoss = Callable[[Tensor, Tensor, Tensor | None, Tensor], Tensor]
"""(hidden_NH, weight_VH, bias_V, targets_N) -> the sum of the cross entropies, for one rule. N > 0."""

TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 2e-2}
"""How far the kernel may be off: in the loss, and in the norm of the difference of each gradient, relative to ours.
Both round a chunk's gradient to the dtype once; bfloat16 has 8 bits."""

CHECKED_POSITIONS = 64


def fused_loss(head: nn.Module | None, rule: LogitRule | None, dtype: torch.dtype) -> FusedLoss | None:
    """Liger's kernel for the loss of `head` in `dtype`, checked against ours; None where ours is to be taken.

    That is without CUDA or the package, for a head that is no plain linear layer, for a rule that scales, which the
    kernel does not do, and for a kernel that fails the check, which is said.
    """
    if head is None or type(head) is not nn.Linear or rule is None or rule.scale != 1.0 or dtype not in TOLERANCE:
        return None
    if not available(head.weight.device):
        return None
    try:
        fused = liger(rule)
        off = difference(fused, head, rule, dtype)
    except Exception as error:  # whatever a release that is not known here raises, or its compiler
        log.warning("Liger's kernel is not used: got %s", reason(error))
        return None
    if not off <= TOLERANCE[dtype]:
        log.warning("Liger's kernel is not used: it differs from our loss by %.1e, relative to it", off)
        return None
    log.info("the loss is computed by Liger's kernel, which differs from ours by %.1e", off)
    return fused


def available(device: torch.device) -> bool:
    return device.type == "cuda" and find_spec("liger_kernel") is not None


def liger(rule: LogitRule) -> FusedLoss:
    from liger_kernel.transformers.fused_linear_cross_entropy import LigerFusedLinearCrossEntropyLoss

    kernel = LigerFusedLinearCrossEntropyLoss(reduction="sum", softcap=rule.cap, accum_dtype=torch.float32)

    def fused(hidden_NH: Tensor, weight_VH: Tensor, bias_V: Tensor | None, targets_N: Tensor) -> Tensor:
        return kernel(weight_VH, hidden_NH, targets_N, bias_V)

    return fused


def difference(fused: FusedLoss, head: nn.Linear, rule: LogitRule, dtype: torch.dtype) -> float:
    """The largest relative difference between `fused` and ours, on random positions, of the loss and of the gradients
    of all that `head` trains and of its input.
    """
    device = head.weight.device
    random = torch.Generator(device).manual_seed(0)
    sizes = {"device": device, "generator": random}
    hidden_NH = torch.randn(CHECKED_POSITIONS, head.in_features, dtype=dtype, **sizes).requires_grad_()  # type: ignore[call-overload]
    targets_N = torch.randint(head.out_features, (CHECKED_POSITIONS,), **sizes)  # type: ignore[call-overload]
    weight_VH, bias_V = (
        None if part is None else part.detach().to(dtype).requires_grad_(part.requires_grad)
        for part in (head.weight, head.bias)
    )
    inputs = [part for part in (hidden_NH, weight_VH, bias_V) if part is not None and part.requires_grad]
    results = []
    for compute in (lambda *parts: -LinearLogProbs.apply(*parts, rule, True, True)[0], fused):
        loss = compute(hidden_NH, weight_VH, bias_V, targets_N)
        # a step's loss is divided by its tokens: the gradient that comes back is not 1
        results.append([loss.detach(), *torch.autograd.grad(loss / CHECKED_POSITIONS, inputs)])
    pairs = zip(*([part.float() for part in result] for result in results), strict=True)
    return max(float((kernel - own).norm() / own.norm()) for own, kernel in pairs)
