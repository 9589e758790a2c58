"""A run that was interrupted, wherever, and resumed is the quiet run: journals, patience, best, checkpoints kept."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
from types import SimpleNamespace

import pytest
import torch
from engine_standins import TinyRun, tiny_config

from xtune.checkpoints import checkpoint as files
from xtune.checkpoints.checkpoint import find_checkpoint, list_checkpoints
from xtune.errors import CheckpointError
from xtune.training import loop
from xtune.training.train import train_run

LORA = {"name": "lora", "rank": 4, "dropout": 0.2}
SECTIONS = {
    "checkpoint": {"every": 3, "keep": 2, "best": True},
    "evaluation": {"holdout": 0.2, "every": 2, "patience": 2, "prompts": ["w5"], "max_new_tokens": 2},
    "train": {"epochs": 5},
    "schedule": {"warmup_ratio": 0.1},
    "optimizer": {"lr": 0.1},  # so high that the loss rises before the end
}


@pytest.fixture(autouse=True)
def a_clock_that_stands_still(monkeypatch):
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: 0.0))
    monkeypatch.setattr(loop, "memory_gib", lambda: 0.0)


def run(work_dir, resume=None, **sections):
    return train_run(TinyRun(tiny_config(LORA, **(SECTIONS | sections))), work_dir, resume)


def story(work_dir):
    """Every file of a work dir but the report, which tells the folder's name, and the lock."""
    left_out = ("report.html", ".lock")
    found = [path for path in work_dir.rglob("*") if path.is_file() and path.name not in left_out]
    return {str(path.relative_to(work_dir)): path.read_bytes() for path in found}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Where early stopping ends the run depends on the last digits, and those on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def quiet(one_thread, tmp_path_factory):
    folder = tmp_path_factory.mktemp("quiet") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: 0.0))
        patch.setattr(loop, "memory_gib", lambda: 0.0)
        result = run(folder)
    assert result.reason == "early stop" and len(result.metrics) < 20
    return result


@pytest.fixture
def work_dir(quiet, tmp_path):
    return shutil.copytree(quiet.work_dir, tmp_path / "run")


def stop(monkeypatch, owner, name, count, number=signal.SIGTERM):
    """The run gets a signal in the `count`th call of a function, once."""
    real, calls = getattr(owner, name), []

    def struck(*args, **options):
        calls.append(1)
        if len(calls) == count:
            os.kill(os.getpid(), number)
        return real(*args, **options)

    monkeypatch.setattr(owner, name, struck)


