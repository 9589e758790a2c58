"""The command line: exit codes, and errors in one line."""

import builtins

import pytest

from xtune import __main__, cli
from xtune.errors import ConfigError


def run(capsys, *words: str) -> tuple[int, str, str]:
    code = cli.main(words)
    out, err = capsys.readouterr()
    return code, out, err.replace("\nhint: ", "; ")


def test_help_lists_every_command(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    for name in ("train", "chat", "convert", "list-cfg", "copy-cfg", "show-cfg", "list-models", "plugins"):
        assert f"\n  {name} " in out
    assert run(capsys)[1] == out


def test_version(capsys):
    assert run(capsys, "--version") == (0, "xtune 0.1.0\n", "")


def test_a_hint_has_a_line_of_its_own(capsys):
    assert cli.main(["trian"]) == 2
    assert capsys.readouterr().err == "xtune: error: unknown command: got `trian`\nhint: did you mean train?\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "unknown command: got `trian`; did you mean train?"),
        (["qqqqqq"], "unknown command: got `qqqqqq`; none of the "),
        (["show-cfg", "qqqqqq"], "unknown config: got `qqqqqq`; none of the "),
        (["--config", "x"], "a command comes first: got `--config`; xtune --help lists them"),
        (["train"], "the following arguments are required: NAME|FILE; xtune train --help says what it takes"),
        (["train", "x", "--lr", "3"], "unrecognized arguments: --lr 3; xtune train --help says what it takes"),
        (["chat", "x", "--bits", "5"], "argument --bits: invalid choice: 5"),
        (["convert", "merge", "a", "b"], "the following arguments are required: OUT; xtune convert merge --help"),
        (["train", "./absent.py"], "config file does not exist: got `./absent.py`"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_2(capsys, words, message):
    code, out, err = run(capsys, *words)
    assert code == 2 and out == ""
    assert err.startswith(f"xtune: error: {message}") and err.count("\n") == 1 + err.count("\nhint: ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "x", "--model", ""], "argument --model: should not be empty: got ''"),
        (["train", "x", "--data", "a.json", ""], "argument --data: should not be empty"),
        (["train", "x", "--resume", ""], "argument --resume: should not be empty"),
        (["train", "x", "--seed", "-1"], "argument --seed: should be a whole number from 0 to 4,294,967,295: got `-1`"),
        (["plan", "x", "--gpus", "-1"], "argument --gpus: should be a whole number of at least 0: got `-1`"),
        (["plan", "x", "--gpus", "two"], "argument --gpus: should be a whole number of at least 0: got `two`"),
        (["plan", "x", "--gpu-memory", "0"], "argument --gpu-memory: should be a number of at least 0.1: got `0`"),
        (["log-dataset", "x", "--rows", "-1"], "argument --rows: should be a whole number of at least 0: got `-1`"),
        (["chat", "x", "--max-new-tokens", "0"], "argument --max-new-tokens: should be a whole number of at least 1"),
        (["chat", "x", "--temperature", "nan"], "argument --temperature: should be a number from 0.0 to 100.0"),
        (["chat", "x", "--top-p", "5"], "argument --top-p: should be a number from 0.0 to 1.0: got `5`"),
        (["chat", "x", "--prompt", ""], "argument --prompt: should not be empty: got ''"),
        (["convert", "merge", "a", "b", ""], "argument OUT: should not be empty: got ''"),
    ],
)
def test_arguments_out_of_range_are_refused_before_anything_is_loaded(capsys, words, message):
    code, out, err = run(capsys, *words)
    assert code == 2 and out == ""
    assert err.startswith(f"xtune: error: {message}") and err.count("\n") == 1 + err.count("\nhint: ")


def test_what_is_not_the_users_mistake_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(cli, "run", lambda words: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.main([])


def test_a_message_of_several_lines_is_joined(capsys, monkeypatch):
    def fail(words):
        raise ConfigError("one\n  two")

    monkeypatch.setattr(cli, "run", fail)
    assert run(capsys)[2] == "xtune: error: one two\n"


def test_ctrl_c_is_exit_code_130(capsys, monkeypatch):
    def stop(words):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "run", stop)
    assert run(capsys)[0] == 130


def test_ctrl_c_while_the_command_line_is_imported(capsys, monkeypatch):
    def stop(name, *rest):
        if name == "xtune.cli":
            raise KeyboardInterrupt
        return real(name, *rest)

    real = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", stop)
    assert __main__.main() == 130
    assert capsys.readouterr().err == "xtune: stopped\n"
