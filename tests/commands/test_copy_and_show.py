"""copy-cfg writes a file that loads the same and says what to change; show-cfg prints a config as it takes effect."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from xtune import load_config
from xtune.cli import main
from xtune.commands.copy_cfg import COMMENTS
from xtune.config.schema import Config

NAME = "smollm2_135m_instruct_qlora_self_identity_demo"


def test_a_copy_is_commented_and_loads_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["copy-cfg", NAME, str(tmp_path / "mine")]) == 0
    copy = tmp_path / "mine" / f"{NAME}.py"
    assert capsys.readouterr().out == f"{copy}\n"
    assert load_config(copy) == load_config(NAME)
    lines = copy.read_text(encoding="utf-8").splitlines()
    for key in load_config(NAME).model_fields_set:
        above = next(i for i, line in enumerate(lines) if line.startswith(f"{key} = ")) - 1
        assert lines[above].startswith("# "), key
    assert max(len(line) for line in lines if line.startswith("#")) <= 120


def test_each_comment_is_of_a_key() -> None:
    assert set(COMMENTS) <= set(Config.model_fields)


def test_a_file_that_is_there_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / f"{NAME}.py"
    copy.write_text("mine")
    assert main(["copy-cfg", NAME, str(tmp_path)]) == 2
    assert (
        capsys.readouterr().err
        == f"xtune: error: {copy} exists\nhint: give another folder, or --force to overwrite it\n"
    )
    assert copy.read_text() == "mine"
    assert main(["copy-cfg", NAME, str(tmp_path), "--force"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == [f"{NAME}.py"]


def test_a_folder_that_cannot_be_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["copy-cfg", NAME, str(tmp_path / "file" / "folder")]) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"xtune: error: {tmp_path}/file/folder/{NAME}.py cannot be written: ")
    assert message.endswith("\nhint: give another folder\n")


def test_a_copy_of_an_inheriting_file_stands_alone(tmp_path: Path) -> None:
    base = tmp_path / "base.py"
    assert main(["copy-cfg", NAME, str(tmp_path)]) == 0
    (tmp_path / f"{NAME}.py").rename(base)
    child = tmp_path / "child.py"
    child.write_text("_base_ = ['./base.py']\noptimizer = dict(lr=1e-5)\n")
    assert main(["copy-cfg", str(child), str(tmp_path / "out")]) == 0
    base.unlink()
    copied = load_config(tmp_path / "out" / "child.py")
    assert copied.optimizer.lr == 1e-5
    assert copied.tuning == load_config(NAME).tuning


def test_a_deepspeed_file_is_copied_as_it_is(tmp_path: Path) -> None:
    assert main(["copy-cfg", "deepspeed_zero2", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "deepspeed_zero2.json").read_text())["zero_optimization"]["stage"] == 2


def test_show_cfg_prints_a_config_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["optimizer.lr=1e-4", "data.0.options.name=Ada, the model"]
    assert main(["show-cfg", NAME, "--cfg-options", *options]) == 0
    shown = tmp_path / "shown.py"
    shown.write_text(capsys.readouterr().out, encoding="utf-8")
    config = load_config(shown)
    assert config == load_config(NAME, options)
    assert config.optimizer.lr == 1e-4
    assert config.data[0].options["name"] == "Ada, the model"
    assert "too_long" in shown.read_text()


def test_an_unknown_name_is_told_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["copy-cfg", "internlm_7b_qlora_oasst1", "."]) == 2
    message = capsys.readouterr().err
    assert message.startswith("xtune: error: unknown config: got `internlm_7b_qlora_oasst1`\nhint: did you mean ")
    assert "internlm_7b_qlora_oasst1_e3" in message


def test_any_name_of_known_parts_is_copied_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("internlm_7b_lora_sql_e4", "yi_6b_full_custom_sft_e1"):
        assert main(["copy-cfg", name, str(tmp_path)]) == 0
        assert load_config(tmp_path / f"{name}.py") == load_config(name)
        capsys.readouterr()
        assert main(["show-cfg", name]) == 0
        (tmp_path / "shown.py").write_text(capsys.readouterr().out, encoding="utf-8")
        assert load_config(tmp_path / "shown.py") == load_config(name)
