"""Every row read is trained on, held out or dropped for a reported reason; what is stored is what was encoded."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from questions import question, row

from xtune.conversation import IGNORE, Conversation, Preference, Turn
from xtune.data.feed import Feed
from xtune.data.prepare import Prepared, prepare
from xtune.data.report import OTHER, REASONS, Report
from xtune.encoding.encoder import Encoder, Recipe, encode_rows
from xtune.errors import DataError
from xtune.mappers.preference import preference
from xtune.sources.source import open_source


def texts(prepared: Prepared, split: str = "train") -> list[str]:
    """The samples of all packs, decoded, sorted."""
    found = []
    for pack in getattr(prepared.dataset, split):
        found += [ids.tobytes() for ids in np.split(pack.ids, np.cumsum(pack.lengths)[:-1])]
    return sorted(found)  # type: ignore[arg-type]


def balanced(report: Report) -> bool:
    return report.read == report.trained + report.held_out + sum(report.dropped.values())


def test_samples_are_stored_as_they_were_encoded(run: Callable[..., Prepared], encoder: Callable[..., Encoder]) -> None:
    rows = [row(number, "answer " * (number % 3)) for number in range(40)]
    rows = [one for one in rows if one["a"]]
    prepared = run(*rows, pack=False)
    expected = [one.examples[0].sequences[0] for one in encoder().encode_batch([question(one) for one in rows])]
    assert len(prepared.dataset.train) == len(rows)
    for pack, encoded in zip(prepared.dataset.train, expected, strict=True):
        assert np.array_equal(pack.ids, encoded.ids) and np.array_equal(pack.labels, encoded.labels)
        assert pack.ids.dtype == pack.labels.dtype == pack.lengths.dtype == np.int32
        assert pack.lengths.tolist() == [len(encoded.ids)]
    assert prepared.report.tokens == sum(len(encoded.ids) for encoded in expected)
    assert prepared.report.trained_tokens == sum(int((encoded.labels != IGNORE).sum()) for encoded in expected)


def test_packed_and_unpacked_hold_the_same_samples(run: Callable[..., Prepared]) -> None:
    rows = [row(number, "a" * (number % 9 + 1)) for number in range(60)]
    packed, unpacked = run(*rows), run(*rows, pack=False)
    assert texts(packed) == texts(unpacked)
    assert len(packed.dataset.train) < len(unpacked.dataset.train) == 60
    assert all(len(pack.ids) <= 32 for pack in packed.dataset.train)
    assert packed.dataset.train.lengths.tolist() == [len(pack.ids) for pack in packed.dataset.train]
    assert packed.report.fewest_packs <= packed.report.packs == len(packed.dataset.train)
    assert packed.report.fill == packed.report.tokens / (32 * packed.report.packs)
    assert unpacked.report.fill is None


def test_every_row_is_accounted_for_with_reason_and_place(run: Callable[..., Prepared]) -> None:
    prepared = run(
        row(1),
        '{"q": "half a li',
        {"question": "other column"},
        {"q": "", "a": "an answer to nothing"},
        {"q": "not trained on", "a": "x", "learn": False},
        {"q": "far too long " * 9, "a": "x"},
        {"q": "\ud800 half a pair", "a": "x"},
        {"q": 7, "a": "x"},
        row(2),
    )
    report = prepared.report
    assert (report.read, report.trained, report.held_out) == (9, 2, 0) and balanced(report)
    assert report.dropped == {
        "the JSON is broken or truncated": 1,
        "column `q` is missing": 1,
        "empty": 1,
        "nothing to learn": 1,
        "too long": 1,
        "a turn's text is not well-formed Unicode": 2,
    }
    assert report.examples["column `q` is missing"] == [
        "rows.jsonl, line 3: column `q` is missing: got columns question; choose another mapper"
    ]
    assert report.examples["too long"] == ["rows.jsonl, line 6"]
    assert report.examples["the JSON is broken or truncated"][0].startswith("rows.jsonl, line 2: the JSON is broken")


def test_a_mapper_that_fails_or_gives_something_else_spoils_the_row(run: Callable[..., Prepared]) -> None:
    def careless(values: dict[str, Any]) -> Any:
        return [1] if values["q"] == "pair" else question({"q": values["q"], "a": values["a"]})

    report = run(row(1), {"q": "pair"}, {"q": "no answer"}, mapper=careless).report
    assert report.dropped == {"mapper careless gives no conversation": 1, "mapper careless fails with KeyError": 1}
    assert balanced(report)


def test_a_wrong_mapper_is_told_at_once(run: Callable[..., Prepared]) -> None:
    wrong = {"question": "x"}
    with pytest.raises(
        DataError, match=r"line 1: column `q` is missing: got columns question \(the first 20 rows fail"
    ):
        run(*[wrong] * 20, row(1))
    with pytest.raises(DataError, match=r"line 1: column `q` is missing.* \(all rows fail\); choose the mapper"):
        run(wrong, wrong)
    assert run(*[wrong] * 19, row(1)).report.trained == 1


def test_preference_pairs_are_refused_with_the_cure(run: Callable[..., Prepared]) -> None:
    rows = [{"prompt": "q", "chosen": "good", "rejected": "bad"}, {"prompt": "r", "chosen": "fine"}]
    with pytest.raises(DataError) as caught:
        run(*rows, mapper=preference)
    assert str(caught.value) == (
        "rows.jsonl, line 1: mapper preference gives preference pairs, and the objective trains on conversations; "
        "set objective.name=dpo, or the mapper's option take=chosen"
    )
    assert run(*rows, mapper=partial(preference, take="chosen")).report.trained == 2
    with pytest.raises(DataError) as caught:
        run(row(1), recipe=PAIRS)
    assert str(caught.value) == (
        "rows.jsonl, line 1: mapper question gives conversations, and the objective trains on preference pairs; "
        "set mapper=preference for rows with two answers, or objective.name=sft"
    )


PAIRS = Recipe(Preference, encode_rows, 2)


def pair(number: int, chosen: str = "good", rejected: str = "bad") -> dict[str, str]:
    return {"prompt": f"question {number}", "chosen": chosen, "rejected": rejected}


@pytest.mark.parametrize("pack", [True, False])
def test_the_sequences_of_a_pair_stay_together(
    run: Callable[..., Prepared], encoder: Callable[..., Encoder], pack: bool
) -> None:
    rows = [pair(number, "a" * (number % 7 + 1), "b" * (number % 5 + 1)) for number in range(40)]
    prepared = run(*rows, {"prompt": "q", "chosen": "", "rejected": "x"}, mapper=preference, recipe=PAIRS, pack=pack)
    report, train = prepared.report, prepared.dataset.train
    expected = [encoder().encode_batch([preference(one)])[0].examples[0].sequences for one in rows]
    found = []
    for pack_of in train:
        sequences = pack_of.sequences()
        assert len(pack_of.ids) <= 2 * 32 and len(sequences) % 2 == 0
        found += [(one.ids.tolist(), one.labels.tolist()) for one in sequences]
    pairs = sorted(zip(found[::2], found[1::2], strict=True))
    assert pairs == sorted(tuple((side.ids.tolist(), side.labels.tolist()) for side in one) for one in expected)
    assert (report.trained, report.samples, report.dropped) == (40, 40, {"empty": 1}) and balanced(report)
    assert report.tokens == sum(len(side.ids) for one in expected for side in one)
    assert (len(train) < 40) is pack and train.examples == 40


def test_pairs_are_held_out_and_deduplicated_as_one(run: Callable[..., Prepared]) -> None:
    rows = [pair(number) for number in range(60)]
    prepared = run(*rows, *rows, mapper=preference, recipe=PAIRS, deduplicate=True, holdout=0.3, system="Be kind.")
    report = prepared.report
    assert report.dropped == {"duplicate": 60} and 0 < report.held_out < 40 and balanced(report)
    assert report.trained + report.held_out == prepared.dataset.train.examples == 60


def test_numbers_of_examples_come_with_their_packs(run: Callable[..., Prepared]) -> None:
    """As an objective of a plugin may give them: here, the length of each row's question."""

    def with_length(rows: Any, encoder: Encoder) -> Any:
        found = encoder.encode_batch(rows)
        lengths = [float(len(one.turns[0].text)) for one in rows]
        return [
            one._replace(examples=tuple(example._replace(numbers={"length": length}) for example in one.examples))
            for one, length in zip(found, lengths, strict=True)
        ]

    rows = [row(number, "a" * (number % 9 + 1)) for number in range(30)]
    prepared = run(*rows, recipe=Recipe(examples=with_length))
    for pack in prepared.dataset.train:
        assert pack.numbers["length"].shape == pack.lengths.shape
        for sequence, length in zip(pack.sequences(), pack.numbers["length"], strict=True):
            asked = sequence.ids[sequence.labels == IGNORE]
            assert len(asked) == length + 2  # and the control tokens of question and answer


