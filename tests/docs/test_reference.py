"""The generated pages equal the code, and say of every error why it comes up."""

from __future__ import annotations

import ast
import re
import subprocess
import sys

import pytest
from pages import PAGES, ROOT

from xtune.commands import components
from xtune.errors import UnknownName
from xtune.foreign import ANOTHER

sys.path.append(str(ROOT / "tools"))
from error_causes import CAUSES, group_of
from error_messages import PACKAGE, messages, modules


def test_the_reference_is_what_the_code_says():
    checked = subprocess.run(
        [sys.executable, ROOT / "tools" / "generate_docs.py", "--check"], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr


def test_every_file_that_raises_an_error_belongs_to_a_group_of_causes():
    raising = {path.relative_to(PACKAGE).as_posix() for path in modules() if messages(path)}
    groups = {group_of(path) for path in raising}
    assert len(raising) > 50 and "sources/table.py" in groups
    with pytest.raises(KeyError, match="no cause is given"):
        group_of("nowhere.py")
    assert all(any((PACKAGE / key).parent.glob(f"{(PACKAGE / key).name}*")) for key in CAUSES)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('raise ConfigError(f"got `{x!r}`", f"set {y}")', [("got `…`", "set …")]),
        ('def f(e):\n    return DataError("a" "b")', [("ab", "")]),
        ("raise ModelError(str(error))", [("…", "")]),
        ('def why():\n    return "because"\nraise DataError(why())', [("because", "")]),
        ('def why():\n    return f"got `{x}`", "do y"\nraise DataError(*why())', [("got `…`", "do y")]),
        ('AGAIN = "do it"\nraise error("a", AGAIN)', [("a", "do it")]),
        ('from xtune.foreign import ANOTHER\nraise error("a", ANOTHER)', [("a", ANOTHER)]),
        ('raise failure(name, f"lacks {x}", "add it")', [("plugin … lacks …", "add it")]),
        ('with foreign(f"{x} is lost", DataError, "find it"):\n    pass', [("… is lost: …", "find it")]),
        ('read_json(path, what="map", error=DataError)', [("map `…`: …", ANOTHER)]),
        ('raise ValueError("no error of ours")', []),
    ],
)
def test_messages_are_found(tmp_path, source, found):
    (tmp_path / "module.py").write_text(source)
    assert messages(tmp_path / "module.py") == found


def test_every_raise_of_an_error_is_found():
    """By counting, in another way, the calls of the classes in the source."""
    pattern = re.compile(r"\b(?:Xtune|Config|Data|Model|Plugin|Checkpoint)Error\(")
    for path in modules():
        text = path.read_text(encoding="utf-8")
        code = "".join(line for line in text.splitlines(True) if not line.lstrip().startswith("class "))
        if pattern.search(code) and any(isinstance(node, ast.Raise) for node in ast.walk(ast.parse(text))):
            assert messages(path), path


def test_troubleshooting_quotes_lines_that_there_are():
    told = " | ".join(message.fact for path in modules() for message in messages(path))
    told += str(UnknownName("config", "", []))
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    quoted = re.findall(r"^\| `([^`]+)`", page, re.MULTILINE)
    assert len(quoted) > 8
    assert [
        line for line in quoted if line.replace("all rows fail", "… fail").removesuffix(" NAME ...") not in told
    ] == []


def test_inline_commands_exist():
    known = components([]).commands
    for page in PAGES:
        for name in re.findall(r"`xtune ([a-z][a-z-]+)", page.read_text(encoding="utf-8")):
            assert name in known, f"{page.name}: xtune {name}"


def test_inline_settings_exist():
    from xtune.config.schema import Config
    from xtune.config.validate import known_keys

    keys = set(known_keys(Config))
    options = {
        f"{section}.{option}"
        for strategy in components([]).strategies.values()
        for section in ("tuning", "distributed")
        for option in strategy.model_fields
    }
    sections = "|".join(name for name in Config.model_fields)
    for page in PAGES:
        for key in re.findall(rf"`((?:{sections})\.[a-z0-9_.]+)", page.read_text(encoding="utf-8")):
            known = key in keys | options or key.startswith("data.0.options.")
            assert known or key in XTUNER or key.endswith((".jsonl", ".py")), f"{page.name}: {key}"


XTUNER = {"model.llm.torch_dtype", "model.llm.quantization_config", "model.lora", "model.llm.attn_implementation"}
"""Keys of XTuner's configs."""


def test_pages_name_no_host_and_no_place_of_one_machine():
    odd = re.compile(r"https?://(?!localhost)[\w.-]*|/(?:work|root|home|tmp)/")
    generated = sorted((ROOT / "docs" / "reference").glob("*.md"))
    for page in [*PAGES, *generated]:
        assert not odd.findall(page.read_text(encoding="utf-8")), page.name


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path],
        cwd=ROOT,
        env={"NO_MKDOCS_2_WARNING": "1", "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert (built.returncode, built.stderr) == (0, "")
    assert (tmp_path / "own_data" / "index.html").is_file()
