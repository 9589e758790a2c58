"""`xtune plan`: what it prints, and the numbers behind it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from xtune import load_config
from xtune.cli import main
from xtune.commands.plan import print_data
from xtune.estimate.memory import GIB, Memory
from xtune.estimate.plan import Need, Setting, advice, fits, flops_a_token, need, planned
from xtune.optimizers.adam import AdamW, PagedAdamW32bit
from xtune.quantization.bits import Nf4
from xtune.quantization.quantization import Quantization
from xtune.registries import Components
from xtune.tuning import Full, Lora, QLora

MODELS = Components([]).models
PLANNED = planned(Components([]).strategies)
PLAIN = Quantization()
LLAMA3 = MODELS["llama3_8b"]


def test_a_plan_tries_the_strategies_that_say_so() -> None:
    assert next(iter(PLANNED)) == "ddp" and {"deepspeed_zero2", "deepspeed_zero3_offload"} <= PLANNED.keys()
    assert not PLANNED.keys() & {"auto", "single", "deepspeed"}
    assert {name for name, strategy in PLANNED.items() if strategy.offloaded} == {
        name for name in PLANNED if name.endswith("offload")
    }


def test_flops_of_full_tuning_are_six_a_weight() -> None:
    """arXiv:2001.08361, section 2.1, with short inputs; embeddings are looked up, not multiplied."""
    needed = Need(LLAMA3.parameters, Memory(0, 0, 0), checkpointing=False)
    used = LLAMA3.parameters - 128256 * 4096
    assert flops_a_token(LLAMA3.config, needed, 1, full=True) == pytest.approx(6 * used, rel=1e-3)
    with_checkpointing = Need(LLAMA3.parameters, Memory(0, 0, 0), checkpointing=True)
    assert flops_a_token(LLAMA3.config, with_checkpointing, 1, full=True) == pytest.approx(8 * used, rel=1e-3)
    adapters = Need(10**7, Memory(0, 0, 0), checkpointing=False)
    assert flops_a_token(LLAMA3.config, adapters, 1, full=False) == pytest.approx(4 * used + 6e7, rel=1e-3)


def test_of_experts_only_the_chosen_work() -> None:
    """Mixtral uses 12.9 billion of its parameters for a token (arXiv:2401.04088), embeddings among them."""
    mixtral = MODELS["mixtral_8x7b"]
    needed = Need(mixtral.parameters, Memory(0, 0, 0), checkpointing=False)
    used = flops_a_token(mixtral.config, needed, 0, full=True) / 6 + 32000 * 4096
    assert used == pytest.approx(12.9e9, rel=0.01)


def test_checkpointing_comes_on_where_memory_is_short() -> None:
    trained = 167_772_160
    large, small = (
        need(LLAMA3, QLora(), Nf4(), trained, PagedAdamW32bit(), Setting(2048, 2, 1, gib, "auto")) for gib in (80, 16)
    )
    assert (large.checkpointing, small.checkpointing) == (False, True)
    assert fits(small.memory, 16)
    assert small.memory.activations < large.memory.activations / 5


def test_what_helps() -> None:
    setting = Setting(2048, 2, 8, 80, False)
    needed = need(LLAMA3, Full(), PLAIN, LLAMA3.parameters, AdamW(), setting)
    assert not fits(needed.memory, 80)
    said = advice(needed, setting, PLAIN, PLANNED)
    assert any(line.startswith("distributed=deepspeed_zero2 needs ") for line in said)
    lonely = advice(needed, Setting(2048, 2, 1, 80, False), PLAIN, PLANNED)
    assert "the config of this name with qlora holds the base in 4 bits" in lonely
    heavy = Need(1, Memory(1, 0, 0, activations=200 * GIB), checkpointing=False)
    assert advice(heavy, Setting(2048, 2, 1, 80, False), Nf4(), PLANNED)[0].startswith(
        "train.gradient_checkpointing=true"
    )
    huge = Need(1, Memory(500 * GIB, 0, 0), checkpointing=True)
    assert advice(huge, Setting(2048, 2, 1, 80, False), Nf4(), PLANNED) == [
        "a larger GPU, or more of them with distributed=deepspeed_zero3_offload, or a smaller model"
    ]


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "smollm2_135m_instruct_lora_alpaca_e3", "--gpu-memory", "1"]) == 0
    shown = capsys.readouterr().out
    adapters = 30 * 64 * (2 * (576 + 576) + 2 * (576 + 192) + 3 * (576 + 1536))
    assert f"parameters  134,515,008 in all, {adapters:,} trained" in shown
    assert "data        not at hand" in shown
    assert "It does not fit into 1 GiB. What helps:" in shown
    for name in ("full", "lora", "qlora", "int8_lora"):
        assert f"\n  {name} " in shown


def test_steps_and_tokens_are_told_where_the_data_is_at_hand(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "rows.json").write_text("[]")
    overrides = {"data": [{"path": str(tmp_path / "rows.json"), "mapper": "alpaca"}], "model.path": str(tmp_path)}
    config = load_config("smollm2_135m_instruct_full_alpaca_e3", overrides)
    report = SimpleNamespace(read=101, trained=100, tokens=5000, trained_tokens=2000)
    prepared = (SimpleNamespace(train=range(33)), report)
    run = SimpleNamespace(config=config, prepare_data=lambda: prepared)
    print_data(run, 1e9, gpus=2)  # type: ignore[arg-type]
    assert capsys.readouterr().out.splitlines() == [
        "            0.005 PFLOPs an epoch",
        "data        101 rows, 100 trained",
        "            5,000 tokens, 2,000 trained on",
        "            6 steps on 2 devices",  # two of 1 x 16 x 2 packs in each of three epochs
    ]
    run.prepare_data = lambda: (SimpleNamespace(train=[]), report)
    print_data(run, 1e9, gpus=2)  # type: ignore[arg-type]
    assert capsys.readouterr().out.startswith(
        "data        cannot be prepared: there is nothing to train on: got 0 packs"
    )


def test_adapters_are_counted_alike_whatever_holds_the_base() -> None:
    setting = Setting(512, 2, 1, 80, False)
    lora, qlora = (
        need(LLAMA3, tuning, base, 10**8, AdamW(), setting).memory
        for tuning, base in ((Lora(), PLAIN), (QLora(), Nf4()))
    )
    assert lora.activations == qlora.activations
    assert qlora.weights < lora.weights / 2.5
