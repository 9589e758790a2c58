"""The quick way into an Assembly: what conversations with the same roles have in common is worked out once.

A skeleton is read off what the slow way makes of a conversation whose texts are marks, so a prompt is put together in
one place only. A conversation with a text that may be treated otherwise than a mark goes the slow way itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import NamedTuple

from xtune.conversation import Conversation, Turn
from xtune.encoding.assembly import Assembly, Segment
from xtune.encoding.boundaries import TokenBoundaries
from xtune.encoding.plain_text import Control
from xtune.templates.render import Form, Learn, pieces

MARK = re.compile("\ue000turn (\\d+)\ue001")
MOST = 256  # skeletons: turns with flags of their own would make them without number
LONGEST = 64  # turns that a skeleton is made of

Offset = tuple[int, int]
"""A place in a text to be filled in: how many characters of the template and how many turns' texts are before it."""


class Slots(NamedTuple):
    """A text that those of consecutive turns are put into."""

    segment: int
    form: str  # with a %s for each
    turns: slice
    inside: bool
    runs: Sequence[tuple[Offset, Offset]]  # what is learnt, where that is neither all nor nothing


class Skeleton(NamedTuple):
    """A conversation of an Assembly: ids of constant segments, and a number where a text's place is to be filled in."""

    segments: list[Segment]
    learnt: list[bool]
    slots: list[Slots]

    def fill(self, assembly: Assembly, texts: tuple[str, ...]) -> None:
        """Adds the conversation whose turns have these texts."""
        first = len(assembly.segments)
        assembly.segments += self.segments
        assembly.learnt += self.learnt
        for segment, form, turns, inside, runs in self.slots:
            text = form % texts[turns]
            if runs:
                before = [0, *accumulate(map(len, texts[turns]))]
                found = [(begin + before[i], end + before[j]) for (begin, i), (end, j) in runs]
                assembly.segments[first + segment] = assembly.place_of_runs(text, inside, found, first + segment)
            else:
                assembly.segments[first + segment] = assembly.place(text, inside)
        assembly.ends.append(len(assembly.segments))


class Skeletons:
    """Adds conversations of one template, by the skeleton of their roles where they have one. Threads share it."""

    def __init__(
        self, form: Form, learn: Learn, boundaries: TokenBoundaries, controls: Mapping[str, Control | None]
    ) -> None:
        self.form = form
        self.learn: Learn = learn
        self.boundaries = boundaries
        self.controls = controls
        self.made: dict[tuple[object, ...], Skeleton | None] = {}
        # a tool's result mostly has a filter that changes any text: conversations with one are judged when a skeleton
        # is made
        filters = {part.filter for name in form.parts if name != "tool" for part in form.parts[name] if part.filter}
        self.alters: list[Callable[[str], object]] = [partial(_changes, one) for one in filters]
        if form.markup:
            self.alters.append(form.markup.search)
        if form.template.thinking is not None:
            self.alters.append(re.compile("</think>").search)

    def add(self, assembly: Assembly, conversation: Conversation) -> None:
        """Adds one conversation. Raises DataError for a role that the template has no place for."""
        roles: list[object] = [conversation.plain]
        texts = []
        for turn in conversation.turns:
            roles += (turn.role, turn.learn)
            texts.append(turn.text)
        skeleton = self._of(tuple(roles), conversation) if self._are_like_marks(texts) else None
        if skeleton:
            skeleton.fill(assembly, tuple(texts))
        else:
            assembly.add(pieces(conversation, self.form, self.learn))

    def _are_like_marks(self, texts: list[str]) -> bool:
        """Whether texts are written as marks are: as they stand."""
        if not all(texts) or {*map(type, texts)} != {str} or len(texts) > LONGEST:
            return False
        return not any(alters(text) for alters in self.alters for text in texts)

    def _of(self, roles: tuple[object, ...], conversation: Conversation) -> Skeleton | None:
        try:
            known = roles in self.made
        except TypeError:  # a plugin's mapper gave a list for a role: the slow way tells
            return None
        if not known:
            if len(self.made) >= MOST:
                return None
            self.made[roles] = self._make(conversation)
        return self.made[roles]

    def _make(self, conversation: Conversation) -> Skeleton | None:
        """None where texts shape the segments in a way that slots do not show."""
        marked = [Turn(turn.role, f"\ue000turn {at}\ue001", turn.learn) for at, turn in enumerate(conversation.turns)]
        if not self._are_like_marks([turn.text for turn in marked]):
            return None
        rendered = pieces(Conversation(tuple(marked), conversation.plain), self.form, self.learn)
        tokens = [self.controls[text] for text, _, control, _ in rendered if control]
        if any(token.lstrip or token.rstrip for token in tokens if token):
            return None
        if any(turn.role == "tool" for turn in marked) and any(part.filter for part in self.form.parts["tool"]):
            return None
        assembly = Assembly(self.boundaries, self.controls)
        assembly.add(rendered)
        skeleton = Skeleton([], [], [])
        for segment, learn in zip(assembly.segments, assembly.learnt, strict=True):
            if isinstance(segment, int) and (segment in assembly.runs or MARK.search(assembly.texts[segment])):
                slots = _slots(assembly, segment, len(skeleton.segments))
                if slots is None:
                    return None
                skeleton.slots.append(slots)
            elif isinstance(segment, int):
                (segment,) = self.boundaries.plain.encode([assembly.texts[segment]], [assembly.inside[segment]])
            before = skeleton.segments[-1] if skeleton.segments else 0
            if isinstance(segment, list) and isinstance(before, list) and skeleton.learnt[-1] == learn:
                skeleton.segments[-1] = before + segment
            else:
                skeleton.segments.append(segment)
                skeleton.learnt.append(learn)
        return skeleton


def _slots(assembly: Assembly, place: int, segment: int) -> Slots | None:
    """A text with marks. None where they are not those of consecutive turns."""
    text = assembly.texts[place]
    marks = list(MARK.finditer(text))
    turns = [int(mark[1]) for mark in marks]
    first = turns[0] if turns else 0
    if turns != list(range(first, first + len(turns))):
        return None

    def offset(at: int) -> Offset:
        before = [mark for mark in marks if mark.end() <= at]
        return at - sum(len(mark[0]) for mark in before), len(before)

    runs = [(offset(begin), offset(end)) for begin, end in assembly.runs.get(place, ())]
    form = MARK.sub("%s", text.replace("%", "%%"))
    return Slots(segment, form, slice(first, first + len(turns)), assembly.inside[place], runs)


def _changes(change: Callable[[str], str], text: str) -> bool:
    return change(text) != text
