"""check-custom-dataset counts every row, lists the first bad ones, and exits with 2 if any is or none is good."""

import json
from pathlib import Path

import openpyxl
import pytest
from hints import joined

from xtune.cli import main


def lines(folder: Path, *rows: object) -> str:
    file = folder / "x.jsonl"
    file.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return str(file)


def checked(capsys: pytest.CaptureFixture, *args: str) -> tuple[int, str, str]:
    code = main(["check-custom-dataset", *args])
    out, err = map(joined, capsys.readouterr())
    return code, out, err


def test_good_rows(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file = lines(tmp_path, {"instruction": "a", "output": "b"}, {"instruction": "a", "output": ""})
    code, out, _ = checked(capsys, file)
    assert code == 0
    assert out.splitlines() == [
        f"{file}: mapper alpaca, by its columns",
        "rows           2",
        "conversations  1",
        "empty          1",
        "bad            0",
        "without a question or an answer, left out:",
        "  x.jsonl, line 2",
    ]


def test_a_file_of_empty_rows_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    code, out, _ = checked(capsys, lines(tmp_path, *[{"instruction": "a", "output": ""}] * 2))
    assert code == 2 and "conversations  0\nempty          2\nbad            0\n" in out
    assert "no row gives a conversation: choose another --mapper, or name the columns with --options\n" in out


def test_messages_in_the_column_conversation_are_recognised(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    row = {"conversation": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    code, out, _ = checked(capsys, lines(tmp_path, row))
    assert code == 0 and "conversations  1\n" in out


def test_the_first_ten_bad_rows_are_listed_with_reasons(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file = lines(tmp_path, {"messages": []}, "{half", *[{"messages": number} for number in range(20)])
    code, out, _ = checked(capsys, file, "--mapper", "openai")
    assert code == 2
    head, listed = out.split("bad, the first 10:\n")
    assert "bad            21\n" in head and "rows           22\n" in head
    assert listed.splitlines()[0].startswith("  x.jsonl, line 2: the JSON is broken or truncated: got ")
    assert listed.splitlines()[1] == (
        "  x.jsonl, line 3: column `messages` should be a list: got a number, 0; choose another column or mapper"
    )
    assert len(listed.splitlines()) == 10


def test_a_file_that_breaks_off_is_checked_up_to_there(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "x.json").write_text('[{"text": "a"}, {"text": "b"')
    code, out, _ = checked(capsys, str(tmp_path / "x.json"))
    assert code == 2 and "conversations  1\n" in out and "  x.json, row 2: the JSON is broken or truncated" in out


def test_sheet_and_options(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    book = openpyxl.Workbook()
    for row in (["问题", "回答"], ["a", "b"]):
        book.create_sheet("数据") if "数据" not in book.sheetnames else None
        book["数据"].append(row)
    book.save(tmp_path / "x.xlsx")
    file = str(tmp_path / "x.xlsx")
    arguments = ["--mapper", "medical", "--sheet", "数据", "--options"]
    assert checked(capsys, file, *arguments, "question=问题", "answer=回答")[0] == 0
    code, _, err = checked(capsys, file, *arguments, "qestion=问题")
    assert code == 2 and err == "xtune: error: mapper medical has no option `qestion`; did you mean question?\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mapper", "alpaka"], "unknown mapper: got `alpaka`; did you mean alpaca"),
        (
            ["--mapper", "pretrain", "--options", "column=[a,b]"],
            "mapper pretrain, option column, should be text: got `['a', 'b']`; give one value",
        ),
        (["--sheet", "Main"], "x.jsonl has no sheets: got sheet `Main`"),
        (["--limit", "0"], "--limit should be at least 1: got `0`; leave it out to check all rows"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    code, out, err = checked(capsys, lines(tmp_path, {"text": "a"}), *arguments)
    assert code == 2 and message in err and err.count("\n") == 1 + err.count("\nhint: ") and not out


def test_a_mapper_that_gives_something_else(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    code, out, _ = checked(capsys, lines(tmp_path, {"text": "a"}), "--mapper", "json:dumps")
    assert code == 2
    assert (
        "  x.jsonl, line 1: mapper dumps gives no conversation: got str; return an "
        "xtune.Conversation or xtune.Preference from it\n"
    ) in out


def test_a_file_of_unreadable_rows_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    code, out, err = checked(capsys, lines(tmp_path, "{", "["))
    assert code == 2 and err.startswith("xtune: error: x.jsonl, line 1: the JSON is broken or truncated") and not out


def test_real_files(shared: Path, capsys: pytest.CaptureFixture) -> None:
    rows = {
        "alpaca_en_demo.json": 999, "alpaca_zh_demo.json": 1000, "dpo_zh_demo.json": 300, "wiki_demo.txt": 30,
        "MedInfo2019-QA-Medications.xlsx": 690,
    }  # fmt: skip
    for name, number in rows.items():
        code, out, _ = checked(capsys, str(shared / "data" / "datasets" / name))
        assert code == 0 and f"conversations  {number}\n" in out, out
    file = str(shared / "data" / "datasets" / "identity.json")
    assert checked(capsys, file, "--options", "name=Nova", "author=Lake")[0] == 0
    code, out, _ = checked(capsys, file)
    assert code == 2 and "conversations  6\n" in out and "bad            85\n" in out


def test_preference_pairs_are_checked_and_their_use_is_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file = lines(tmp_path, {"prompt": "q", "chosen": "a", "rejected": "b"})
    code, out, _ = checked(capsys, file)
    assert code == 0 and "conversations  1\n" in out
    takers, _, others = out.splitlines()[-1].partition("; ")
    assert takers.startswith("these are preference pairs, for objective.name=dpo") and "sft" not in takers
    assert others.startswith("for sft or ") and "add take=chosen to --options" in others
    assert "these are" not in checked(capsys, file, "--mapper", "preference", "--options", "take=chosen")[1]
