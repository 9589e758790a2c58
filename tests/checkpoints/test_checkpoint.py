"""Checkpoints that are damaged, half written or on a disk that refuses; and what a run may be resumed with."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys

import pytest
from engine_standins import TinyRun, make_samples, tiny_config, weights_of

from xtune.checkpoints import checkpoint as files
from xtune.checkpoints import save
from xtune.checkpoints.checkpoint import find_checkpoint, list_checkpoints, read_manifest
from xtune.errors import CheckpointError, XtuneError
from xtune.training.train import train_run

LORA = {"name": "lora", "rank": 4, "dropout": 0.2}


def run(work_dir, resume=None, samples=None, **sections):
    tiny = TinyRun(tiny_config(sections.pop("tuning", LORA), **sections))
    if samples is not None:
        tiny.samples = samples
    return train_run(tiny, work_dir, resume)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Steps 3, 6 and 8 of a run."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    run(folder, checkpoint={"keep": 9})
    return folder


@pytest.fixture
def work_dir(finished, tmp_path):
    import shutil

    return shutil.copytree(finished, tmp_path / "run")


def names(work_dir):
    return [path.name for path in list_checkpoints(work_dir)]


def test_a_checkpoint_holds_what_it_says(finished):
    checkpoint = find_checkpoint(finished)
    assert checkpoint.name == "step_8" and names(finished) == ["step_3", "step_6", "step_8"]
    manifest = read_manifest(checkpoint)
    assert manifest["step"] == 8 and manifest["weights"] == "adapter"
    on_disk = {path.relative_to(checkpoint).as_posix() for path in checkpoint.rglob("*") if path.is_file()}
    assert on_disk == {*manifest["files"], "manifest.json"}
    assert {"adapter_config.json", "xtune_template.json", "xtune_config.json", "state/trainer.json"} <= on_disk
    about = json.loads((checkpoint / "xtune_run.json").read_text())
    assert about["versions"]["torch"] and about["packs_a_step"] == 4


def damage_bit(checkpoint):
    file = checkpoint / "adapter_model.safetensors"
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(bytes(content))


def damage_length(checkpoint):
    os.truncate(checkpoint / "state" / "rank_0.safetensors", 100)


def damage_missing(checkpoint):
    (checkpoint / "xtune_config.json").unlink()


def damage_manifest(checkpoint):
    (checkpoint / "manifest.json").write_text('{"format": 1, "st')


DAMAGE = {
    damage_bit: "the content of adapter_model.safetensors has changed",
    damage_length: "state/rank_0.safetensors has 100 bytes, not",
    damage_missing: "xtune_config.json is missing",
    damage_manifest: "has no readable manifest.json",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_passed_over(damage, work_dir, caplog):
    damage(work_dir / "checkpoints" / "step_8")
    with pytest.raises(CheckpointError, match=DAMAGE[damage]):
        find_checkpoint(work_dir / "checkpoints" / "step_8")
    assert find_checkpoint(work_dir).name == "step_6"
    assert DAMAGE[damage] in caplog.text and "the one before it is tried" in caplog.text


def test_a_run_goes_on_from_before_the_damage(work_dir, finished, caplog):
    damage_bit(work_dir / "checkpoints" / "step_8")
    result = run(work_dir, resume="auto", checkpoint={"keep": 9})
    assert result.checkpoint.name == "step_8"
    assert weights_of(result.checkpoint).keys() == weights_of(finished / "checkpoints" / "step_8").keys()
    for file in ("adapter_model.safetensors", "state/rank_0.safetensors"):
        assert (result.checkpoint / file).read_bytes() == (finished / "checkpoints" / "step_8" / file).read_bytes()


def test_none_that_is_good(tmp_path):
    with pytest.raises(CheckpointError, match="there is no good checkpoint: got `.*`; give a work dir"):
        find_checkpoint(tmp_path)


def test_leftovers_are_swept_and_the_run_starts_anew(tmp_path, caplog):
    caplog.set_level("INFO", logger="xtune")
    (tmp_path / "checkpoints" / ".step_3.partial").mkdir(parents=True)
    result = run(tmp_path, resume="auto", train={"max_steps": 1})
    assert "nothing to resume" in caplog.text and result.checkpoint.name == "step_1"
    assert not list((tmp_path / "checkpoints").glob(".*"))


def test_keep_and_best(tmp_path):
    result = run(tmp_path, checkpoint={"every": 1, "keep": 2, "best": True}, evaluation={"holdout": 0.2, "every": 1})
    losses = {row["step"]: row["loss"] for row in result.evaluations if row["step"]}
    best = min(losses, key=losses.get)
    assert json.loads((tmp_path / "checkpoints" / "best.json").read_text()) == {"step": best, "loss": losses[best]}
    assert set(names(tmp_path)) == {"step_7", "step_8", f"step_{best}"}


def refuse(number):
    def write(*_, **__):
        raise OSError(number, os.strerror(number))

    return write


def test_a_full_disk_costs_a_checkpoint_and_not_the_run(tmp_path, monkeypatch, caplog):
    real, calls = save.save_file, []

    def second_fails(*args, **options):
        calls.append(1)
        return (refuse(errno.ENOSPC) if len(calls) == 2 else real)(*args, **options)

    monkeypatch.setattr(save, "save_file", second_fails)
    result = run(tmp_path)
    assert result.reason == "finished" and names(tmp_path) == ["step_3", "step_8"]
    assert "the checkpoint of step 6 cannot be written" in caplog.text
    assert "No space left on device; make room or rights there (step_3 kept); training goes on" in caplog.text
    assert not list((tmp_path / "checkpoints").glob(".step*"))


def test_a_file_that_may_not_grow_is_one_line_at_the_end(tmp_path):
    """The system's own limit on a file's size replaces a full disk."""
    run(tmp_path, train={"max_steps": 3})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, before[1]))
    try:
        with pytest.raises(CheckpointError, match=r"step 8 cannot be written .*File too large.*\(step_3 kept\)"):
            run(tmp_path, resume="auto", checkpoint={"every": 99})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert find_checkpoint(tmp_path).name == "step_3"


def test_a_folder_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(
        XtuneError, match=r"work dir .* cannot be written to: Not a directory; choose another --work-dir"
    ):
        run(tmp_path / "file" / "run")


def test_a_work_dir_in_use(tmp_path):
    import fcntl

    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(XtuneError, match="is in use by another run; wait for it"):
            run(tmp_path)


def test_a_work_dir_that_holds_a_run(work_dir):
    with pytest.raises(CheckpointError, match="holds a run already, up to `step_8`; go on from it with --resume"):
        run(work_dir)


CHANGES = [
    ({"optimizer": {"lr": 5e-3}}, "optimizer.lr was 0.01 and is 0.005; set it back"),
    ({"tuning": {"name": "lora", "rank": 8, "dropout": 0.2}}, "tuning.rank was 4 and is 8"),
    ({"train": {"accumulate": 3}}, "a step had 4 packs, now it has 6"),
    ({"seed": 7}, "seed was 0 and is 7"),
    ({"samples": make_samples(31)}, "cannot resume with other data"),
]


@pytest.mark.parametrize(("change", "message"), CHANGES)
def test_changes_that_are_refused(change, message, work_dir):
    with pytest.raises(CheckpointError, match=message):
        run(work_dir, resume="auto", **change)
    assert names(work_dir) == ["step_3", "step_6", "step_8"]


def test_another_split_of_a_step_and_more_epochs_are_sound(work_dir, caplog):
    result = run(work_dir, resume="auto", train={"batch_size": 4, "accumulate": 1, "epochs": 3})
    assert [row["step"] for row in result.metrics] == list(range(1, 13))
    assert "resumed with a change: train.epochs was 2.0 and is 3.0" in caplog.text


def test_going_back_drops_what_came_after(work_dir, finished, caplog):
    result = run(work_dir, resume=work_dir / "checkpoints" / "step_3", checkpoint={"keep": 9})
    assert "step_6 is deleted: the run goes on from step_3" in caplog.text
    last = "checkpoints/step_8/adapter_model.safetensors"
    assert (result.work_dir / last).read_bytes() == (finished / last).read_bytes()


def test_another_model_and_another_kind(work_dir):
    with pytest.raises(CheckpointError, match=r"is of another model: .* is \[32, 4\] there and \[48, 4\] here"):
        tiny = TinyRun(tiny_config(LORA), model_options={"hidden_size": 48, "head_dim": 8})
        train_run(tiny, work_dir, "auto")
    from xtune.checkpoints.load import load_weights

    with pytest.raises(CheckpointError, match="holds an adapter: this run trains a whole model"):
        load_weights(TinyRun(tiny_config()).load_model(), work_dir / "checkpoints" / "step_8")


def test_a_full_checkpoint_loads_in_plain_transformers(tmp_path):
    from transformers import AutoModelForCausalLM

    result = run(tmp_path, tuning={"name": "full"}, train={"max_steps": 1})
    assert read_manifest(result.checkpoint)["weights"] == "full"
    model = AutoModelForCausalLM.from_pretrained(result.checkpoint)
    assert model.config.hidden_size == 32


def test_the_short_form_of_the_kill_test(tmp_path):
    root = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    command = [
        sys.executable,
        os.path.join(root, "tools", "kill_test.py"),
        "--kills",
        "3",
        "--epochs",
        "3",
        "--keep",
        str(tmp_path),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": root}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 kills: weights, optimizer state and losses are equal, bit for bit" in done.stdout


def test_discarding_leaves_nothing_that_looks_like_a_checkpoint(tmp_path):
    checkpoint = tmp_path / "checkpoints" / "step_1"
    checkpoint.mkdir(parents=True)
    files.discard(checkpoint)
    assert list((tmp_path / "checkpoints").iterdir()) == []