def test_no_row_left_is_an_error_with_the_reasons(run: Callable[..., Prepared]) -> None:
    with pytest.raises(DataError, match=r"no row is left to train on: got 2 rows \(empty 1, too long 1\)"):
        run({"q": "", "a": ""}, {"q": "far too long " * 9, "a": "x"})


def test_too_long_stops_where_the_policy_is_error(run: Callable[..., Prepared]) -> None:
    with pytest.raises(DataError, match=r"rows.jsonl, line 2: .*max_length: got `\d+`"):
        run(row(1), {"q": "far too long " * 9, "a": "x"}, too_long="error")


def test_rows_made_to_fit_are_counted(run: Callable[..., Prepared]) -> None:
    report = run(row(1), row(2, "long " * 9), too_long="truncate").report
    assert report.changed == {"truncated": 1} and report.trained == 2


def test_long_plain_text_is_cut_and_every_token_trained_once(
    run: Callable[..., Prepared], encoder: Callable[..., Encoder]
) -> None:
    def plain(row: dict[str, Any]) -> Conversation:
        return Conversation((Turn("assistant", row["text"]),), plain=True)

    rows = [{"text": "word " * 90}, {"text": "short"}]
    whole = [encoder(max_length=None).encode_batch([plain(row)])[0].examples[0].sequences[0].ids for row in rows]
    prepared = run(*rows, mapper=plain, max_length=32, pack=False)
    samples = [pack.ids for pack in prepared.dataset.train]
    assert len(whole[0]) > 64 and max(map(len, samples)) == 32
    assert np.array_equal(np.concatenate(samples), np.concatenate(whole))
    report = prepared.report
    assert (report.read, report.trained, report.samples) == (2, 2, len(samples)) and balanced(report)
    assert report.changed == {"split into pieces": 1}


