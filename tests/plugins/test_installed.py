"""The worked plugins as a third party's: pip installs them beside the built wheel of xtune, far from the source tree.

`make plugins-test` runs this. The fresh environment borrows torch and the other heavy packages from this one; xtune and
the plugins are its own.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from openpyxl import Workbook

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = ("xtune-hello", "xtune-medical")
CLINIC = "smollm2_135m_instruct_lora_clinic_e3"
FLAT = ["--cfg-options", "evaluation.prompts=[]", "evaluation.holdout=0.0", "train.max_steps=2"]


class Place:
    """A fresh virtual environment, and a working directory for what runs in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.work = folder / "work"
        self.work.mkdir()
        self.bin = folder / "venv" / "bin"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)

    def pip(self, *words: str | Path) -> None:
        quiet = ["--quiet", "--disable-pip-version-check"]
        subprocess.run([sys.executable, "-m", "pip", *quiet, "--python", self.bin / "python", *words], check=True)

    def borrow(self) -> None:
        """Makes this environment's packages importable, after the fresh one's own: pip does not see to them.

        A .pth file adds a folder without running the .pth files in it, such as that of an editable xtune.
        """
        (site,) = (self.folder / "venv").glob("lib/python*/site-packages")
        own = (sysconfig.get_paths()[name] for name in ("purelib", "platlib"))
        paths = dict.fromkeys([*own, *(path for path in sys.path if Path(path).name == "site-packages")])
        (site / "borrowed.pth").write_text("".join(f"{path}\n" for path in paths))

    def run(self, *words: str | Path, code: int = 0) -> str:
        """What a program of the environment prints; it has to end with `code`."""
        hidden = ("PYTHONPATH", "XTUNE_PLUGINS", "VIRTUAL_ENV")
        environment = {name: value for name, value in os.environ.items() if name not in hidden}
        environment |= {"XTUNE_CACHE": str(self.folder / "cache"), "HF_HUB_OFFLINE": "1"}
        program, *rest = words
        done = subprocess.run(
            [self.bin / program, *rest], cwd=self.work, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    folder = tmp_path_factory.mktemp("installed")
    source = folder / "source"
    unwanted = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
    shutil.copytree(ROOT / "xtune", source / "xtune", ignore=unwanted)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in PLUGINS:
        shutil.copytree(ROOT / "plugins" / name, folder / name, ignore=unwanted)
    made = Place(folder)
    build = ["--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-build-isolation"]
    projects = [source, *(folder / name for name in PLUGINS)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *build, "-w", folder / "dist", *projects], check=True)
    made.pip("install", "--no-index", "--no-deps", *(folder / "dist").glob("*.whl"))
    made.borrow()
    return made


def checkpoint(work_dir: Path) -> dict[str, dict]:
    """The JSON records of a run's newest checkpoint."""
    newest = max((work_dir / "checkpoints").glob("step_*"), key=lambda path: int(path.name.partition("_")[2]))
    return {name: json.loads((newest / f"xtune_{name}.json").read_text()) for name in ("config", "run", "template")}


def test_xtune_is_the_wheels(place):
    file = place.run("python", "-c", "import xtune; print(xtune.__file__)").strip()
    assert Path(file).is_relative_to(place.folder / "venv")
    known = [path.stem for path in (ROOT / "xtune" / "configs").rglob("*.py") if not path.stem.startswith("_")]
    assert set(known) <= set(place.run("xtune", "list-cfg").split())


def test_the_wheel_has_a_module_of_every_standard_config(place):
    program = """
from importlib import import_module
from xtune.catalogue.points import points
from xtune.registries import components
found = components([])
for text, name in points(found.models).items():
    module = import_module(f"xtune.configs.{found.models[name.model].family}.{text}")
    assert {key: value for key, value in vars(module).items() if not key.startswith("__")} == found.configs[text], text
print(text)
"""
    assert place.run("python", "-c", program) == "zephyr_7b_beta_qlora_self_identity_e5\n"
    assert "epochs=2" in place.run("xtune", "show-cfg", "yi_6b_lora_sql_e2")


def test_both_are_listed_with_what_they_add(place):
    out = place.run("xtune", "plugins")
    assert (
        "xtune-hello 0.1.0: register_callbacks, register_commands, " in out
        and "xtune-medical 0.1.0: register_configs, " in out
    )
    assert "    configs: hello_demo, hello_zero1" in out and "not loaded" not in out
    assert len(place.run("xtune", "list-cfg", "-p", "clinic").split()) == 3
    assert place.run("xtune", "hello", "--name", "Ada") == "Hello, Ada!\n"


