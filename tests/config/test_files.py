"""Config files and what they inherit. mmengine, which runs them, says independently what they mean."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config as ByMmengine

import xtune
from xtune.config.files import MAX_FILES, Reader
from xtune.errors import ConfigError, UnknownName
from xtune.registry import ConfigRegistry

WHOLE = """
model = dict(name="smollm2_135m_instruct", path="somewhere/else")
template = "chatml"
tuning = dict(name="qlora", rank=8)
data = [dict(path="rows.json", mapper="alpaca")]
optimizer = dict(lr=2e-4)
"""


def write(folder: Path, files: dict[str, str]) -> Path:
    """Writes files, and returns the first."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder / next(iter(files))


def read(path: Path) -> dict[str, Any]:
    return Reader(ConfigRegistry(), trusted=False).read(path)


@pytest.mark.parametrize(
    "files",
    [
        {"a.py": "_base_ = 'b.py'\nx = dict(lr=1, new=2)\n", "b.py": "x = dict(lr=0, old=[1])\ny = 3\n"},
        {"a.py": "_base_ = ['b.py', 'sub/c.py']\nx = dict(k=dict(m=1))\n", "b.py": "x = dict(k=dict(m=0, n=2))",
         "sub/c.py": "_base_ = '../d.py'\nz = [1, 2]\n", "d.py": "z = [0]\nw = (1, 2)\n"},
        {"a.py": "_base_ = 'b.py'\nx = dict(_delete_=True, new=2)\n", "b.py": "x = dict(lr=0, old=[1])\n"},
        {"a.py": "_base_ = 'b.py'\nx = dict(_delete_=False, new=2)\n", "b.py": "x = dict(lr=0, old=[1])\n"},
        {"a.py": "_base_ = 'b.py'\nx = dict(k=dict(_delete_=True, n=1))\n", "b.py": "x = dict(k=dict(m=1), l=2)\n"},
        {"a.py": "_base_ = 'b.py'\nx = [dict(n=1)]\ny = None\nz = 5", "b.py": "x = [1]\ny = dict(a=1)\nz = ()"},
        {"a.py": "_base_ = 'b.py'\ny = _base_.x.lr * 2\nz = _base_.w\n", "b.py": "x = dict(lr=0.5)\nw = dict(v=1)\n"},
        {"a.py": "x = 1\n_base_ = ['b.py']\n", "b.py": "x = 2\ny = 3\n"},
        {"a.py": "_base_ = 'b.yaml'\nx = dict(lr=1)\n", "b.yaml": "x: {lr: 0.5, names: [a, b]}\ny: &k {v: 1}\nz: *k\n"},
        {"a.json": '{"_base_": ["b.json"], "x": {"lr": 1}}', "b.json": '{"x": {"lr": 0, "m": null}, "y": "é"}'},
        {"a.yml": "_base_: ./b.py\nx:\n  lr: 1\n", "b.py": "x = dict(lr=2, k=(1, 2))\n"},
        {"a.py": "_base_ = []\nx = 1\n"},
    ],
    ids=lambda files: "-".join(files),
)  # fmt: skip
def test_inheritance_is_that_of_mmengine(tmp_path, files):
    path = write(tmp_path, files)
    assert read(path) == ByMmengine.fromfile(path).to_dict()


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"a.py": "_base_ = 'b.py'\nx = dict(k=1)\n", "b.py": "x = 3\n"}, "`x` is a section here, and 3 in `_base_`"),
        ({"a.py": "_base_ = ['b.py', 'c.py']\n", "b.py": "x = 3\n", "c.py": "x = 4\n"}, "`_base_` set `x`"),
        ({"a.py": "_base_ = 'b.py'\n", "b.py": "_base_ = 'a.py'\n"}, "a.py inherits from itself"),
        ({"a.py": "_base_ = './a.py'\n"}, "a.py inherits from itself"),
        ({f"{n}.py": f"_base_ = ['{n+1}.py', '{n+1}.py']" for n in range(40)} | {"40.py": ""}, f"{MAX_FILES} files"),
        ({"a.py": "_base_ = 'absent.py'\n"}, "absent.py cannot be read: No such file or directory"),
        ({"a.py": "_base_ = 3\n"}, "`_base_` should be a path, a name or a list of them: got `3`"),
        ({"a.py": "_base_ = 'mmdet::x.py'\n"}, "x.py cannot be read: No such file or directory"),
        ({"a.py": f"_base_ = '{'x' * 300}.py'\n"}, "cannot be read: File name too long"),
        ({"a.py": "_base_ = '/dev/zero.py'\n"}, "cannot be read: "),
        ({"a.yaml": "- 1\n- 2\n"}, "it should have keys and values, but it is of type list"),
        ({"a.yaml": ""}, "it should have keys and values, but it is of type NoneType"),
        ({"a.yaml": "x: [1\n"}, "cannot be read: ParserError: while parsing a flow sequence"),
        ({"a.yaml": "x: 2020-01-01\n"}, "`x` should be a plain value, but it is of type date"),
        ({"a.yaml": "1: 2\n"}, "should be text: got 1"),
        ({"a.yaml": "x: .inf\n"}, "`x` should be a plain value, but it is not finite"),
        ({"a.yaml": "x: " + "[" * 2000}, "cannot be read: "),
        ({"a.yaml": "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
            f"{n}: &{n} [{','.join([f'*{o}'] * 10)}]\n" for o, n in zip("abcdefghijklm", "bcdefghijklmn", strict=True)
        )}, "more than 100,000 values"),
        ({"a.yaml": "a: &a [*a]\n"}, "`a.0"),
        ({"a.json": '{"x": 1, "x": 2}'}, "the key `x` stands twice"),
        ({"a.json": "{"}, "is broken JSON"),
        ({"a.json": "[" * 10_000}, "nested"),
        ({"a.py": "x = 1\n" * 200_000}, "has more than 1,048,576 characters"),
        ({"a.py": "custom_imports = dict(imports=['os'])\n"}, "has `custom_imports`, which is never imported"),
        ({"a.py": "_base_ = 'b.yaml'\n", "b.yaml": "custom_imports: {imports: [os]}\n"}, "b.yaml has `custom_imports`"),
        ({"a.py": "\n\nx = '{{$HOME:no}}'\n"}, r"a.py, line 3: `{{$HOME:no}}` is not filled in by xtune"),
        ({"a.py": "x = {{'$HOME:3'}}\n"}, "line 1: `{{'$HOME:3'}}` is not filled in"),
        ({"a.json": '{"x": "{{ fileBasename }}"}'}, "line 1: `{{ fileBasename }}` is not filled in"),
        ({"a.yaml": "x: '{{ fileDirname }}/y'"}, "line 1: `{{ fileDirname }}` is not filled in"),
        ({"a.py": "_base_ = 'b.py'\nx = {{_base_.y}}\n", "b.py": "y = 1\n"}, "line 2: `{{_base_.y}}` is not filled in"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)  # fmt: skip
