"""A whole run on a tiny model: what it writes, and that it goes on where it was."""

from __future__ import annotations

import json

import pytest
import torch
from engine_standins import TinyRun, tiny_config, weights_of

from xtune.checkpoints import checkpoint as files
from xtune.training.train import train_run

LORA = {"name": "lora", "rank": 4, "dropout": 0.2}


def state_of(checkpoint):
    return {path.name: path.read_bytes() for path in sorted((checkpoint / "state").iterdir())}


def story(result):
    timed = ("seconds", "memory_gib")
    return [{key: value for key, value in row.items() if key not in timed} for row in result.metrics]


@pytest.mark.parametrize("tuning", [LORA, {"name": "full"}], ids=["lora", "full"])
@pytest.mark.parametrize("objective", ["sft", "dpo"])
def test_a_resumed_run_ends_with_the_same_bits(tmp_path, objective, tuning):
    objective = {"name": objective}
    whole = train_run(TinyRun(tiny_config(tuning, objective=objective)), tmp_path / "whole")
    assert [row["step"] for row in whole.metrics] == list(range(1, 9))
    assert whole.metrics[-1]["loss"] < whole.metrics[0]["loss"]

    half = tiny_config(tuning, objective=objective, checkpoint={"keep": 9})
    train_run(TinyRun(half), tmp_path / "half")
    for step in (6, 8):  # as if it had been killed after step 5
        files.discard(tmp_path / "half" / "checkpoints" / f"step_{step}")
    again = train_run(TinyRun(half), tmp_path / "half", resume="auto")

    assert story(again) == story(whole)
    lines = (tmp_path / "half" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, 9))
    assert state_of(again.checkpoint) == state_of(whole.checkpoint)
    expected = weights_of(whole.checkpoint)
    assert expected and all(torch.equal(t, expected[name]) for name, t in weights_of(again.checkpoint).items())


def test_answers_are_those_of_a_chat_one_by_one():
    from engine_standins import tiny_llama, tiny_tokenizer

    from xtune.evaluation.held_out import answers
    from xtune.generate.generate import Generator
    from xtune.generate.sampling import Sampling
    from xtune.generate.session import Session
    from xtune.templates.template import ChatTemplate

    model, template = tiny_llama(), ChatTemplate(user="{text} w9 ")
    prompts = ["w5 w6 w7 w8 w10 w11", "w12"]
    tokenizer, sampling = tiny_tokenizer(), Sampling(max_new_tokens=5)
    alone = [Session(model, tokenizer, template, sampling=sampling).ask(prompt) for prompt in prompts]
    model.train()
    session = Session(model, tokenizer, template, sampling=sampling)
    together = answers(session, prompts, Generator(model, tokenizer, model.generate))
    assert together == [{"prompt": p, "answer": a} for p, a in zip(prompts, alone, strict=True)]
    assert model.training
