"""Conversation -> spans: the one place where a prompt is put together.

The text a person reads, what is trained on, and the prompt of a chat all come from the pieces made here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from xtune.conversation import Conversation, Turn
from xtune.errors import DataError
from xtune.templates.template import BOS, EOS, FILTERS, SLOT, ChatTemplate

Learn = Literal["assistant", "last", "all"]

Piece = tuple[str, bool, bool, bool]
"""The fields of Span: text, learn, control, cut. Millions are made while data is prepared."""

PLAIN = ChatTemplate(user="{text}", assistant=BOS)
"""How plain text is written: as an answer to nothing."""


def end_strings(template: ChatTemplate) -> list[str]:
    """Strings that end a generated answer: those of `end`, by token, and `stop`."""
    ends = [part.text.strip() for part in form_of(template).parts["end"]]
    return list(dict.fromkeys(text for text in (*ends, *template.stop) if text))


class Part(NamedTuple):
    """A part of a template's string: a piece ready to be written (not trained on, trained), or a slot to be filled."""

    text: str
    slot: str
    cut: bool
    filter: Callable[[str], str] | None
    ready: tuple[Piece, Piece]


class Form(NamedTuple):
    """A template whose strings are split into parts, made once per template."""

    template: ChatTemplate
    parts: dict[str, Sequence[Part]]
    markup: re.Pattern[str] | None


@lru_cache(maxsize=64)
def form_of(template: ChatTemplate) -> Form:
    """The template's strings, split at slots and control tokens."""
    controls = {BOS, EOS, *template.control, *template.markup}
    names = "|".join(re.escape(name) for name in sorted(controls, key=len, reverse=True))
    pattern = re.compile(rf"({names}|{re.sub(r'[(](?![?])', '(?:', SLOT.pattern)})")

    def split(field: str) -> tuple[Part, ...]:
        cuts_text = template.cut == "turn" or (template.cut == field == "answer")
        parts: list[Part] = []
        for value in filter(None, pattern.split(getattr(template, field) or "")):
            slot = SLOT.fullmatch(value)
            name = slot[1] if slot else ""
            before = parts[-1] if parts else None
            at_text = cuts_text and (name == "text" or bool(before and before.slot == "text"))
            cut = at_text or bool(before and before.text == BOS)
            ready = (value, False, value in controls, cut), (value, True, value in controls, cut)
            parts.append(Part(value, name, cut, FILTERS[slot[2]][0] if slot and slot[2] else None, ready))
        return tuple(parts)

    markup = re.compile("(" + "|".join(map(re.escape, template.markup)) + ")") if template.markup else None
    return Form(template, {field: split(field) for field in STRINGS}, markup)


STRINGS = (
    "begin", "between", "system", "system_in_user", "user", "tools_begin", "tool", "tools_end",
    "assistant", "answer", "thinking_prompt", "thinking", "end", "tail", "close",
)  # fmt: skip
"""The fields of ChatTemplate that are rendered."""


def pieces(conversation: Conversation, form: Form, learn: Learn, generation_prompt: bool = False) -> list[Piece]:
    """What render() does, as plain tuples, for a template's form."""
    writer = _Writer(form_of(PLAIN) if conversation.plain else form, learn, conversation.turns)
    for index, turn in enumerate(writer.turns):
        if turn.role == "assistant":
            writer.answer(index, turn)
        elif turn.role == "user":
            writer.question(index, turn)
        elif turn.role == "tool" and form.template.tool:
            writer.tool(index, turn)
        else:
            raise DataError(*_no_place(turn, form.template))
    if writer.system and conversation.turns and conversation.turns[0].role == "system":
        raise DataError(
            "the chat template writes the system message into the first question: got a conversation without a "
            "question",
            "add one, or drop the system message",
        )
    writer.close(generation_prompt)
    return writer.out


