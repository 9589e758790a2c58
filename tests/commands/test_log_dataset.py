"""log-dataset shows the stored samples: their text, what is trained on of it, and the account of all rows."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from xtune.cli import main
from xtune.commands.dataset_page import histogram
from xtune.commands.log_dataset import evenly
from xtune.conversation import Conversation, Span, Turn
from xtune.data.decode import control_ids, decode_sample
from xtune.encoding.encoder import Encoder
from xtune.names import template_named

CONFIG = "smollm2_135m_instruct_qlora_self_identity_demo"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tokenizer of single characters that has the control tokens of chatml."""
    letters = ["?unknown", "\n", "中", "文", *map(chr, range(32, 127))]
    rust = Tokenizer(models.WordLevel({letter: index for index, letter in enumerate(letters)}, unk_token="?unknown"))
    rust.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    rust.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    from tokenizers.decoders import Fuse

    rust.decoder = Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=rust, bos_token="<|im_start|>", eos_token="<|im_end|>", unk_token="?unknown"
    )
    folder = tmp_path_factory.mktemp("model")
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Path) -> list[str]:
    """What log-dataset takes to show 40 rows, of which one is empty."""
    monkeypatch.setenv("XTUNE_CACHE", str(tmp_path / "cache"))
    rows = [{"instruction": f"<b>question</b> {number}", "output": f"answer 中文 {number}"} for number in range(39)]
    file = tmp_path / "rows.json"
    file.write_text(json.dumps([*rows, {"instruction": "x", "output": ""}]))
    options = ["--mapper", "alpaca", "--cfg-options", "pack=true", "max_length=256"]
    return ["log-dataset", CONFIG, "--model", str(model), "--data", str(file), *options]


def test_the_terminal_shows_rows_and_report(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments, "--rows", "2"]) == 0
    printed = capsys.readouterr().out
    assert "rows.json, row 1 " in printed and "rows.json, row 20 " in printed and "rows.json, row 2 " not in printed
    assert "<|im_start|>assistant\nanswer 中文 0<|im_end|>" in printed
    assert re.search(r"rows read +40", printed) and re.search(r"dropped: empty +1 +rows.json, row 40", printed)
    assert "packs of 256" in printed and "control token that is trained on" in re.sub(r"\s+", " ", printed)


def test_the_page_holds_the_same_and_needs_nothing_else(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    assert main([*arguments, "--html", str(page)]) == 0
    html = page.read_text(encoding="utf-8")
    assert f"39 rows written to {page}" in capsys.readouterr().out.replace("\n", "")
    assert html.count('<article class="card sample">') == 39
    assert '<span class="trained">answer 中文 0</span><span class="control trained">&lt;|im_end|&gt;</span>' in html
    assert "&lt;b&gt;question&lt;/b&gt;" in html and "<b>question" not in html
    assert "dropped: empty" in html and "<svg" in html and "of 40 rows trained on" in html
    assert not re.search(r"(src|href)=|https?:", html)


def test_a_page_that_cannot_be_written_is_one_line(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--html", str(tmp_path / "nowhere" / "page.html")]) == 2
    assert "page.html cannot be written: got No such file or directory" in capsys.readouterr().err


def test_samples_are_spread_over_the_data() -> None:
    assert evenly(10, 3).tolist() == [0, 3, 6]
    assert evenly(2, 5).tolist() == [0, 1]
    assert evenly(0, 5).tolist() == evenly(5, 0).tolist() == []


def test_the_bars_of_the_histogram_count_every_sample() -> None:
    lengths = np.array([1, 1, 5, 9, 9, 9, 10])
    counted = re.findall(r"tokens: (\d+) samples", histogram(lengths))
    assert sum(map(int, counted)) == len(lengths)
    assert "median 9" in histogram(lengths) and "longest 10" in histogram(lengths)


@pytest.mark.parametrize("name", ["llama2", "internlm", "baichuan2", "chatglm3", "qwen", "qwen3", "llama3_1"])
def test_a_stored_sample_reads_as_it_was_written(shared: Path, name: str) -> None:
    """Real tokenizers, among them those that drop a space at the start and split characters into bytes."""
    from xtune.models.load import load_tokenizer
    from xtune.registries import components

    template = {
        "llama2": "llama2_chat", "internlm": "internlm_chat", "baichuan2": "baichuan2_chat", "chatglm3": "chatglm3",
        "qwen": "qwen_chat", "qwen3": "qwen_chat", "llama3_1": "llama3_chat",
    }[name]  # fmt: skip
    tokenizer = load_tokenizer(shared / "data/tokenizers" / name)
    encoder = Encoder(template_named(components([]).templates[template]), tokenizer, max_length=None)
    question, answer = "Who are  you? 你是谁？ 😀", "I am 小明 🦙, a\nmodel."
    row = Conversation((Turn("user", question), Turn("assistant", answer)))
    encoded = encoder.encode_batch([row])[0].examples[0].sequences[0]
    spans = decode_sample(encoded.ids, encoded.labels, tokenizer, control_ids(tokenizer))
    assert question in "".join(span.text for span in spans if not span.learn)
    assert answer in "".join(span.text for span in spans if span.learn and not span.control)
    assert any(span.control for span in spans) and all(isinstance(span, Span) for span in spans)