def test_what_cannot_be_inherited_or_read_is_one_line(tmp_path, files, told):
    begin = time.perf_counter()
    with pytest.raises(ConfigError) as caught:
        read(write(tmp_path, files))
    line = str(caught.value)
    assert told in line and "\n" not in line and line.startswith("config ")
    assert time.perf_counter() - begin < 5


RUNS_CODE = {
    "python_object": ("a.yaml", "x: !!python/object/apply:os.system ['touch {flag}']\n"),
    "python_name": ("a.yaml", "x: !!python/name:os.system\n"),
    "python_new": ("a.yml", "x: !!python/object/new:os.system ['touch {flag}']\n"),
    "system": ("a.py", "import os\nos.system('touch {flag}')\n"),
    "open": ("a.py", "x = open('{flag}', 'w')\n"),
    "base": ("a.py", "_base_ = __import__('os').system('touch {flag}')\n"),
    "in_base": ("a.py", "_base_ = 'code.py'\n"),
    "yaml_base": ("a.py", "_base_ = ['code.yaml']\n"),
    "json_base": ("a.json", '{{"_base_": "code.py"}}'),
    "read_base": ("a.py", "from mmengine.config import read_base\nwith read_base():\n    from .code import *\n"),
    "coding": ("a.py", "# -*- coding: utf-7 -*-\n+AGkAbQBwAG8AcgB0- os\n"),
}