def test_packing_needs_a_length(run: Callable[..., Prepared]) -> None:
    with pytest.raises(ValueError, match="max_length None"):
        run(row(1), max_length=None)
    assert run(row(1), max_length=None, pack=False).report.trained == 1


def test_system_message_of_rows_that_have_none(run: Callable[..., Prepared], tokenizer: Any) -> None:
    def with_own(values: dict[str, Any]) -> Conversation:
        return (
            Conversation((Turn("system", "own"), *question(values).turns)) if values["q"] == "own" else question(values)
        )

    prepared = run({"q": "own", "a": "b"}, {"q": "no", "a": "b"}, mapper=with_own, system="default", pack=False)
    decoded = [tokenizer.decode(pack.ids).replace(" ", "") for pack in prepared.dataset.train]
    assert decoded == ["<s>own<u>own<a>b</s>", "<s>default<u>no<a>b</s>"]


def test_duplicates_are_dropped_on_request(run: Callable[..., Prepared]) -> None:
    rows = [row(1), row(2), row(1), row(1, "no")]
    assert run(*rows).report.trained == 4
    report = run(*rows, deduplicate=True).report
    assert report.trained == 3 and report.dropped == {"duplicate": 1}
    assert report.examples == {"duplicate": ["rows.jsonl, line 3"]}


def test_the_split_is_by_content_and_never_moves(run: Callable[..., Prepared]) -> None:
    rows = [row(number) for number in range(400)]
    first = run(*rows, *rows[:50], holdout=0.2)
    assert 50 <= first.report.held_out <= 130 and balanced(first.report)
    held_out, trained = set(texts(first, "held_out")), set(texts(first))
    assert not held_out & trained  # duplicates are on one side
    again = run(*reversed(rows), seed=5, holdout=0.2, pack=False)
    assert set(texts(again, "held_out")) == held_out
    assert held_out < set(texts(run(*rows, holdout=0.3), "held_out"))


def test_weights_repeat_rows_and_leave_rows_out(run: Callable[..., Prepared]) -> None:
    rows = [row(number) for number in range(300)]
    twice = run(*rows, weight=2)
    assert (twice.report.trained, twice.report.samples) == (300, 600)
    assert twice.report.tokens == 2 * run(*rows).report.tokens
    assert texts(twice) == sorted(2 * texts(run(*rows)))
    half = run(*rows, weight=0.5)
    assert 110 <= half.report.trained <= 190 and balanced(half.report)
    assert half.report.dropped == {"left out by weight": 300 - half.report.trained}
    assert texts(run(*rows, weight=0.5, seed=1)) != texts(half) == texts(run(*rows, weight=0.5))
    more = run(*rows, weight=1.5).report
    assert more.trained == 300 and 410 <= more.samples <= 490


def test_held_out_rows_are_there_once_whatever_the_weight(run: Callable[..., Prepared]) -> None:
    prepared = run(*[row(number) for number in range(200)], weight=3, holdout=0.3)
    assert len(texts(prepared, "held_out")) == prepared.report.held_out > 0


