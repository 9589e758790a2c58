"""Steps: which packs, what stops a run, what noise and checkpointing do."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
import torch
from engine_standins import Packs, TinyRun, make_samples, tiny_config, tiny_llama
from torch import nn

from xtune.checkpoints.journal import Journal
from xtune.data.schedule import Plan, seed_everything
from xtune.errors import DataError, XtuneError
from xtune.evaluation.held_out import evaluations_without_gain
from xtune.training import build, layers, loop
from xtune.training.forward import LogProbModel, noisy_embeddings
from xtune.training.train import train_run

LORA = {"name": "lora", "rank": 4}


def plan(packs=22, **options):
    values = {"batch_size": 2, "accumulate": 2, "epochs": 1.0, "ranks": 2, **options}
    return Plan(Packs(make_samples(packs), 1), **values)


def test_every_pack_once_an_epoch_and_equal_micro_batches_on_each_rank():
    ours = plan(epochs=2)
    assert ours.steps == 6
    for epoch in range(2):
        seen = []
        for step in range(3 * epoch, 3 * epoch + 3):
            by_rank = [ours.micro_batches(step, rank) for rank in range(2)]
            assert len(by_rank[0]) == len(by_rank[1])
            seen += [index for rank in by_rank for micro in rank for index in micro]
        assert sorted(seen) == list(range(22))
    assert ours.step_packs(0).tolist() != ours.step_packs(3).tolist()


def test_the_same_packs_however_a_step_is_split():
    whole = plan(batch_size=8, accumulate=1, ranks=1)
    for split in ({"batch_size": 1, "accumulate": 8, "ranks": 1}, {"batch_size": 2, "accumulate": 1, "ranks": 4}):
        other = plan(**split)
        for step in range(3):
            mine = [i for rank in range(other.ranks) for micro in other.micro_batches(step, rank) for i in micro]
            assert sorted(mine) == sorted(whole.micro_batches(step, 0)[0])


def test_part_of_an_epoch_and_a_number_of_steps():
    assert plan(epochs=0.4).steps == 2
    assert plan(epochs=1.5).steps == 5
    assert plan(max_steps=7).steps == 7
    with pytest.raises(DataError, match="nothing to train on: got 0 packs"):
        plan(packs=0)


def test_seeds_fix_all_generators():
    def draw(*parts):
        seed_everything(*parts)
        return torch.rand(3).tolist(), np.random.rand(3).tolist()

    assert draw(0, 5, 1) == draw(0, 5, 1) != draw(0, 6, 1)


def test_steps_are_asked_for_one_by_one_with_the_newest_weights(tmp_path):
    """As a source that generates its batches needs it: nothing is taken before the step before is done."""
    tiny = TinyRun(tiny_config({"name": "full"}))
    packs = tiny.prepare_data([]).dataset.train
    model = build.build_model(tiny, None)
    plan = build.build_plan(tiny.config, packs)
    parallel = build.build_parallel(tiny, model, plan)
    collate = build.build_collate(model, tiny.tokenizer)
    seen = []

    class Rollouts:
        def __len__(self):
            return 3

        def start(self, step):
            for number in range(step, len(self)):
                seen.append(model.lm_head.weight.detach().clone())
                yield [collate([packs[number]]), collate([packs[number + 1]])]

    metrics = Journal(tmp_path / "metrics.jsonl")
    ours = loop.Loop(parallel, Rollouts(), tiny.objective, lambda step: 1.0, 0, metrics, str)
    assert ours.run(start=1) == "finished"
    assert [row["step"] for row in metrics.rows] == [2, 3]
    assert len(seen) == 2 and not torch.equal(*seen)


def test_a_loss_that_is_not_finite_stops_with_the_step_and_the_samples(tmp_path, monkeypatch):
    forward, calls = LogProbModel.forward, []

    def third_is_nan(self, inputs, labels):
        calls.extend([1] * self.training)
        return forward(self, inputs, labels) * (float("nan") if len(calls) == 6 else 1.0)

    monkeypatch.setattr(LogProbModel, "forward", third_is_nan)
    with pytest.raises(XtuneError) as error:
        train_run(TinyRun(tiny_config(LORA)), tmp_path)
    message = str(error.value)
    assert message.startswith(
        "the loss of step 3 is nan: nothing of it is saved, the newest checkpoint is older; look at its samples"
    )
    assert "trained on)" in message and "w" in message.partition("They are:")[2]


def test_a_gradient_that_is_not_finite_stops_and_leaves_the_weights(tmp_path, monkeypatch):
    from xtune.distributed.parallel import Parallel

    monkeypatch.setattr(Parallel, "gradient_norm", lambda self: float("inf"))
    with pytest.raises(XtuneError, match="the gradient norm of step 1 is inf: nothing of it is saved"):
        train_run(TinyRun(tiny_config(LORA)), tmp_path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_ends_the_run(number, tmp_path, monkeypatch):
    train_step = loop.Loop.train_step

    def interrupted(self, step, batches):
        if step == 4:
            os.kill(os.getpid(), number)
        return train_step(self, step, batches)

    monkeypatch.setattr(loop.Loop, "train_step", interrupted)
    before = signal.getsignal(number)
    result = train_run(TinyRun(tiny_config(LORA)), tmp_path)
    assert result.reason == number.name and result.checkpoint.name == "step_5"
    assert signal.getsignal(number) is before
    monkeypatch.undo()
    whole = train_run(TinyRun(tiny_config(LORA)), tmp_path / "whole")
    again = train_run(TinyRun(tiny_config(LORA)), tmp_path, "auto")
    assert [row["loss"] for row in again.metrics] == [row["loss"] for row in whole.metrics]


def test_early_stopping(tmp_path):
    config = tiny_config(
        LORA,
        evaluation={"holdout": 0.2, "every": 1, "patience": 2},
        train={"epochs": 20},
        optimizer={"lr": 0.3},  # so high that the loss rises
    )
    result = train_run(TinyRun(config), tmp_path)
    assert result.reason == "early stop" and len(result.metrics) < 80
    losses = [row["loss"] for row in result.evaluations]
    assert losses.index(min(losses)) == len(losses) - 3
    assert result.checkpoint.name == f"step_{len(result.metrics)}"


def test_evaluations_without_gain():
    assert [evaluations_without_gain(losses) for losses in ([], [3.0], [3.0, 2.0, 2.5, 2.1])] == [0, 0, 2]


def test_noise_has_the_magnitude_of_neftune_for_each_sample():
    positions = torch.tensor([[0, 1, 2, 3, 0, 1, 0, 0]])
    noisy = noisy_embeddings(torch.zeros(1, 8, 4096), positions, alpha=5.0)
    for place, length in ((0, 4), (3, 4), (4, 2), (5, 2), (6, 1), (7, 1)):
        reach = 5.0 / (length * 4096) ** 0.5
        assert noisy[0, place].abs().max() <= reach
        assert noisy[0, place].std().item() == pytest.approx(reach / 3**0.5, rel=0.05)  # of a uniform distribution


def test_noise_is_for_training_only():
    module = LogProbModel(tiny_llama(), neftune_alpha=5.0)
    ids = torch.randint(5, 50, (1, 12))
    inputs = {"input_ids": ids, "position_ids": torch.arange(12)[None], "use_cache": False}
    quiet = module.eval()(inputs, ids)
    assert torch.equal(module(inputs, ids), quiet)
    assert not torch.equal(module.train()(inputs, ids), quiet)


def test_checkpointing_auto_looks_at_memory(monkeypatch):
    model = tiny_llama()
    needed = layers.activation_bytes(model, 1000)
    coming = 12 * sum(parameter.numel() for parameter in model.parameters())
    monkeypatch.setattr(layers, "free_memory", lambda device: coming + needed * 2 + 1)
    assert layers.use_checkpointing(model, "auto", tokens=1000, device=torch.device("cpu")) is False
    monkeypatch.setattr(layers, "free_memory", lambda device: coming + needed * 2 - 1)
    assert layers.use_checkpointing(model, "auto", tokens=1000, device=torch.device("cpu")) is True
    assert model.is_gradient_checkpointing


def test_a_missing_compiler_is_said_and_nothing_fails(monkeypatch, caplog):
    def broken(*_, **__):
        raise RuntimeError("No working C++ compiler found\nmore")

    monkeypatch.setattr(torch, "compile", broken)
    assert layers.compile_layers(tiny_llama(), True, micro_batches=1, device=torch.device("cpu")) is False
    assert "layers are not compiled: no working compiler here (No working C++ compiler found)" in caplog.text


def test_bfloat16_trains_float32_weights(tmp_path):
    result = train_run(TinyRun(tiny_config(LORA, model={"dtype": "bfloat16"})), tmp_path)
    from engine_standins import weights_of

    assert {weight.dtype for weight in weights_of(result.checkpoint).values()} == {torch.float32}
    assert result.metrics[-1]["loss"] < result.metrics[0]["loss"]


def test_a_journal_goes_back_to_what_a_checkpoint_held(tmp_path):
    path = tmp_path / "metrics.jsonl"
    journal = Journal(path)
    assert not path.exists()  # a run that evaluates nothing has no file for it
    for step in (1, 2, 3, 4):
        journal.append({"step": step})
    journal.close()
    with path.open("a") as file:
        file.write('{"step": 5, "lo')
    kept = b'{"step": 1}\n{"step": 2}\n'
    assert [row["step"] for row in Journal(path, kept, write=False).rows] == [1, 2]
    again = Journal(path, kept)
    again.append({"step": 3})
    again.close()
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n{"step": 3}\n'


def test_layers_are_found_by_the_number_in_the_config():
    model = tiny_llama()
    assert layers.decoder_layers(model) == list(model.model.layers)
    assert isinstance(model.model.layers, nn.ModuleList)
