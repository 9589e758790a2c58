"""What the listing commands print, and that they answer at once."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from hints import joined

from xtune import list_configs, load_config
from xtune.cli import main
from xtune.commands import COMMANDS, components
from xtune.commands.list_components import KINDS
from xtune.commands.list_models import size, tokens
from xtune.commands.table import matches
from xtune.plugins.checks import KINDS as ALL_KINDS


def lines(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert main(words) == 0
    return capsys.readouterr().out.splitlines()


def complaint(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 2
    return joined(err).removeprefix("xtune: error: ").rstrip("\n")


def test_list_cfg(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list-cfg"]) == 0
    out, more = capsys.readouterr()
    browsed = out.splitlines()
    assert browsed == sorted(browsed)
    assert {"internlm_7b_qlora_oasst1_e3", "deepspeed_zero3_offload"} <= set(browsed)
    everything = lines(capsys, "list-cfg", "-p", "*")
    assert everything == sorted({*list_configs(), *(name for name in browsed if name.startswith("deepspeed"))})
    assert more.startswith(
        f"{len(everything) - len(browsed):,} more are found by -p, --model, --tuning and --dataset; "
    )
    assert "any MODEL_TUNING_DATASET_eN composes" in more and load_config(more.split()[-1]).train.epochs == 2
    found = lines(capsys, "list-cfg", "-p", "qlora_oasst1")
    assert found and all("qlora_oasst1" in name for name in found)
    assert lines(capsys, "list-cfg", "-p", "internlm_7b_*_hf") == ["internlm_7b_qlora_oasst1_e3_hf"]
    found = lines(capsys, "list-cfg", "--model", "internlm_7b", "--tuning", "full", "--dataset", "alpaca*")
    assert found == [f"internlm_7b_full_alpaca{rest}_e3" for rest in ("", "_enzh", "_enzh_oasst1", "_zh")]


def test_list_cfg_finds_what_is_only_composed(capsys: pytest.CaptureFixture[str]) -> None:
    assert lines(capsys, "list-cfg", "--model", "vicuna_7b", "--tuning", "lora", "--dataset", "sql") == [
        "vicuna_7b_lora_sql_e3"
    ]
    assert lines(capsys, "list-cfg", "--tuning", "lora", "-p", "vicuna_7b*_sql_*") == ["vicuna_7b_lora_sql_e3"]
    assert lines(capsys, "list-cfg", "-p", "vicuna_7b_lora_sql_e9") == ["vicuna_7b_lora_sql_e9"]
    assert not any("custom" in name for name in lines(capsys, "list-cfg", "--model", "vicuna_7b"))


def test_list_cfg_groups(capsys: pytest.CaptureFixture[str]) -> None:
    grouped = lines(capsys, "list-cfg", "-p", "internlm_7b", "--dataset", "oasst1", "--group", "tuning")
    assert grouped == [
        "full (1)",
        "  internlm_7b_full_oasst1_e3",
        "int8_lora (1)",
        "  internlm_7b_int8_lora_oasst1_e3",
        "lora (1)",
        "  internlm_7b_lora_oasst1_e3",
        "qlora (2)",
        "  internlm_7b_qlora_oasst1_e3",
        "  internlm_7b_qlora_oasst1_e3_hf",
    ]
    words = ["--model", "yi_6b", "--tuning", "qlora", "--dataset", "alpaca_enzh"]
    assert lines(capsys, "list-cfg", *words, "--group")[0] == "yi_6b (1)"


def test_nothing_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert complaint(capsys, "list-cfg", "-p", "xyz", "--tuning", "full") == (
        "no config matches: got xyz, full; see xtune list-cfg, xtune list-models"
    )
    assert complaint(capsys, "list-models", "-p", "xyz") == "no model matches: got `xyz`; xtune list-models lists all"
    assert complaint(capsys, "list-templates", "-p", "xyz") == (
        "no template matches: got `xyz`; xtune list-templates lists all"
    )
    assert (
        complaint(capsys, "list-mappers", "-p", "xyz") == "no mapper matches: got `xyz`; xtune list-mappers lists all"
    )


def test_list_models(capsys: pytest.CaptureFixture[str]) -> None:
    head, row = lines(capsys, "list-models", "-p", "internlm_chat_7b")
    assert head.split() == ["NAME", "SIZE", "CONTEXT", "TEMPLATE", "FAMILY", "LICENCE", "PATH"]
    for word in ("internlm_chat_7b", "7.32B", "2K", "internlm_chat", "Apache-2.0", "internlm/internlm-chat-7b"):
        assert f" {word} " in f" {row} ".replace(";", " ")
    assert len(lines(capsys, "list-models", "--family", "llama2")) > 3


def test_sizes_are_short() -> None:
    assert [size(n) for n in (134_515_008, 1_711_376_384, 70_553_706_496, 235_741_434_880)] == [
        "135M",
        "1.71B",
        "70.6B",
        "236B",
    ]
    assert [tokens(n) for n in (2048, 131072, 200_000)] == ["2K", "128K", "200k"]


def test_list_templates_marks_what_is_trained(capsys: pytest.CaptureFixture[str]) -> None:
    shown = "\n".join(lines(capsys, "list-templates", "-p", "internlm2_chat"))
    assert "<|im_start|>assistant\n    [[Hi!<|im_end|>]]" in shown


def test_list_mappers_shows_a_row_and_a_conversation(capsys: pytest.CaptureFixture[str]) -> None:
    shown = "\n".join(lines(capsys, "list-mappers", "-p", "medical"))
    assert "question='Question'" in shown
    assert "Turn(role='user', text='Can aspirin upset the stomach?'" in shown


def test_list_strategies_shows_options(capsys: pytest.CaptureFixture[str]) -> None:
    shown = "\n".join(lines(capsys, "list-strategies"))
    assert "qlora (tuning): " in shown
    assert "rank = 64" in shown


@pytest.mark.parametrize(
    ("name", "pattern", "found"),
    [
        ("internlm_7b_qlora_alpaca_e3", "qlora_alpaca", True),
        ("internlm_7b_qlora_alpaca_e3", "*_alpaca_e?", True),
        ("internlm_7b_qlora_alpaca_e3", "alpaca_*", False),
        ("internlm_7b_qlora_alpaca_e3", "QLORA", False),
    ],
)
def test_a_pattern_is_a_part_or_a_glob(name: str, pattern: str, found: bool) -> None:
    assert matches(name, pattern) is found


def test_each_command_has_its_module() -> None:
    """The table has the lines of help, so that xtune --help imports no command."""
    commands = components([]).commands
    assert list(commands) == list(COMMANDS)
    for name, command in commands.items():
        assert getattr(command.module, "HELP", command.HELP) == command.HELP, name


HEAVY = ("torch", "transformers", "pydantic", "rich", "mmengine", "datasets", "numpy")


@pytest.mark.parametrize("words", [["--help"], ["list-cfg"], *([name, "--help"] for name in COMMANDS)], ids=" ".join)
def test_help_and_list_cfg_import_nothing_heavy(words: list[str]) -> None:
    program = (
        "import sys; from xtune.cli import main\n"
        f"try: code = main({words!r})\n"
        "except SystemExit as stop: code = stop.code\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
        "sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    said = len(done.stderr.splitlines()) - 1
    assert (done.returncode, done.stderr.splitlines()[-1], said) == (0, "[]", words == ["list-cfg"])


def test_list_cfg_answers_at_once() -> None:
    """Measured in processor time, which other work on the machine does not lengthen much."""
    program = "import os, time; start = time.process_time(); from xtune.cli import main; main(['list-cfg'])"
    program += "; os.write(2, f'\\n{time.process_time() - start}'.encode())"
    spent = []
    for _ in range(5):
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        spent.append(float(done.stderr.splitlines()[-1]))
        time.sleep(0.01)
    assert min(spent) < 0.15


def test_list_components_shows_every_kind_that_has_no_list_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    shown = lines(capsys, "list-components")
    found = components([])
    for kind in KINDS:
        registry = getattr(found, kind)
        assert all(any(line.startswith(f"{name} ({registry.kind}): ") for line in shown) for name in registry)
    own = {"models", "templates", "mappers", "strategies", "objectives", "configs", "commands"}
    assert own | set(KINDS) == set(ALL_KINDS)
    options = lines(capsys, "list-components", "callbacks")
    assert "    backend = 'TensorboardVisBackend'  class of mmengine.visualization" in options
    assert set(options) < set(shown)