def test_several_data_sets_are_mixed(
    tmp_path: Path, encoder: Callable[..., Encoder], write: Callable[..., Path]
) -> None:
    feeds = [
        Feed(open_source(write([row(1), row(2)], "one.jsonl")), question),
        Feed(open_source(write([row(3)], "two.jsonl")), question, None, 2.0),
    ]
    prepared = prepare(feeds, encoder(), pack=False, cache_dir=tmp_path / "cache")
    where = [prepared.dataset.train.where(pack) for pack in range(len(prepared.dataset.train))]
    assert where == [["one.jsonl, line 1"], ["one.jsonl, line 2"], ["two.jsonl, line 1"], ["two.jsonl, line 1"]]


def test_packs_survive_the_way_to_a_worker_process(run: Callable[..., Prepared]) -> None:
    packs = run(row(1), row(2), row(3)).dataset.train
    copy = pickle.loads(pickle.dumps(packs))
    assert len(copy) == len(packs) and np.array_equal(copy[0].ids, packs[0].ids)
    with pytest.raises(IndexError):
        packs[len(packs)]


def test_reports_go_through_json_and_print(run: Callable[..., Prepared]) -> None:
    from rich.console import Console

    report = run(row(1), row(2), {"q": "", "a": ""}, weight=2).report
    assert Report.from_json(json.loads(json.dumps(report.to_json()))) == report
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(report.table())
    printed = console.export_text()
    for line in ("rows read", "66.7%", "dropped: empty", "rows.jsonl, line 3", "rows times their weight", "% full"):
        assert line in printed


def test_reasons_without_end_are_counted_together() -> None:
    report = Report()
    for number in range(100):
        report.drop_for(DataError(f"reason {number}: got `x`; mend it"), "place")
    assert len(report.dropped) == REASONS + 1 and report.dropped[OTHER] == 100 - REASONS


def test_real_alpaca_files(shared: Path, tmp_path: Path) -> None:
    """With a byte-level tokenizer of a real vocabulary, all rows of both languages are packed without waste."""
    from transformers import AutoTokenizer

    from xtune.mappers.alpaca import alpaca
    from xtune.registries import components

    tokenizer = AutoTokenizer.from_pretrained(shared / "data/tokenizers/qwen3")
    encoder = Encoder(components([]).templates["chatml"], tokenizer, max_length=2048)
    files = [shared / f"data/datasets/alpaca_{language}_demo.json" for language in ("en", "zh")]
    report = prepare([Feed(open_source(file), alpaca) for file in files], encoder, cache_dir=tmp_path).report
    assert report.read == sum(len(json.loads(file.read_text())) for file in files) and balanced(report)
    assert report.packs - report.fewest_packs <= 1


def test_writing_and_opening_samples_does_not_import_pandas(tmp_path: Path) -> None:
    """pyarrow's conversions from and to numpy do, where it is installed: half a second of every start."""
    pytest.importorskip("pandas")
    program = (
        "import sys; import numpy as np; from pathlib import Path\n"
        "from xtune.data.samples import SampleWriter, Samples\n"
        "file, ids = Path(sys.argv[1]), np.arange(3, dtype=np.int32)\n"
        "with SampleWriter(file) as writer: writer.write([(ids, ids)], ['row 一'])\n"
        "print(Samples(file).where(0), Samples(file)[0][1].tolist(), 'pandas' in sys.modules)"
    )
    command = [sys.executable, "-X", "utf8", "-c", program, str(tmp_path / "samples.arrow")]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    assert done.stdout == "row 一 [-100, 1, 2] False\n"


def test_the_fingerprint_is_of_ids_labels_and_packs_alone(run: Callable[..., Prepared], tmp_path: Path) -> None:
    rows = [row(number, "a" * (number % 9 + 1)) for number in range(60)]
    whole = run(*rows).dataset
    assert whole.train.fingerprint != whole.held_out.fingerprint
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xtune.data.prepare.WRITTEN_AT_ONCE", 7)  # however the samples are written
        assert run(*rows, cache_dir=tmp_path / "other").dataset.train.fingerprint == whole.train.fingerprint
    assert run(*rows, pack=False).dataset.train.fingerprint != whole.train.fingerprint
    others = [*rows[:-1], row(59, "b" * 6)], rows[:-1], [*rows[1:], rows[0]]
    found = {run(*other).dataset.train.fingerprint for other in others}
    assert len(found) == 3 and whole.train.fingerprint not in found
