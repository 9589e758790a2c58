"""A base model is known by the content of its weight files, wherever they lie; each is read once."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import xxhash

from xtune.errors import ModelError
from xtune.models import weight_files
from xtune.models.identity import identify, recorded_base, refuse_other_base, save_base


@pytest.fixture
def base(tiny_model, tmp_path) -> Path:
    return shutil.copytree(tiny_model, tmp_path / "base")


def flip(file: Path) -> None:
    """Changes one bit of the last weight, not the size and not the time of the last change."""
    before = file.stat()
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(bytes(content))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_the_digest_is_that_of_the_content(base, tmp_path):
    known = identify(base)
    assert known["path"] == str(base)
    content = xxhash.xxh3_128_hexdigest((base / "model.safetensors").read_bytes())
    assert known["digest"] == xxhash.xxh3_128_hexdigest(content.encode())
    moved = base.rename(tmp_path / "elsewhere")
    (moved / "README.md").write_text("other words")
    assert identify(moved)["digest"] == known["digest"]
    flip(moved / "model.safetensors")
    assert identify(moved)["digest"] != known["digest"]


def test_a_file_is_read_once(base, monkeypatch):
    read = []
    digest = weight_files.file_digest
    monkeypatch.setattr(weight_files, "file_digest", lambda file: read.append(file.name) or digest(file))
    first = identify(base)
    assert identify(base) == first and read == ["model.safetensors"]
    flip(base / "model.safetensors")
    assert identify(base) != first and len(read) == 2


def test_a_cache_that_cannot_be_written_changes_nothing(base, tmp_path, monkeypatch):
    known = identify(base)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XTUNE_CACHE", str(tmp_path / "file"))
    assert identify(base) == known


def test_a_model_of_the_hub_is_the_folder_that_was_downloaded(base, tmp_path, monkeypatch):
    repository = tmp_path / "hub" / "models--owner--name"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    assert identify("owner/name") is None
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("a" * 40)
    snapshot = repository / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    shutil.copy(base / "config.json", snapshot)
    assert identify("owner/name") is None  # the weights are still on their way
    shutil.copy(base / "model.safetensors", snapshot)
    assert identify("owner/name") == {"path": "owner/name", "digest": identify(base)["digest"]}


def test_other_weights_are_refused_or_said(base, tmp_path, caplog):
    recorded = identify(base)
    other = shutil.copytree(base, tmp_path / "other")
    refuse_other_base("adapter x", recorded, other)
    flip(other / "model.safetensors")
    told = rf"adapter x was trained on other weights: on .*base \({recorded['digest'][:12]}\), got .*other \(\w{{12}}\)"
    with pytest.raises(ModelError, match=told + r"; give that model, or go on all the same with --other-base"):
        refuse_other_base("adapter x", recorded, other)
    assert not caplog.records
    refuse_other_base("adapter x", recorded, other, other_base=True)
    assert "other weights" in caplog.text
    refuse_other_base("adapter x", None, other)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("xtune_base.json", "[]", "record of the base model .* should be a section with keys"),
        ("xtune_base.json", '{"path": 1}', "`path` should be a valid string: got `1`"),
        ("xtune_run.json", "{", "is broken JSON"),
    ],
)
def test_a_record_that_is_damaged_is_one_line(tmp_path, name, content, told):
    assert recorded_base(tmp_path) is None
    (tmp_path / name).write_text(content)
    with pytest.raises(ModelError, match=told):
        recorded_base(tmp_path)


def test_a_record_comes_back(base, tmp_path):
    save_base(None, tmp_path)
    assert recorded_base(tmp_path) is None
    save_base(identify(base), tmp_path)
    assert recorded_base(tmp_path) == identify(base)
    (tmp_path / "xtune_base.json").write_text('{"path": "x"}')
    assert recorded_base(tmp_path) is None