@pytest.mark.parametrize("name", ["hello_demo", CLINIC])
def test_they_can_be_rehearsed(place, name):
    out = place.run("xtune", "rehearse", name)
    assert "all stages" in out and "not checked:" in out


@pytest.mark.parametrize("name", PLUGINS)
def test_their_own_tests_and_examples_pass(place, name):
    words = ["-p", "no:cacheprovider", "--doctest-modules", "-o", "doctest_optionflags=NORMALIZE_WHITESPACE"]
    tests = [place.folder / name / "tests", "--pyargs", name.replace("-", "_")]
    assert " passed" in place.run("python", "-m", "pytest", *words, *tests)


def test_the_example_trains_with_its_own_strategy_template_and_rows(place, tiny_model):
    place.run("xtune", "train", "hello_demo", "--model", tiny_model, "--work-dir", "hello")
    found = checkpoint(place.work / "hello")
    assert found["run"]["plugins"] == {"xtune-hello": "0.1.0", "xtune-medical": "0.1.0"}
    assert found["template"]["user"] == "User: {text}\n" and found["config"]["tuning"]["name"] == "hello_norms"
    clock = (place.work / "hello" / "clock.txt").read_text().split()
    assert clock[::2] == [str(step + 1) for step in range(found["run"]["steps"])] != []
    assert found["run"]["data"]["report"]["trained"] == 6  # four rows of JSON, two of the plugin's own format


def test_the_clinics_own_files_train_and_the_adapter_keeps_its_template(place, tiny_model):
    book = Workbook()
    for row in [("科室", "主诉", "医嘱"), *[("内科", f"头痛{days}天", "请多休息。") for days in range(2, 10)]]:
        book.active.append(row)
    book.save(place.work / "visits.xlsx")
    with (place.work / "questions.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("question", "answer", "source"), ("May I?", "Yes.", "Leaflet 1")])
    columns = ["data.0.options.context=[科室]", "data.0.options.complaint=主诉", "data.0.options.advice=医嘱"]
    data = ["--data", "visits.xlsx", "questions.csv"]
    checked = place.run("xtune", "check", CLINIC, "--model", tiny_model, *data, *FLAT, *columns)
    assert "9 rows, 9 trained on" in checked and checked.endswith("ready to train\n")
    place.run("xtune", "train", CLINIC, "--model", tiny_model, *data, "--work-dir", "clinic", *FLAT, *columns)
    found = checkpoint(place.work / "clinic")
    assert found["run"]["data"]["report"]["trained"] == 9
    assert found["template"]["default_system"].startswith("You are the assistant of a clinic.")
    place.run("xtune", "convert", "pth_to_hf", CLINIC, "clinic", "adapter")
    assert json.loads((place.work / "adapter" / "xtune_template.json").read_text()) == found["template"]


def test_a_template_file_and_a_mapper_of_a_module_need_no_plugin(place, tiny_model):
    template = {"user": "Q: {text}\n", "assistant": "A: "}
    (place.work / "mine.json").write_text(json.dumps(template))
    (place.work / "my_rows.py").write_text(
        "from xtune import Conversation, Turn\n"
        "def row(row): return Conversation((Turn('user', row['q']), Turn('assistant', row['a'])))\n"
    )
    (place.work / "rows.jsonl").write_text('{"q": "one and one", "a": "two"}\n' * 4)
    words = ["--template", "mine.json", "--data", "rows.jsonl", "--mapper", "my_rows:row", "--work-dir", "mine"]
    place.run("xtune", "train", "hello_demo", "--model", tiny_model, *words)
    found = checkpoint(place.work / "mine")
    assert found["template"] == template and found["config"]["template"] == "mine.json"
    assert found["config"]["data"][0]["mapper"] == "my_rows:row"


def test_they_can_be_uninstalled(place):
    place.pip("uninstall", "--yes", *PLUGINS)
    assert place.run("xtune", "plugins").endswith("no plugins are installed, or XTUNE_PLUGINS turns all off\n")
    assert not {"hello_demo", CLINIC} & set(place.run("xtune", "list-cfg").split())
    place.run("xtune", "hello", code=2)
    (site,) = (place.folder / "venv").glob("lib/python*/site-packages")
    assert not [path.name for path in site.iterdir() if path.name.startswith(("xtune_hello", "xtune_medical"))]
