"""Text -> ids, and the token boundaries of runs of its characters, which give the loss mask."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from tokenizers import Encoding

    from xtune.encoding.plain_text import PlainText

Runs = Sequence[tuple[int, int]]
"""Where runs begin and end, in characters or in ids: ascending, apart from each other."""

LEAD = 64  # characters: a template's words before an answer, such as "assistant\n", are no longer
LEADS = 64  # so many are remembered; a template has one or two, questions that stand there are without number


class Split(NamedTuple):
    """The token boundary at a character offset: how many tokens end at or before it, and the first that begins at or
    after it. They differ where a token straddles the offset."""

    ended: int
    begun: int


class TokenBoundaries:
    """Encodes with one PlainText, and finds the token boundaries of runs of characters. Threads share it."""

    def __init__(self, plain: PlainText) -> None:
        self.plain = plain
        self.leads: dict[tuple[str, bool], list[int]] = {}

    def encode(
        self, texts: Sequence[str], inside: Sequence[bool], runs: Mapping[int, Runs]
    ) -> tuple[list[list[int]], dict[int, Runs]]:
        """The ids of each text; and of those with `runs` of characters, by index, the ids that stand in them whole.

        Most of these are words of the template, or a question between such, and then an answer: where their ids begin
        with the ids of what stands before the answer, the answer's begin there. For the others Rust is asked for
        offsets, which takes it up to half as long again.
        """
        leads = {at: lead for at, places in runs.items() if (lead := self._lead(texts[at], inside[at], places))}
        leads |= self._leads_of_their_own(texts, inside, {at: places for at, places in runs.items() if at not in leads})
        slow = runs.keys() - leads.keys()
        if slow:
            ids: list[list[int]] = [[]] * len(texts)
            fast = [at for at in range(len(texts)) if at not in slow]
            for at, found in zip(fast, self.plain.encode(*_of(fast, texts, inside)), strict=True):
                ids[at] = found
        else:
            ids = self.plain.encode(texts, inside)
        runs_of_ids: dict[int, Runs] = {}
        for at, lead in leads.items():
            if ids[at][: len(lead)] == lead:
                runs_of_ids[at] = [(len(lead), len(ids[at]))]
            else:
                slow.add(at)
        rest = sorted(slow)
        for at, (found, encoding) in zip(rest, self.plain.encode_with_offsets(*_of(rest, texts, inside)), strict=True):
            ids[at] = found
            split = partial(self._split, encoding, texts[at], found, inside[at])
            runs_of_ids[at] = [(split(begin).begun, split(end).ended) for begin, end in runs[at]]
        return ids, runs_of_ids

    def _lead(self, text: str, inside: bool, runs: Runs) -> list[int] | None:
        """The ids of what stands before the one run of a text, if that is short and the run goes to the end."""
        begin, end = runs[0]
        if begin > LEAD or end != len(text):
            return None
        key = text[:begin], inside
        if key not in self.leads:
            if len(self.leads) >= LEADS:
                return None
            self.leads[key] = self._ids_of_lead(*key)
        return self.leads[key]

    def _leads_of_their_own(
        self, texts: Sequence[str], inside: Sequence[bool], runs: Mapping[int, Runs]
    ) -> dict[int, list[int]]:
        """The ids of what stands before the one run of a text, such as a question, if that is a small part of it."""
        if self.plain.start is None:
            return {}
        short = [at for at, [(begin, end), *_] in runs.items() if 3 * begin < end == len(texts[at])]
        before = [texts[at][: runs[at][0][0]] for at in short]
        encoded = self.plain.encode_with_offsets(before, [inside[at] for at in short])
        whole = zip(short, before, encoded, strict=True)
        return {at: ids for at, text, (ids, encoding) in whole if ids and _ends(encoding, text)}

    def _ids_of_lead(self, text: str, inside: bool) -> list[int]:
        """The ids of a text that others begin with; none where they do not end where the text does, or change as soon
        as a word follows."""
        (ids, encoding), (longer, _) = self.plain.encode_with_offsets([text, text + "a"], [inside, inside])
        return ids if ids and _ends(encoding, text) and longer[: len(ids)] == ids else []

    def _split(self, encoding: Encoding | None, text: str, ids: list[int], inside: bool, place: int) -> Split:
        """By the offsets of a Rust encoding, where there are some; asking for one of them costs a hundredth of asking
        for all."""
        if encoding is None:
            return self._split_slowly(text, ids, inside, place)
        if place in (0, len(text)):
            at = 0 if place == 0 else len(encoding)
            return Split(at, at)
        found = encoding.char_to_token(place)
        if found is not None and (chars := encoding.token_to_chars(found)) and chars[0] == place:
            return Split(found, found)
        begins, ends = zip(*encoding.offsets, strict=True)
        return Split(bisect_right(ends, place), bisect_left(begins, place))

    def _split_slowly(self, text: str, ids: list[int], inside: bool, place: int) -> Split:
        """Without offsets: where the ids begin with those of the text before, there; else by decoding."""
        if place >= len(text):
            return Split(len(ids), len(ids))
        before = self.plain.encode([text[:place]], [inside])[0]
        if ids[: len(before)] == before:
            return Split(len(before), len(before))
        counts = range(len(ids) + 1)

        def length(count: int) -> int:
            return len(self.plain.tokenizer.decode(ids[:count]))

        return Split(bisect_right(counts, place, key=length) - 1, bisect_left(counts, place, key=length))


def _ends(encoding: Encoding | None, text: str) -> bool:
    """Whether the last id ends where the text does."""
    chars = encoding.token_to_chars(len(encoding) - 1) if encoding else None
    return chars is not None and chars[1] == len(text)


def _of(chosen: Sequence[int], *columns: Sequence[Any]) -> list[list[Any]]:
    """The chosen rows of each column."""
    return [[column[at] for at in chosen] for column in columns]
