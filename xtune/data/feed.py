"""Rows -> conversations or preferences: what each set of a mix gives; which rows are taken, how often, for what."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from xtune.atomic import text_digest
from xtune.conversation import Conversation, Preference, Row, Turn
from xtune.encoding.outcome import Outcome
from xtune.errors import DataError
from xtune.sources.limits import BATCH_CHARACTERS, ROW_CHARACTERS
from xtune.text import one_line

if TYPE_CHECKING:
    from xtune.data.report import Report
    from xtune.sources.source import Source

BATCH = 256  # rows that the tokenizer takes in one call
PROBE = 20  # rows at the start of a data set that may not all be malformed


class Feed(NamedTuple):
    """One data set of a mix: where its rows come from and what makes conversations of them.

    `system` is the system message of conversations that have none. `weight` is how often a row is seen in an epoch:
    2 is twice, 0.5 takes one row of two, chosen by content and seed.
    """

    source: Source
    mapper: Callable[[Mapping[str, Any]], Row]
    system: str | None = None
    weight: float = 1.0


@dataclass
class Choice:
    """Which rows are taken. `holdout` is the share (0 to 1) kept for evaluation, by content alone: it never moves."""

    deduplicate: bool
    holdout: float
    seed: int
    seen: set[bytes] = field(default_factory=set)

    def judge(self, row: Row, weight: float) -> tuple[int, bool, Outcome]:
        """(times in an epoch, whether held out, why dropped or WHOLE)."""
        whole = int(weight)
        if not self.deduplicate and not self.holdout and weight == whole:
            return whole, False, Outcome.WHOLE
        digest = content_digest(row)
        if self.deduplicate:
            if digest in self.seen:
                return 0, False, Outcome.DUPLICATE
            self.seen.add(digest)
        copies = whole + (_fraction(digest + self.seed.to_bytes(8, "little")) < weight - whole)
        if not copies:
            return 0, False, Outcome.LEFT_OUT
        return (1, True, Outcome.WHOLE) if _fraction(digest) < self.holdout else (copies, False, Outcome.WHOLE)


class Mapped(NamedTuple):
    """A mapped row on its way to the encoder: the place it came from, how often an epoch sees it, and its split."""

    row: Row
    where: str
    copies: int
    held_out: bool


def map_rows(feed: Feed, choice: Choice, report: Report, takes: type[Row] = Conversation) -> Iterator[list[Mapped]]:
    """Batches of a feed's rows. Those that give nothing are counted in `report`, with the reason.

    Raises DataError where all of the first PROBE rows are malformed, or all rows of a shorter data set, and where one
    is not of the type that the objective `takes`: then it is not the rows that are wrong but the mapper.
    """
    batch: list[Mapped] = []
    rows = malformed = characters = 0
    for row in feed.source.read():
        rows += 1
        report.read += 1
        if isinstance(row, DataError):
            where, problem = "", row
        else:
            where = row.where
            found, size = measured(feed.mapper, row.values)
            if isinstance(found, takes):
                _take(found, where, feed, choice, batch, report)
                characters += size
                if len(batch) == BATCH or (characters > BATCH_CHARACTERS and batch):
                    yield batch
                    batch, characters = [], 0
                continue
            if not isinstance(found, DataError):
                raise _other_type(f"{where}: mapper {_name(feed.mapper)}", found)
            problem = found
        malformed += 1
        report.drop_for(problem, where)
        if malformed == rows == PROBE:
            raise _all_fail(report, f"the first {PROBE} rows")
    if rows and malformed == rows:
        raise _all_fail(report, "all rows")
    if batch:
        yield batch


def _other_type(mapper: str, found: Row) -> DataError:
    """The error for a row that is not of the type that the objective takes."""
    if isinstance(found, Preference):
        return DataError(
            f"{mapper} gives preference pairs, and the objective trains on conversations",
            "set objective.name=dpo, or the mapper's option take=chosen",
        )
    return DataError(
        f"{mapper} gives conversations, and the objective trains on preference pairs",
        "set mapper=preference for rows with two answers, or objective.name=sft",
    )


def _all_fail(report: Report, which: str) -> DataError:
    first = next(reversed(report.examples.values()))[0].partition("; ")[0]
    return DataError(f"{first} ({which} fail)", "choose the mapper that fits: xtune list-mappers")


def mapped(mapper: Callable[..., Any], values: Mapping[str, Any]) -> Row | DataError:
    """What a mapper makes of a row. A plugin's mapper may raise anything: that spoils the row, not the run."""
    return measured(mapper, values)[0]


def measured(mapper: Callable[..., Any], values: Mapping[str, Any]) -> tuple[Row | DataError, int]:
    """As mapped(), and the characters of the row: 0 for an error."""
    try:
        found = mapper(values)
    except (DataError, KeyboardInterrupt) as error:
        if isinstance(error, DataError):
            return error, 0
        raise
    except BaseException as error:
        problem = DataError(
            f"mapper {_name(mapper)} fails with {type(error).__name__}: got `{one_line(str(error))}`",
            "check the row, or the mapper",
        )
        return problem, 0
    if not isinstance(found, (Conversation, Preference)):
        what = f"mapper {_name(mapper)} gives no conversation: got {type(found).__name__}"
        return DataError(what, "return an xtune.Conversation or xtune.Preference from it"), 0
    if (characters := length(found)) > ROW_CHARACTERS:
        most = f"{ROW_CHARACTERS:,} characters"
        return DataError(f"the text has more than {most}: got {characters:,}", "split it into several rows"), 0
    return found, characters


def length(row: Row) -> int:
    """Characters of all turns that have text, which a plugin's mapper may not have made."""
    return sum(len(turn.text) for part in row.parts for turn in part.turns if isinstance(turn.text, str))


def _name(mapper: Callable[..., Any]) -> str:
    while isinstance(mapper, partial):
        mapper = mapper.func
    return getattr(mapper, "__name__", repr(mapper))


def _take(found: Row, where: str, feed: Feed, choice: Choice, batch: list[Mapped], report: Report) -> None:
    """Appends a row to the batch, or counts why not."""
    if not all(part.turns for part in found.parts):
        report.drop(Outcome.EMPTY, where)
        return
    copies, held_out, outcome = choice.judge(found, feed.weight)
    if not outcome.is_kept:
        report.drop(outcome, where)
        return
    report.pass_over({name for part in found.parts for name in part.unread}, where)
    batch.append(Mapped(found if feed.system is None else with_system(found, feed.system), where, copies, held_out))


def with_system(row: Row, system: str) -> Row:
    """The row with `system` before each conversation, unless that has a system message or is plain text."""
    if isinstance(row, Preference):
        return Preference(*(_with_system(part, system) for part in row.parts))
    return _with_system(row, system)


def _with_system(conversation: Conversation, system: str) -> Conversation:
    if conversation.plain or conversation.turns[0].role == "system":
        return conversation
    return Conversation((Turn("system", system), *conversation.turns))


def content_digest(row: Row) -> bytes:
    """128 bits that identify what a row says."""
    said = [[part.plain, [(turn.role, turn.text, turn.learn) for turn in part.turns]] for part in row.parts]
    return bytes.fromhex(text_digest(json.dumps(said if len(said) > 1 else said[0])))


def _fraction(content: bytes) -> float:
    """A number in [0, 1) that looks random and depends on `content` alone."""
    return int(text_digest(content)[:13], 16) / 16**13
