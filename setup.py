"""Packaging. The exact versions that are tested stand in constraints.txt: pip install -c constraints.txt ."""

import shutil
import sys
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent


class BuildWithConfigs(build_py):
    """Writes a module of every standard config into the wheel; the repository keeps those that people browse."""

    def run(self) -> None:
        folder = Path(self.build_lib, "xtune", "configs")
        shutil.rmtree(folder, ignore_errors=True)  # an earlier build may have left modules of other names
        super().run()
        if self.editable_mode:
            return
        sys.path.insert(0, str(HERE))
        from xtune.catalogue.points import points
        from xtune.catalogue.tree import tree
        from xtune.registries import components

        models = components([]).models
        for path, text in tree(models, points(models).values()).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")


setup(
    name="xtune",
    version="0.1.0",
    description="Fine-tune large language models from named configs, on a laptop, one GPU or several nodes",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["xtune", "xtune.*"]),
    package_data={"": ["*.json", "*.jsonl", "*.jinja", "*.html", "py.typed"]},
    # Bounded by the next release that may break: the next minor one of libraries at 0.y that xtune/compat reaches into,
    # else the next major one. `make test-newest` takes the newest of these. What has no bound is used by interfaces
    # that have not changed in years, and raises its first number often.
    install_requires=[
        "torch>=2.11,<3",
        "transformers>=5.17,<6",
        "peft>=0.21,<0.22",
        "bitsandbytes>=0.50,<0.51",
        "deepspeed>=0.19,<0.20; platform_system == 'Linux'",
        "datasets>=5.0,<6",
        "mmengine>=0.10.7,<0.11",
        "packaging>=23",
        "filelock>=3.12",
        "pyarrow>=17",
        "psutil>=5.9",
        "xxhash>=3.4",
        "pluggy>=1.5,<2",
        "openpyxl>=3.1,<4",
        "pydantic>=2.8,<3",
        "rich>=13",
        "safetensors>=0.5,<1",
        "sentencepiece>=0.2,<1",
        "gguf>=0.10,<1",
        "matplotlib>=3.8,<4",
        "tensorboard>=2.15,<3",
    ],
    extras_require={
        "docs": ["mkdocs-material>=9.6"],
        "flash": ["flash-attn>=2.7"],
        "test": [
            "setuptools>=77",
            "pytest>=8",
            "pytest-timeout>=2.3",
            "pytest-xdist>=3.6",
            "hypothesis>=6",
            "ruff",
            "mypy",
        ],
    },
    cmdclass={"build_py": BuildWithConfigs},
    entry_points={"console_scripts": ["xtune = xtune.__main__:main"]},
)
