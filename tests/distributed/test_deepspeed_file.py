"""DeepSpeed's files: what the training config decides, and what is said where the two differ."""

from __future__ import annotations

import json

import pytest

from xtune.distributed import DISTRIBUTED, ZERO, Single
from xtune.distributed.deepspeed import DeepSpeed
from xtune.distributed.deepspeed_file import read_settings, reconcile
from xtune.distributed.parallel import StepSettings
from xtune.errors import ConfigError

STEP = StepSettings(batch_size=4, accumulate=8, max_grad_norm=1.0)


@pytest.mark.parametrize("name", ZERO)
def test_the_files_that_come_with_xtune_agree_with_any_config(name):
    settings, differences = reconcile(DISTRIBUTED[name]().settings(), STEP)
    assert differences == []
    assert settings["gradient_accumulation_steps"] == 8 and settings["train_micro_batch_size_per_gpu"] == 4
    assert settings["train_batch_size"] == 32 and settings["gradient_clipping"] == 1.0
    assert settings["zero_optimization"]["stage"] == int(name.removeprefix("deepspeed_zero")[0])


def test_differences_are_named_and_the_config_wins():
    file = {
        "gradient_clipping": 0.5,
        "gradient_accumulation_steps": 8,
        "train_batch_size": 64,
        "bf16": {"enabled": True},
        "fp16": {"enabled": "auto"},
        "optimizer": {"type": "Adam"},
        "zero_optimization": {"stage": 2, "overlap_comm": True},
    }
    settings, differences = reconcile(file, STEP)
    assert differences == [
        "train_batch_size is 64; the config's 32 is used",
        "gradient_clipping is 0.5; the config's 1.0 is used",
        "bf16 is not used; model.dtype decides",
        "optimizer is not used; the config's is",
    ]
    assert not {"optimizer", "fp16", "bf16"} & settings.keys()
    assert settings["zero_optimization"] == {"stage": 2, "overlap_comm": True}
    assert file["gradient_clipping"] == 0.5


def test_files_that_cannot_be_used(tmp_path):
    with pytest.raises(ConfigError, match="DeepSpeed file `.*gone.json` cannot be read: No such file"):
        read_settings(tmp_path / "gone.json")
    file = tmp_path / "bad.json"
    file.write_text("{")
    with pytest.raises(ConfigError, match="DeepSpeed file `.*bad.json` is broken JSON"):
        read_settings(file)
    file.write_text(json.dumps({"zero_optimization": {"stage": 4}}))
    with pytest.raises(ConfigError, match="has no zero_optimization.stage of 1, 2 or 3"):
        read_settings(file)
    with pytest.raises(ConfigError, match="distributed.file is missing"):
        DeepSpeed().settings()
    file.write_text(json.dumps({"zero_optimization": {"stage": 3}}))
    assert DeepSpeed(file=str(file)).settings() == {"zero_optimization": {"stage": 3}}


def test_one_process_cannot_be_several(monkeypatch):
    from xtune.dist import ranks

    monkeypatch.setattr(ranks, "world_size", lambda: 2)
    with pytest.raises(ConfigError, match="distributed=single runs one process: got `2`; choose ddp, fsdp"):
        Single().start(None, None, STEP)
