"""Whatever stands where a path is expected, no command hangs or leaves a traceback: names, links, devices, bytes."""

from __future__ import annotations

import os

import pytest

from xtune.cli import main

NAME = "smollm2_135m_instruct_lora_alpaca_e3"
PLACES = {
    "config": ["show-cfg PATH", "check PATH", "copy-cfg PATH out", "plan PATH", "rehearse PATH"],
    "model": ["check CONFIG --model PATH", "plan CONFIG --model PATH", "chat PATH --prompt x", "check-template PATH"],
    "tokenizer": ["check CONFIG --cfg-options model.tokenizer=PATH"],
    "data": ["check CONFIG --data PATH", "check-custom-dataset PATH", "log-dataset CONFIG --model TINY --data PATH"],
    "package": ["check-custom-dataset package:PATH", "chat package:PATH", "check-custom-dataset package:xtune/PATH"],
    "template": ["check CONFIG --model TINY --template PATH", "check-template TINY --template PATH"],
    "template file": ["check CONFIG --model TINY --template PATH.json"],
    "mapper": ["check CONFIG --mapper PATH:row --data ROWS"],
    "deepspeed": ["train CONFIG --model TINY --data ROWS --work-dir out --deepspeed PATH.json"],
    "adapter": ["chat TINY --adapter PATH --prompt x", "convert merge TINY PATH out", "convert adapters PATH out"],
    "checkpoint": ["convert pth_to_hf CONFIG PATH out", "train CONFIG --model TINY --data ROWS --resume PATH"],
    "layout": ["convert layout PATH out"],
    "work dir": ["check CONFIG --work-dir PATH"],
    "out": ["convert merge TINY TINY PATH", "copy-cfg CONFIG PATH"],
    "plugin": ["new-plugin PATH"],
}  # fmt: skip
PATHS = {
    "300 letters": "x" * 300,
    "5000 letters": "y/" * 2500,
    "300 letters inside": "a/" + "x" * 300 + "/b",
    "everything": "/**",
    "everything below": "/*/*",
    "up": "../" * 2000,
    "fifo": "fifo",
    "folder": "folder",
    "empty": "empty",
    "zero": "zero",
    "loop": "loop",
    "dead link": "dead",
    "latin": os.fsdecode(b"latin-\xe9.jsonl"),
    "pattern": "[",
    "home": "~nobody/x",
    "url": "file:///etc/passwd",
    "newline": "a\nb",
    "dash": "./-",
    "space": " x",
}

SPACE, LINE = "\ue000", "\ue001"
QUICK = {"300 letters", "fifo", "loop"}
"""Kinds that every run of the tests tries; the others are slow together."""


@pytest.fixture
def place(tmp_path, monkeypatch, tiny_model):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XTUNE_CACHE", str(tmp_path / "cache"))
    for name in ("fifo", "fifo.json"):
        os.mkfifo(name)
    for name in ("folder", "folder.json"):
        os.mkdir(name)
    for name in ("empty", "empty.json"):
        open(name, "w").close()
    for name, target in {"zero": "/dev/zero", "loop": "loop", "dead": "nothing"}.items():
        os.symlink(target, name)
        os.symlink(target if name != "loop" else "loop.json", f"{name}.json")
    rows = '{"instruction": "q", "output": "a"}\n' * 4
    for name in ("rows.jsonl", PATHS["latin"]):
        with open(name, "w") as file:
            file.write(rows)
    return {"TINY": str(tiny_model), "ROWS": "rows.jsonl"}


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "kind", [kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.slow) for kind in PATHS]
)
@pytest.mark.parametrize("words", [line for lines in PLACES.values() for line in lines])
def test_any_name_is_taken_or_refused_in_one_line(place, capfd, words, kind):
    filled = [
        word.replace("CONFIG", NAME)
        .replace("TINY", place["TINY"])
        .replace("ROWS", place["ROWS"])
        .replace("PATH", PATHS[kind])
        for word in words.split()
    ]
    code = main(filled)
    out, err = capfd.readouterr()
    assert code in (0, 2) and (code == 0 or out or err)
    errors = [line for line in err.splitlines() if line.startswith("xtune: error: ")]
    assert len(errors) == (code == 2 and not out.endswith("to correct\n")) and "Traceback" not in err
    assert all(len(line) < 25_000 for line in (out + err).splitlines())
