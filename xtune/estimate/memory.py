"""Bytes that training takes, from sizes alone.

Trained weights are float32 with a float32 gradient and the optimizer's state; frozen ones have the model's dtype, or 4
or 8 bits. Activations are what a decoder layer keeps for backward, tensor by tensor, for Llama's kind of layer with
fused attention; the loss is computed in chunks. Tests compare with allocations measured in training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from xtune.distributed.parallel import Distributed
from xtune.errors import ConfigError
from xtune.models.count import head_dim, matrices
from xtune.models.skeleton import build
from xtune.optimizers.optimizer import Optimizer
from xtune.quantization.quantization import Quantization
from xtune.training.loss import CHUNK_ELEMENTS
from xtune.tuning.tuning import Tuning

GIB = 2**30


def checkpoint_bytes(trained: float, optimizer: Optimizer) -> float:
    """Of one checkpoint: the weights that are trained, in float32, and the optimizer's state."""
    return trained * (4 + optimizer.state_bytes)


@dataclass(frozen=True)
class Memory:
    """Bytes on one device, by what they hold."""

    weights: float
    gradients: float
    optimizer: float
    activations: float = 0.0
    logits: float = 0.0

    @property
    def total(self) -> float:
        return self.weights + self.gradients + self.optimizer + self.activations + self.logits


def state(trained: float, frozen_bytes: float, optimizer_bytes: float = 8.0) -> Memory:
    """Weights, gradients and optimizer state, on one device."""
    return Memory(weights=4 * trained + frozen_bytes, gradients=4 * trained, optimizer=optimizer_bytes * trained)


def on_each(memory: Memory, distributed: Distributed, gpus: int, quantization: Quantization) -> Memory:
    """What each of `gpus` devices holds under a distributed strategy. Quantized weights stay whole on each."""
    whole = {"weights"} if quantization.bits else set()
    shares = {part: getattr(memory, part) / gpus for part in distributed.sharded - whole}
    gone = dict.fromkeys(distributed.offloaded - whole, 0.0)
    return replace(memory, **{**shares, **gone})


def skeleton(config: Mapping[str, Any]) -> Any:
    """The model's class, built without memory. Raises ConfigError where the sizes are not known, and where neither
    transformers nor xtune has the class.
    """
    import torch

    if not config:
        raise ConfigError("nothing is known of this model's sizes: got a ModelSpec without config", "give it one")
    with torch.device("meta"):
        return build(config)


def prepared(model: Any, tuning: Tuning) -> Any:
    """A skeleton, prepared as for training. Raises ConfigError for a model that the tuning cannot be applied to."""
    import torch

    with torch.device("meta"):
        return tuning.prepare(model)


def count_trained(model: Any) -> int:
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


def trained_parameters(config: Mapping[str, Any], tuning: Tuning) -> int:
    """How many weights a run trains. Raises ConfigError as `skeleton` and `prepared` do."""
    return count_trained(prepared(skeleton(config), tuning))


def frozen_bytes(
    config: Mapping[str, Any], tuning: Tuning, quantization: Quantization, parameters: int, width: int
) -> float:
    """Bytes of the weights that stay as they are; `width` is that of the model's dtype."""
    if tuning.trains_everything:
        return 0.0
    linear = sum(m.copies * m.inputs * m.outputs for m in matrices(config) if m.linear)
    return linear * quantization.bytes_per_weight(width) + (parameters - linear) * width


def activations(
    config: Mapping[str, Any], tuning: Tuning, tokens: int, width: int, mask: int, *, checkpointing: bool
) -> float:
    """Bytes kept for backward from a micro-batch of `tokens`.

    With checkpointing every layer keeps only its input, and one layer at a time is computed again.
    """
    layer, layers = layer_bytes(config, tuning, width, mask), config["num_hidden_layers"]
    if not checkpointing:
        return tokens * layers * layer
    residual = width if tuning.freezes_base else 4
    return tokens * (layers * config["hidden_size"] * residual + layer)


def layer_bytes(config: Mapping[str, Any], tuning: Tuning, width: int, mask: int) -> float:
    """Bytes a token that one layer keeps for backward; `mask` is what dropout keeps of an element: 1, on a CPU 4."""
    hidden = config["hidden_size"]
    heads = config["num_attention_heads"] * head_dim(config)
    kv = config["num_key_value_heads"] * head_dim(config)
    inner = _inner(config)
    # each norm computes in float32 and keeps its input; with a trained weight also that input normalised
    norms = 2 * 4 * hidden * (1 if tuning.freezes_base else 2)
    attention = width * (2 * heads + 2 * kv)  # q, k, v and what comes out
    if not tuning.freezes_base:
        # linear layers keep what they read: twice the hidden size, the attention's output (counted), the MLP's product
        return norms + attention + width * (2 * hidden + 4 * inner)
    kept = norms + attention + width * 3 * inner  # gate, its activation, up
    layers = config["num_hidden_layers"]
    chosen = tuning.adapted([matrix for matrix in matrices(config) if matrix.linear])
    kept += 4 * sum(tuning.adapter_rank * m.used for m in chosen) / layers
    reads = sum(m.inputs * m.used for m in chosen) / layers
    if tuning.adapter_dropout:
        return kept + reads * (4 + mask)  # each adapter keeps its own dropped input, in float32, and the mask
    return kept + width * (2 * hidden + inner)


def logits(config: Mapping[str, Any], tuning: Tuning, tokens: int, width: int) -> float:
    """Bytes of one chunk of logits, and of the gradient of a head that is trained while it is summed up."""
    vocabulary = config["vocab_size"]
    positions = min(tokens, max(16, CHUNK_ELEMENTS // vocabulary))
    head = 0 if tuning.freezes_base else 2 * 4 * _table(config)
    return positions * vocabulary * (4 if width == 4 else 4 + width) + head


def _inner(config: Mapping[str, Any]) -> float:
    """Inner size of all MLPs that a token passes in a layer, on average over layers."""
    size = config["intermediate_size"]
    hidden = config["hidden_size"]
    down = [
        m
        for m in matrices(config)
        if m.name.endswith("down_proj") or ((m.inputs, m.outputs) == (size, hidden) and m.name != "o_proj")
    ]
    return sum(m.inputs * m.used for m in down) / config["num_hidden_layers"]


def _table(config: Mapping[str, Any]) -> int:
    """Parameters of the embeddings, or of the head."""
    return config["vocab_size"] * config["hidden_size"]