class _Writer:
    """Writes the pieces of one conversation."""

    __slots__ = ("all", "asked", "every", "form", "last_answer", "open_end", "out", "rounds", "system", "turns")

    def __init__(self, form: Form, learn: Learn, turns: tuple[Turn, ...]) -> None:
        self.form = form
        self.all = learn == "all"
        self.every = learn != "last"  # whether each answer is trained on, or only the last one
        self.out: list[Piece] = []
        self.rounds = 0
        self.open_end = False  # whether the answer before is trained on and still lacks the token that ends it
        self.system = form.template.default_system  # and later: the one that waits for the first question
        system_learn = self.all
        if turns and turns[0].role == "system":
            self.system, system_learn, turns = turns[0].text, self.all or bool(turns[0].learn), turns[1:]
        self.turns = turns
        roles = [turn.role for turn in turns]
        self.last_answer = _last(roles, "assistant")
        self.asked = _last(roles, "user") if "user" in roles else len(roles) - 1
        self.write("begin", self.all)
        if self.system is not None and not form.parts["system_in_user"]:
            self.write("system", self.all, self.system, system_learn)
            self.system = None

    def write(
        self, name: str, learn: bool, text: str = "", learn_text: bool = False, thinking: str = "", after: str = ""
    ) -> None:
        """Writes a string of the template; the text in it is trained on apart from what stands around it."""
        append = self.out.append
        for _, slot, cut, act, ready in self.form.parts[name]:
            if not slot:
                append(ready[learn])
                continue
            if slot == "text":
                value = text
            elif slot == "system":
                value = self.system or ""
            elif slot == "round":
                value = str(self.rounds)
            else:
                value = thinking if slot == "thinking" else after
            append((act(value) if act else value, learn_text if slot == "text" else learn, False, cut))

    def question(self, index: int, turn: Turn) -> None:
        self.rounds += 1
        if index and self.turns[index - 1].role == "assistant":
            self.write("between", self.all)
        start = len(self.out)
        learn = _trained(turn, self.all)
        name = "user" if self.system is None else "system_in_user"
        self.write(name, self.all, turn.text, learn)
        of_template = not self.form.parts[name][0].slot  # and no question that says the same
        if self.open_end and of_template and self.out[start][0] == self.form.template.end:
            text, _, control, cut = self.out[start]
            self.out[start] = (text, True, control, cut)
        self.system, self.open_end = None, False

    def tool(self, index: int, turn: Turn) -> None:
        if not index or self.turns[index - 1].role != "tool":
            self.write("tools_begin", self.all)
        self.write("tool", self.all, turn.text, _trained(turn, self.all))
        if index + 1 == len(self.turns) or self.turns[index + 1].role != "tool":
            self.write("tools_end", self.all)

    def answer(self, index: int, turn: Turn) -> None:
        template = self.form.template
        last = index + 1 == len(self.turns)
        learn = _trained(turn, self.every or index == self.last_answer)
        name, text, thinking, after = "answer", turn.text, "", turn.text
        if template.thinking is not None:
            thinking, text, after = split_thinking(text)
            if index > self.asked and (last or thinking):
                name = "thinking"
            elif index < self.asked and turn.learn is None:  # the model would have written it with its reasoning
                learn = self.all
        self.write("assistant", self.all)
        if name == "thinking":
            self.write("thinking_prompt", self.all)
        start = len(self.out)
        self.write(name, learn, text, learn, thinking, after)
        if self.form.markup:
            self.out[start:] = _spelled(self.out[start:], self.form.markup)
        ends = last or template.end_in_history
        if ends:
            self.write("end", learn)
        self.open_end = learn and not ends
        self.write("tail", self.all)

    def close(self, generation_prompt: bool) -> None:
        if generation_prompt:
            self.write("assistant", self.all)
            self.write("thinking_prompt", self.all)
        else:
            self.write("close", self.all)


def _trained(turn: Turn, usual: bool) -> bool:
    """What the turn says of itself; else what is usual."""
    return usual if turn.learn is None else bool(turn.learn)


def split_thinking(text: str) -> tuple[str, str, str]:
    """An answer's reasoning without its tags, the answer itself, and the answer as it stands after the reasoning."""
    if "</think>" not in text:
        return "", text, text
    after = text.split("</think>")[-1]
    return text.split("</think>")[0].split("<think>")[-1].strip("\n"), after.lstrip("\n"), after


def _spelled(written: list[Piece], markup: re.Pattern[str]) -> list[Piece]:
    """The pieces of an answer, with the control tokens that its own text spells."""
    out: list[Piece] = []
    for text, learn, control, cut in written:
        if control or not markup.search(text):
            out.append((text, learn, control, cut))
        else:
            out += [(part, learn, bool(markup.fullmatch(part)), False) for part in markup.split(text) if part]
    return out


def _last(roles: list[str], role: str) -> int:
    for index in range(len(roles) - 1, -1, -1):
        if roles[index] == role:
            return index
    return -1


def _no_place(turn: Turn, template: ChatTemplate) -> tuple[str, str]:
    if turn.role == "system":
        return "a system message comes first or not at all: got one after another turn", "move it to the start"
    known = ["system", "user", "assistant", *(["tool"] if template.tool else [])]
    return f"the chat template has no place for this role: got {turn.role!r}", f"use {', '.join(known)}"
