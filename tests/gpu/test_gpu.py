"""What only a CUDA device can show: run with `pytest -m gpu tests/gpu`, or all of it with tools/gpu_checks.sh.

The reference of each is the same thing on the CPU, in float32, or another kernel for the same sums.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

import xtune
from xtune.checkpoints.checkpoint import list_checkpoints

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]

CONFIG = "smollm2_135m_instruct_lora_alpaca_e3"
STEPS = 4
needs_bitsandbytes = pytest.mark.skipif(not find_spec("bitsandbytes"), reason="bitsandbytes is not installed")
needs_flash = pytest.mark.skipif(not find_spec("flash_attn"), reason="flash-attn is not installed")
needs_deepspeed = pytest.mark.skipif(not find_spec("deepspeed"), reason="deepspeed is not installed")


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.json"
    examples = [{"instruction": f"What is {n} and {n}?", "output": f"It is {2 * n}. " * (1 + n % 7)} for n in range(64)]
    path.write_text(json.dumps(examples))
    return path


@pytest.fixture
def changes(tiny_model: Path, rows: Path) -> Any:
    """What a test's config changes in CONFIG; `settings` are dotted keys."""

    def made(tuning: dict[str, Any], **settings: Any) -> dict[str, Any]:
        return {
            "model.path": str(tiny_model),
            "model.dtype": "float32",
            "data": [{"path": str(rows), "mapper": "alpaca"}],
            "tuning": tuning,
            "max_length": 256,
            "train": {"batch_size": 2, "accumulate": 2, "max_steps": STEPS},
            "optimizer.name": "adamw",
            "optimizer.lr": 1e-2,
            "schedule": {"name": "constant"},
            "checkpoint.every": STEPS // 2,
            "evaluation.prompts": [],
            **settings,
        }

    return made


@pytest.fixture
def train(changes: Any, tmp_path: Path) -> Any:
    """Trains the tiny model on the device."""

    def run(name: str, tuning: dict[str, Any], resume: Any = None, **settings: Any) -> Any:
        return xtune.train(xtune.load_config(CONFIG, changes(tuning, **settings)), tmp_path / name, resume)

    return run


LORA = {"name": "lora", "rank": 8, "dropout": 0.0}


def losses(result: Any) -> list[float]:
    return [row["loss"] for row in result.metrics]


@pytest.mark.parametrize("tuning", [LORA, {"name": "full"}], ids=["lora", "full"])
def test_the_device_trains_as_the_cpu_does(train, tuning, monkeypatch):
    torch.backends.cuda.matmul.allow_tf32 = False
    on_device = losses(train("device", tuning))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert on_device == pytest.approx(losses(train("cpu", tuning)), rel=1e-4)


@pytest.mark.parametrize("tuning", [LORA, {"name": "full"}], ids=["lora", "full"])
def test_bfloat16_stays_near_float32(train, tuning):
    assert losses(train("bf16", tuning, **{"model.dtype": "bfloat16"})) == pytest.approx(
        losses(train("fp32", tuning)), rel=3e-2
    )


@needs_bitsandbytes
@pytest.mark.parametrize("name", ["qlora", "int8_lora"])
def test_quantized_bases_train_and_their_adapters_load_in_peft(train, changes, tiny_model, tmp_path, name):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from xtune.export.pth_to_hf import pth_to_hf

    tuning = {"name": name, "rank": 8, "dropout": 0.0}
    result = train("run", tuning, **{"model.dtype": "bfloat16"})
    assert losses(result)[-1] < losses(result)[0]
    pth_to_hf(xtune.load_config(CONFIG, changes(tuning)), result.work_dir, tmp_path / "adapter")
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_model).cuda(), tmp_path / "adapter")
    assert torch.isfinite(model(torch.arange(8, device="cuda")[None]).logits).all()


@needs_bitsandbytes
@pytest.mark.parametrize("name", ["paged_adamw_32bit", "paged_adamw_8bit", "adamw_8bit"])
def test_optimizers_of_bitsandbytes_resume_to_the_same_weights(train, name):
    settings = {"optimizer.name": name, "checkpoint.keep": 9}
    whole = train("run", LORA, **settings)
    first = list_checkpoints(whole.work_dir)[0]
    again = train("again", LORA, resume=first, **settings)
    assert losses(again)[-1] == pytest.approx(losses(whole)[-1], rel=1e-5)


