"""What gradient checkpointing keeps, counted, on weights of 4 and 8 bits."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch
from engine_standins import TinyRun, tiny_config, tiny_llama
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from xtune.data.pack import Pack
from xtune.models.load import load_model
from xtune.quantization.bits import Int8, Nf4
from xtune.training import build

LAYERS, TOKENS = 4, 512


class Kept(TorchDispatchMode):
    """The bytes of floating point storage that was made inside and is still there."""

    def __init__(self):
        super().__init__()
        self.made = {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor) and tensor.is_floating_point() and tensor.numel() > 64:
                storage = tensor.untyped_storage()
                self.made[storage._cdata] = storage.nbytes(), StorageWeakRef(storage)
        return out

    def bytes(self):
        gc.collect()
        return sum(size for size, storage in self.made.values() if not storage.expired())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("model")
    sizes = {"hidden_size": 64, "intermediate_size": 176, "num_hidden_layers": LAYERS, "max_position_embeddings": 1024}
    tiny_llama(**sizes).to(torch.bfloat16).save_pretrained(place)
    return place


def trained_once(folder, tuning, checkpointing):
    """Bytes kept after the forward, per layer and token; loss and gradients."""

    class Loads(TinyRun):
        def load_model(self, device=None, on_cpu=False):
            quantization = {"int8_lora": Int8, "qlora": Nf4}[tuning]()
            options = quantization.load_options(torch.bfloat16)
            model = load_model(str(folder), dtype="bfloat16", attention="sdpa", quantization=options, device="cpu")
            quantization.prepare(model)
            return model

    config = tiny_config(
        {"name": tuning, "rank": 4, "dropout": 0.0, "init": "gaussian"},
        "single",
        model={"dtype": "bfloat16"},
        train={"batch_size": 1, "accumulate": 1, "epochs": 1, "gradient_checkpointing": checkpointing},
    )
    ids = np.random.default_rng(0).integers(5, 60, TOKENS).astype(np.int32)
    pack = Pack(ids, ids, np.array([TOKENS], np.int32))
    run = Loads(config)
    model = build.build_model(run, None)
    plan = build.build_plan(config, [pack])
    parallel = build.build_parallel(run, model, plan)
    batch = build.build_collate(model, run.tokenizer)([pack])
    parallel.module.train()
    with Kept() as kept:
        loss = -parallel.module(batch.model_inputs(), batch.labels_BT).sum()
    size = kept.bytes() / LAYERS / TOKENS
    parallel.backward(loss, last=True)
    return size, loss.item(), {name: p.grad for name, p in parallel.inner.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("tuning", ["qlora", "int8_lora"])
def test_checkpointing_keeps_little_and_changes_nothing(tuning, folder):
    plain, loss, gradients = trained_once(folder, tuning, False)
    kept, same_loss, same_gradients = trained_once(folder, tuning, True)
    assert kept < 300 < plain
    assert same_loss == loss
    assert gradients.keys() == same_gradients.keys() and any(gradient.any() for gradient in gradients.values())
    assert all(torch.equal(gradient, same_gradients[name]) for name, gradient in gradients.items())