@pytest.mark.parametrize("kind", RUNS_CODE)
@pytest.mark.parametrize("command", ["show-cfg", "copy-cfg", "check", "train"])
def test_no_command_runs_a_file_of_a_stranger(tmp_path, capsys, kind, command):
    from xtune.cli import main

    flag = tmp_path / "ran"
    name, text = RUNS_CODE[kind]
    path = write(tmp_path, {name: text.format(flag=flag)})
    write(tmp_path, {"code.py": f"open('{flag}', 'w')\n", "code.yaml": RUNS_CODE["python_object"][1].format(flag=flag)})
    assert main([command, str(path), *([str(tmp_path / "out")] if command == "copy-cfg" else [])]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 + err.count("\nhint: ") and err.startswith("xtune: error: config ")
    assert not flag.exists()


def test_code_is_refused_with_what_to_do_and_run_where_it_is_trusted(tmp_path, capfd):
    text = (
        f"from os.path import join\nimport sys\n{WHOLE}\ndef seven():\n    return 7\n\nseed = seven()\nprint('hello')\n"
    )
    path = write(tmp_path, {"mine.py": text})
    with pytest.raises(ConfigError, match=r"mine\.py, line 1: `from os.path import join` is code.*with --trust-config"):
        xtune.load_config(path)
    config = xtune.load_config(path, trust_config=True)
    assert config.seed == 7 and config.model_copy(update={"seed": 0}) == xtune.load_config(
        write(tmp_path, {"b.py": WHOLE})
    )
    assert capfd.readouterr() == ("", "hello\n"), "what it prints is not what we print"


def test_a_trusted_file_inherits_as_mmengine_says(tmp_path):
    files = {
        "a.py": "_base_ = 'b.py'\nx = dict(lr=max(1, 2))\ny = _base_.x.old\n",
        "b.py": "x = dict(lr=0, old=[len('ab')], k=(1, 2))\n",
        "lazy.py": "from mmengine.config import read_base\nwith read_base():\n    from .b import *\nx.update(lr=5)\n",
    }
    path = write(tmp_path, files)
    for name in ("a.py", "lazy.py"):
        expected = ByMmengine.fromfile(path.with_name(name)).to_dict()
        assert Reader(ConfigRegistry(), trusted=True).read(path.with_name(name)) == expected


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import os\nos._exit(0)", r"it ends the interpreter \(exit code 0\)"),
        ("import os\nos.kill(os.getpid(), 9)", r"it ends the interpreter \(exit code -9\)"),
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("exit()", "SystemExit"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise KeyboardInterrupt", "it ends the interpreter"),
        ("def f():\n    f()\nf()", "maximum recursion depth exceeded"),
        ("x = open", "`x` should be a plain value, but it is of type builtin_function_or_method"),
        ("x = [i for i in range(10 ** 6)]", "more than 100,000 values"),
        ("raise ValueError('\\x1b]0;title\\x07\\n' * 10 ** 6)", r"\\x1b\]0;title\\x07"),
        ("_base_ = str(3)", "malformed node"),
    ],
)
def test_a_trusted_file_that_fails_is_one_line(tmp_path, code, told):
    path = write(tmp_path, {"mine.py": f"{WHOLE}\n{code}\n"})
    with pytest.raises(ConfigError, match=told) as caught:
        xtune.load_config(path, trust_config=True)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 1000


def test_yaml_and_json_are_never_run_even_where_trusted(tmp_path):
    flag = tmp_path / "ran"
    text = RUNS_CODE["python_object"][1].format(flag=flag)
    path = write(tmp_path, {"a.py": "import os\n_base_ = 'b.yaml'\n", "b.yaml": text})
    for file in (path, path.with_name("b.yaml")):
        with pytest.raises(ConfigError, match="could not determine a constructor for the tag"):
            xtune.load_config(file, trust_config=True)
    assert not flag.exists()


