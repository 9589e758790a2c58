"""`xtune new-plugin`: what it writes works, and the worked plugin is what it writes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from xtune import cli
from xtune.commands.new_plugin import plugin_files
from xtune.errors import PluginError

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"


def test_the_worked_plugin_is_what_new_plugin_writes():
    root = PLUGINS / "xtune-hello"
    skipped = ("__pycache__", "build", ".egg-info", ".pytest_cache")
    files = [path for path in root.rglob("*") if path.is_file() and not any(part in str(path) for part in skipped)]
    found = {str(path.relative_to(root)): path.read_text(encoding="utf-8") for path in files}
    assert found == plugin_files("xtune-hello"), "run: xtune new-plugin xtune-hello --dir plugins --force"


def test_a_new_plugin_installs_and_passes_its_own_tests(tmp_path, capsys):
    assert cli.main(["new-plugin", "my-clinic", "--dir", str(tmp_path)]) == 0
    folder = tmp_path / "my-clinic"
    assert str(folder) in capsys.readouterr().out
    site = tmp_path / "site"
    quiet = ["--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([sys.executable, "-m", "pip", "install", *quiet, "--target", site, folder], check=True)
    environment = {**os.environ, "PYTHONPATH": str(site), "XTUNE_PLUGINS": "my-clinic"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "19 passed" in done.stdout, done.stdout + done.stderr


def test_a_folder_that_is_there_is_kept_unless_forced(tmp_path, capsys):
    words = ["new-plugin", "my-clinic", "--dir", str(tmp_path)]
    assert cli.main(words) == 0
    (tmp_path / "my-clinic" / "mine.txt").touch()
    assert cli.main(words) == 2 and "output exists already" in capsys.readouterr().err
    assert (tmp_path / "my-clinic" / "mine.txt").exists()
    assert cli.main([*words, "--force"]) == 0 and not (tmp_path / "my-clinic" / "mine.txt").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "My_Clinic",
            "a plugin's name has small letters, digits and single hyphens: got `My_Clinic`; take a name such as",
        ),
        ("../up", "small letters"),
        ("json", "there is a module of that name: got `json`; try xtune-json"),
        ("xtune", "there is a module of that name"),
        ("xtune-2b", "components cannot be called that in Python: got `2b`; take a name such as my-templates"),
        ("xtune-class", "components cannot be called that in Python: got `class`"),
        ("xtune-alpaca", "mapper `alpaca` is built in: got that name for a plugin; try my-alpaca"),
        ("chat", "command `chat` is built in"),
    ],
)
def test_a_name_that_would_not_work_is_refused(name, message):
    with pytest.raises(PluginError, match=message):
        plugin_files(name)