def test_a_resumed_run_ends_the_same(train):
    whole = train("run", {**LORA, "dropout": 0.2}, **{"checkpoint.keep": 9})
    again = train("again", {**LORA, "dropout": 0.2}, resume=list_checkpoints(whole.work_dir)[0])
    assert losses(again)[-1] == pytest.approx(losses(whole)[-1], rel=1e-6)


@needs_flash
def test_flash_attention_packs_as_sdpa_does(train):
    settings = {"model.dtype": "bfloat16", "max_length": 512}
    flash = train("flash", LORA, **settings, **{"model.attention": "flash_attention_2"})
    sdpa = train("sdpa", LORA, **settings, **{"model.attention": "sdpa"})
    assert losses(flash) == pytest.approx(losses(sdpa), rel=1e-2)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packs_give_the_loss_of_their_samples_alone(tiny_model, attention):
    import numpy as np

    from xtune.conversation import IGNORE
    from xtune.data.collate import collate
    from xtune.data.pack import Pack
    from xtune.training.forward import LogProbModel

    torch.backends.cuda.matmul.allow_tf32 = False
    model = LogProbModel(xtune.load_model(tiny_model, dtype="float32", attention=attention, device="cuda")).eval()
    random = np.random.default_rng(0)
    samples = []
    for length in (40, 7, 90, 3):
        ids = random.integers(3, 200, length).astype(np.int32)
        labels = np.where(np.arange(length) > 0, ids, IGNORE).astype(np.int32)
        samples.append(Pack(ids, labels, np.array([length], np.int32)))
    joined = Pack(*(np.concatenate(parts) for parts in zip(*(one[:3] for one in samples), strict=True)))

    def loss(packs: list[Pack]) -> float:
        batch = collate(packs, pad_id=0, attention=attention).to("cuda")
        return -float(model(batch.model_inputs(), batch.labels_BT).sum())

    assert loss([joined]) == pytest.approx(sum(loss([sample]) for sample in samples), rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_chunked_loss_is_the_plain_one(dtype):
    from torch import nn

    from xtune.training.loss import LogitRule, log_probabilities

    torch.manual_seed(0)
    head = nn.Linear(256, 32000, bias=False, device="cuda", dtype=dtype)
    hidden_NH = torch.randn(700, 256, device="cuda", dtype=dtype, requires_grad=True)
    targets_N = torch.randint(0, 32000, (700,), device="cuda")
    ours = -log_probabilities(hidden_NH, head, targets_N, LogitRule(1.0, None), summed=True)[0]
    found = torch.autograd.grad(ours, [hidden_NH, head.weight])
    plain = nn.functional.cross_entropy(head(hidden_NH).float(), targets_N, reduction="sum")
    wanted = torch.autograd.grad(plain, [hidden_NH, head.weight])
    close = {"rtol": 1e-4, "atol": 1e-4} if dtype == torch.float32 else {"rtol": 3e-2, "atol": 3e-2}
    assert float(ours) == pytest.approx(float(plain), rel=close["rtol"])
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, **close)


@needs_deepspeed
@pytest.mark.parametrize("stage", ["deepspeed_zero2", "deepspeed_zero3"])
def test_zero_on_one_device_is_the_plain_loop(train, changes, stage, tmp_path):
    """In a process of its own: DeepSpeed keeps groups that are gone."""
    plain = losses(train("plain", LORA))
    script = (
        "import json, sys, xtune; xtune.train(xtune.load_config(sys.argv[1], json.loads(sys.argv[2])), sys.argv[3])"
    )
    settings = json.dumps(changes(LORA, distributed=stage))
    subprocess.run([sys.executable, "-c", script, CONFIG, settings, str(tmp_path / stage)], check=True)
    lines = (tmp_path / stage / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["loss"] for line in lines] == pytest.approx(plain, rel=1e-4)


def test_compiled_layers_give_the_same_losses(train):
    plain = losses(train("plain", LORA))
    assert losses(train("compiled", LORA, **{"train.compile": True})) == pytest.approx(plain, rel=1e-4)


@needs_bitsandbytes
def test_a_four_bit_model_answers(tiny_model):
    from xtune.generate.sampling import Sampling
    from xtune.generate.session import Session

    model = xtune.load_model(tiny_model, quantization=4, device="cuda")
    tokenizer = xtune.load_tokenizer(tiny_model)
    template = xtune.components().templates["chatml"]
    assert isinstance(Session(model, tokenizer, template, sampling=Sampling(8)).ask("Who are you?"), str)
