"""The fingerprint of a data set is that of its rows: prepared data is found again by it, and only then."""

import json

import pytest

from xtune.compat.datasets import fingerprint


@pytest.fixture
def load(tmp_path):
    import datasets

    def of(*answers: int, cache: str = "cache"):
        file = tmp_path / f"{answers}.json"
        if not file.exists():
            file.write_text("\n".join(json.dumps({"answer": answer}) for answer in answers))
        place = str(tmp_path / cache)
        return datasets.load_dataset("json", data_files=str(file), cache_dir=place, split="train")

    return of


def test_the_same_rows_have_the_same_one_each_time_that_they_are_loaded(load):
    first = fingerprint(load(1, 2))
    assert first == fingerprint(load(1, 2)) != ""
    assert first == fingerprint(load(1, 2, cache="of another machine"))


def test_other_rows_have_another_one(load):
    rows = load(1, 2)
    others = [load(1, 3), load(2, 1), rows.select(range(1)), rows.rename_column("answer", "output")]
    found = [fingerprint(one) for one in (rows, *others)]
    assert len(set(found)) == len(found)
