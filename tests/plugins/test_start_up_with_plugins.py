"""Plugins do not make xtune slow to start: with the worked ones installed, listing configs imports nothing heavy."""

import os
import subprocess
import sys
from pathlib import Path

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
PROBE = """
import sys
from xtune.cli import main
main(["list-cfg", "-p", "clinic"])
heavy = ["torch", "transformers", "mmengine", "pydantic", "numpy", "openpyxl"]
print([name for name in heavy if name in sys.modules])
"""


def test_listing_configs_with_plugins_imports_nothing_heavy(tmp_path):
    for name in ("xtune_hello", "xtune_medical"):
        info = tmp_path / f"{name}-0.1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\nRequires-Dist: xtune>=0.1\n"
        )
        (info / "entry_points.txt").write_text(f"[xtune]\n{name} = {name}\n")
    paths = [str(tmp_path), *(str(PLUGINS / name) for name in ("xtune-hello", "xtune-medical"))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "XTUNE_PLUGINS": "xtune-hello,xtune-medical"}
    done = subprocess.run([sys.executable, "-c", PROBE], env=environment, capture_output=True, text=True, check=True)
    *listed, heavy = done.stdout.splitlines()
    assert len(listed) == 3 and heavy == "[]"