def test_a_config_of_another_program_is_told_the_keys_that_it_lacks(tmp_path):
    text = "import torch\nfrom xtuner.engine import TrainLoop\nmodel = dict(type=Sft)\nprompt_template = 3\n"
    path = write(tmp_path, {"xtuner.py": text})
    with pytest.raises(
        ConfigError, match=r"line 1: `import torch` is code, not data, and keys are missing: template, "
    ):
        xtune.load_config(path)


def test_a_registered_name_may_be_inherited_and_a_misspelt_one_is_told(tmp_path):
    name = "internlm_7b_qlora_oasst1_e3"
    path = write(tmp_path, {"mine.py": f"_base_ = '{name}'\ntrain = dict(epochs=1.0)\n"})
    assert xtune.load_config(path) == xtune.load_config(name, {"train.epochs": 1.0})
    write(tmp_path, {"mine.py": f"_base_ = '{name}x'\n"})
    with pytest.raises(UnknownName, match=f"did you mean .*{name}"):
        xtune.load_config(path)


def test_yaml_and_json_are_configs_too(tmp_path):
    values = xtune.load_config("internlm_7b_qlora_oasst1_e3").model_dump(mode="json", exclude_unset=True)
    for suffix in ("json", "yaml"):
        path = write(tmp_path, {f"mine.{suffix}": json.dumps(values)})
        assert xtune.load_config(path) == xtune.load_config("internlm_7b_qlora_oasst1_e3")


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("model.path='\\ud800'", r"--cfg-options: `model.path` holds half of a character: got '\ud800'"),
        ("model.path=\udce9", "--cfg-options: `model.path` holds half of a character"),
        ("tuning.rank=" + "9" * 90, "--cfg-options: `tuning.rank` should be a plain value, but it is too large"),
        ("tuning.rank=1e999", "`tuning.rank` should be a plain value, but it is not finite"),
        ("tuning.rank={1,2}", "`tuning.rank` should be a plain value, but it is of type set"),
        ("tuning={1: 2}", "a key in `tuning` should be text: got 1"),
        ("tuning.x=" + "[" * 40 + "]" * 40, "is nested more than 30 deep"),
        ("x" * 5000 + "=1", "unknown key: got `xxxx"),
        (".".join("x" * 5000) + "=1", "--cfg-options: "),
        ("template=" + "x" * 5000, "unknown template: got `xxxx"),
    ],
    ids=lambda value: value[:30].encode("ascii", "replace").decode(),
)
def test_an_override_that_no_config_can_hold_is_one_short_line(tmp_path, capsys, override, told):
    from xtune.cli import main

    path = write(tmp_path, {"mine.py": WHOLE})
    assert main(["check", str(path), "--cfg-options", override]) == 2
    line = capsys.readouterr().err
    assert told in line and line.count("\n") == 1 + line.count("\nhint: ") and len(line) < 1000


@pytest.mark.parametrize(
    "name", ["x" * 300, "x" * 5000 + ".py", "./" + "x" * 300 + ".py", "nul\0.py", "\ud800.py", "/**", "/*.py"]
)
def test_a_name_that_no_file_can_have_is_one_short_line(capsys, name):
    from xtune.cli import main

    for words in (
        ["show-cfg", name],
        ["train", name],
        ["copy-cfg", name, "out"],
        ["convert", "pth_to_hf", name, "a", "b"],
    ):
        assert main(words) == 2
        line = capsys.readouterr().err
        fact, hint = line.removesuffix("\n").split("\nhint: ")
        assert fact.startswith("xtune: error: ") and len(line) < 6000 and (fact + hint).isprintable()


def test_what_is_no_file_is_not_waited_for(tmp_path, capsys):
    from xtune.cli import main

    os.mkfifo(tmp_path / "fifo.py")
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "zero.py").symlink_to("/dev/zero")
    (tmp_path / "latin.py").write_bytes('x = "é"'.encode("latin-1"))
    for name, told in {
        "fifo.py": "is not a file",
        "folder.py": "is not a file",
        "zero.py": "is not a file",
        "latin.py": "'utf-8' codec can't decode byte 0xe9",
    }.items():
        assert main(["show-cfg", str(tmp_path / name)]) == 2
        line = capsys.readouterr().err
        assert f"{name} " in line and told in line and line.count("\n") == 1 + line.count("\nhint: ")
