"""OUT of xtune convert never takes the place of what it is made from, --force or not."""

import pytest

from xtune.cli import main


@pytest.mark.parametrize("out", ["run", "run/checkpoints", ".", ".."])
def test_a_checkpoint_is_not_replaced_by_its_adapter(out, tmp_path, monkeypatch, capsys):
    (tmp_path / "here/run/checkpoints/step_1").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    assert main(["convert", "pth_to_hf", "any", "run/checkpoints/step_1", out, "--force"]) == 2
    assert f"OUT would take the place of what is needed: got `{out}`, which holds " in capsys.readouterr().err
    assert (tmp_path / "here/run/checkpoints/step_1").is_dir()


@pytest.mark.parametrize("out", ["base", "base/../base", "adapter", "."])
def test_a_base_and_an_adapter_are_not_replaced_by_their_sum(out, tmp_path, monkeypatch, capsys):
    (tmp_path / "base").mkdir()
    (tmp_path / "adapter").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(["convert", "merge", "base", "adapter", out, "--force"]) == 2
    assert "OUT would take the place of what is needed" in capsys.readouterr().err
