"""Rendered text against what the vendors' own Jinja chat templates give.

official_texts.json holds the texts, made with transformers' Jinja environment from the templates that the vendors ship
with their tokenizers; those that write the date were given 26 July 2024.
"""

import json
from pathlib import Path

import pytest

from xtune import Conversation, Turn, render

OFFICIAL = json.loads(Path(__file__).with_name("official_texts.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", OFFICIAL)
def test_text_equals_the_vendors(name):
    official = OFFICIAL[name]
    for case in official["cases"]:
        conversation = Conversation(tuple(Turn(*turn) for turn in case["turns"]))
        spans = render(conversation, name, generation_prompt=case["prompt"])
        text = "".join(span.text for span in spans)
        assert text.replace("{bos}", official["bos"]).replace("{eos}", official["eos"]) == case["text"], case["turns"]
