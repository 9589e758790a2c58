"""Recognises the format of data from its columns."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from xtune.errors import DataError

READS: dict[str, tuple[str, ...]] = {
    "alpaca": ("instruction", "output"),
    "alpaca_zh": ("instruction_zh", "output_zh"),
    "arxiv": ("abstract", "title"),
    "code_alpaca": ("prompt", "completion"),
    "colors": ("description", "color"),
    "conversation": ("conversation",),
    "crime_kg_assitant": ("input", "output"),
    "default": ("input", "output"),
    "law_reference": ("question", "answer"),
    "medical": ("Question", "Answer"),
    "medical_zh": ("instruction", "output"),
    "moss_sft": ("meta_instruction", "chat"),
    "msagent_react": ("conversations",),
    "oasst1": ("text",),
    "openai": ("messages",),
    "openorca": ("system_prompt", "question", "response"),
    "preference": ("chosen", "rejected"),
    "pretrain": ("text",),
    "self_identity": ("instruction", "output"),
    "sharegpt": ("conversations",),
    "sql": ("context", "question", "answer"),
    "stack_exchange": ("question", "response"),
    "tiny_codes": ("prompt", "response"),
    "wizardlm": ("conversations",),
}
"""The columns that each mapper cannot do without."""

GENERAL = (
    "preference", "moss_sft", "conversation", "openai", "sharegpt", "alpaca", "alpaca_zh", "openorca", "medical",
    "default", "stack_exchange", "pretrain",
)  # fmt: skip
"""The mappers that `choose` picks from, in this order: those that write no system message of their own."""

_TRACES = {
    "alpaca": ("self_identity", ("{{name}}", "{{author}}")),
    "pretrain": ("oasst1", ("### Human:",)),
    "sharegpt": ("msagent_react", ("<|startofthink|>",)),
}
"""What in the first rows speaks for another mapper of the same columns."""


def choose(columns: Collection[str], rows: Sequence[Mapping[str, Any]] = ()) -> str:
    """The name of the mapper for data with these columns; where several read them, the first `rows` decide.

    Raises DataError where none fits, with the mappers that would read these columns but write a system message.
    """
    name = next((name for name in GENERAL if set(READS[name]) <= set(columns)), None)
    if name is None:
        there = ", ".join(repr(str(column)) for column in columns) or "none"
        others = reads(columns)
        advice = (
            f"--mapper {' or '.join(others)} would read these, with a system message of its own; or " if others else ""
        )
        raise DataError(
            f"the format is not recognised: got columns {there[:300]}",
            f"{advice}choose --mapper default with options input=COLUMN output=COLUMN",
        )
    other, traces = _TRACES.get(name, ("", ()))
    if other:
        seen = " ".join(_text(row.get(column)) for row in rows for column in READS[name])
        if any(trace in seen for trace in traces):
            return other
    return name


def _text(value: Any) -> str:
    try:
        return str(value)
    except RecursionError:  # lists in lists, hundreds deep
        return ""


def reads(columns: Collection[str]) -> list[str]:
    """Names of the mappers whose columns are all there, the general ones first."""
    order = dict.fromkeys([*GENERAL, *READS])
    return [name for name in order if set(READS[name]) <= set(columns)]