@pytest.mark.parametrize("step", [1, 2, 3, 6, 14, 16, 17, 18])
def test_a_signal_in_any_step(step, quiet, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        stop(patch, loop.Loop, "train_step", step)
        first = run(tmp_path)
    assert first.reason == "SIGTERM" and first.checkpoint.name == f"step_{step}"
    assert "SIGTERM: the run stops after this step and writes a checkpoint" in capsys.readouterr().err
    assert step not in [row["step"] for row in first.evaluations]  # there may be no time for it
    assert run(tmp_path, "auto").reason == quiet.reason
    assert story(tmp_path) == story(quiet.work_dir)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_a_signal_while_evaluating(count, quiet, tmp_path, monkeypatch):
    from xtune.training import evaluations

    with monkeypatch.context() as patch:
        stop(patch, evaluations, "answers", count)
        first = run(tmp_path)
    assert first.reason == "SIGTERM" and first.checkpoint.name == f"step_{2 * count - 2}"
    assert len(first.evaluations) == len(first.answers) == count - 1  # broken off, and made up for
    run(tmp_path, "auto")
    assert story(tmp_path) == story(quiet.work_dir)


def test_signals_again_and_again(quiet, tmp_path, monkeypatch):
    """Also one before the evaluation that is made up for: the checkpoint that is there stays."""
    reasons = []
    for place in ("train_step", "_after", "_after", "train_step", "_after"):
        with monkeypatch.context() as patch:
            stop(patch, loop.Loop, place, 2 if place == "train_step" else 1)
            reasons.append(run(tmp_path, "auto").reason)
    assert reasons == ["SIGTERM"] * 5
    run(tmp_path, "auto")
    assert story(tmp_path) == story(quiet.work_dir)


def test_a_run_that_stopped_early_is_not_trained_on(work_dir, quiet):
    """Killed after its last checkpoint and before its report: it would wait for another evaluation."""
    (work_dir / "checkpoints" / "best.json").unlink()
    again = run(work_dir, "auto")
    assert again.reason == "early stop" and len(again.metrics) == len(quiet.metrics)
    assert story(work_dir) == story(quiet.work_dir)


def test_more_patience_is_a_reason_to_go_on(work_dir, quiet):
    again = run(work_dir, "auto", evaluation=SECTIONS["evaluation"] | {"patience": 99})
    assert again.reason == "finished" and len(again.metrics) == 20


def test_a_work_dir_of_its_own(quiet, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop(patch, loop.Loop, "train_step", 6)
        first = run(tmp_path / "first")
    again = run(tmp_path / "second", first.checkpoint)
    assert again.reason == quiet.reason
    ours, wanted = story(tmp_path / "second"), story(quiet.work_dir)
    assert "checkpoints/best.json" in ours
    assert {name: wanted[name] for name in ours} == ours
    best = json.loads(wanted["checkpoints/best.json"])["step"]
    assert find_checkpoint(tmp_path / "second" / "checkpoints" / f"step_{best}")


def test_a_work_dir_that_holds_another_run(work_dir, quiet):
    with pytest.raises(CheckpointError, match="holds a run of its own, up to step_.*go on from its own with --resume"):
        run(work_dir, quiet.checkpoint)


def flip(path, place, bit):
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1 << bit
    path.write_bytes(bytes(content))


def lines_cut(path):
    path.write_bytes(path.read_bytes()[:-40])


JOURNAL_DAMAGE = {
    "cut": lines_cut,
    "emptied": lambda path: path.write_bytes(b""),
    "deleted": lambda path: path.unlink(),
    "a bit": lambda path: flip(path, 30, 0),
    "no UTF-8": lambda path: path.write_bytes(b"\xff\xfe" + path.read_bytes()),
    "other rows": lambda path: path.write_text('[1, 2]\n{"step": "two"}\n'),
    "a link": lambda path: (path.unlink(), path.symlink_to("/etc/hostname")),
}


@pytest.mark.parametrize("journal", ["metrics", "evaluations", "answers"])
@pytest.mark.parametrize("damage", JOURNAL_DAMAGE)
def test_damaged_journals_are_restored(damage, journal, work_dir, quiet, caplog):
    JOURNAL_DAMAGE[damage](work_dir / f"{journal}.jsonl")
    assert run(work_dir, "auto").reason == quiet.reason
    assert f"{journal}.jsonl` was changed since `{quiet.checkpoint.name}`: its rows are taken from there" in caplog.text
    assert story(work_dir) == story(quiet.work_dir)


def test_journals_of_a_checkpoint_are_part_of_it(work_dir, quiet, caplog):
    flip(quiet_journal := work_dir / "checkpoints" / quiet.checkpoint.name / "journals" / "evaluations.jsonl", 30, 0)
    assert quiet_journal.exists()
    run(work_dir, "auto")
    assert "the content of journals/evaluations.jsonl has changed; " in caplog.text
    assert "; the one before it is tried" in caplog.text
    assert story(work_dir) == story(quiet.work_dir)


def test_any_bit_of_a_manifest(work_dir, quiet):
    checkpoint = work_dir / "checkpoints" / quiet.checkpoint.name
    manifest = checkpoint / "manifest.json"
    good, chance = manifest.read_bytes(), random.Random(0)
    for _ in range(200):
        flip(manifest, chance.randrange(len(good)), chance.randrange(8))
        with pytest.raises(CheckpointError, match="^checkpoint .*(manifest.json|another version)"):
            files.read_manifest(checkpoint)
        manifest.write_bytes(good)


@pytest.mark.parametrize(
    "text", ['{"format": 2, "files": {}}', "[]", "{" * 9999, '{"format": 2, "files": 3, "sha256": 4}']
)
def test_a_manifest_that_lacks_something(text, work_dir, quiet):
    (work_dir / "checkpoints" / quiet.checkpoint.name / "manifest.json").write_text(text)
    assert find_checkpoint(work_dir) == list_checkpoints(work_dir)[-2]


def test_a_forged_manifest_is_one_message(work_dir, quiet):
    checkpoint = work_dir / "checkpoints" / quiet.checkpoint.name
    manifest = {"format": 2, "files": {"adapter_model.safetensors": {"bytes": "many"}}}
    (checkpoint / "manifest.json").write_text(json.dumps(manifest | {"sha256": files._digest(manifest)}))
    with pytest.raises(CheckpointError, match="no readable manifest.json: it: `step` is missing"):
        find_checkpoint(checkpoint)


def best_of(work_dir):
    return work_dir / "checkpoints" / f"step_{json.loads((work_dir / 'checkpoints' / 'best.json').read_text())['step']}"


def test_a_best_checkpoint_that_is_gone_is_said(work_dir, quiet, caplog):
    shutil.rmtree(best_of(work_dir))
    run(work_dir, "auto")
    assert "the best checkpoint, of step" in caplog.text and "cannot be kept" in caplog.text
    assert not (work_dir / "checkpoints" / "best.json").exists()  # it would name a folder that is not there


def test_a_best_checkpoint_that_is_damaged_is_said(work_dir, quiet, caplog):
    flip(best_of(work_dir) / "adapter_model.safetensors", -9, 3)
    run(work_dir, "auto")
    assert "the content of adapter_model.safetensors has changed" in caplog.text


def test_what_only_a_signal_asked_for_goes_with_the_next(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop(patch, loop.Loop, "train_step", 5)
        run(tmp_path, evaluation={}, checkpoint={"every": 3, "keep": 2})
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step_3", "step_5"]
    run(tmp_path, "auto", evaluation={}, train={"max_steps": 7}, checkpoint={"every": 3, "keep": 2})
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step_6", "step_7"]


def test_a_checkpoint_that_only_lacked_its_name(work_dir, quiet):
    last = work_dir / "checkpoints" / quiet.checkpoint.name
    last.rename(last.with_name(f".{last.name}.partial"))
    run(work_dir, "auto")
    assert story(work_dir) == story(quiet.work_dir)


def test_converting_one_that_is_deleted_meanwhile_is_one_line(work_dir, quiet, tmp_path, monkeypatch):
    from xtune.export import pth_to_hf as convert

    def slow(*_):
        shutil.rmtree(work_dir / "checkpoints")
        raise FileNotFoundError("it is gone")

    monkeypatch.setattr(convert.shutil, "copyfile", slow)
    with pytest.raises(CheckpointError, match="step_18 was deleted while it was read, by a run that goes on; give the"):
        convert.pth_to_hf(tiny_config(LORA), work_dir, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_that_is_deleted_while_it_is_read(work_dir, quiet, monkeypatch):
    """A run that goes on deletes the one that was being verified, and has written another by then."""
    last, real = work_dir / "checkpoints" / quiet.checkpoint.name, files._sha256
    newer = last.with_name("step_99")

    def slow(file):
        if file.parent == last:
            last.rename(newer)
        return real(file)

    monkeypatch.setattr(files, "_sha256", slow)
    assert find_checkpoint(work_dir).name == "step_99"
