"""Rows that the tests of converting train on."""

import json

import pytest


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    file = tmp_path_factory.mktemp("rows") / "行.json"
    file.write_text(
        json.dumps([{"instruction": f"{i} plus {i}?", "input": "", "output": f"{2 * i}."} for i in range(40)])
    )
    return file
