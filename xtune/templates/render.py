"""Conversation -> spans: the one place where a prompt is put together.

The text a person reads, what is learnt, and the prompt of a chat all come from the pieces made here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

from xtune.conversation import Conversation, Span, Turn
from xtune.errors import DataError
from xtune.templates.template import BOS, EOS, ChatTemplate

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Learn = Literal["assistant", "last", "all"]

SLOTS = ("{text}", "{system}", "{round}")


class Piece(NamedTuple):
    """The fields of Span, as a tuple: millions are made while data is prepared."""

    text: str
    learn: bool
    control: bool
    cut: bool


class Part(NamedTuple):
    """A part of a template's string: a literal, a control token, or a slot that a conversation fills."""

    text: str
    kind: Literal["literal", "control", "slot"]
    cut: bool


@dataclass(frozen=True, slots=True)
class Form:
    """A template whose strings are split into parts, made once per template."""

    begin: tuple[Part, ...]
    between: tuple[Part, ...]
    system: tuple[Part, ...]
    system_in_user: tuple[Part, ...]
    user: tuple[Part, ...]
    tool: tuple[Part, ...]
    assistant: tuple[Part, ...]
    answer: tuple[Part, ...]
    end: tuple[Part, ...]
    tail: tuple[Part, ...]


def render(
    conversation: Conversation,
    template: ChatTemplate | str,
    *,
    learn: Learn = "assistant",
    generation_prompt: bool = False,
) -> list[Span]:
    """The spans of a conversation; their texts joined are what the model reads, control tokens by name.

    `template` may be a registry name. `learn` "assistant" learns every answer and its end token, "last" only the last
    one's, "all" every token; a turn's own `learn` goes before it. With `generation_prompt` the text ends where the
    assistant starts to answer. `{bos}` and `{eos}` stand for the tokens of whatever tokenizer is used.
    Raises DataError for a role that the template has no place for.
    """
    return [Span(*piece) for piece in pieces(conversation, find_template(template), learn, generation_prompt)]


def find_template(template: ChatTemplate | str) -> ChatTemplate:
    """The template itself, or the one that the registry has by this name."""
    if isinstance(template, ChatTemplate):
        return template
    from xtune.plugins import components  # a name is a convenience of the public functions only

    found: ChatTemplate = components().templates[template]
    return found


def end_strings(template: ChatTemplate) -> list[str]:
    """Strings that end a generated answer: `end` and `stop`."""
    return list(dict.fromkeys(text for text in (template.end.strip(), *template.stop) if text))


def control_ids(strings: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[str]]:
    """Those of `strings` that are one token of the tokenizer, as ids, and the others; `{eos}` is its end token."""
    ids, others = [], []
    for text in strings:
        name = tokenizer.eos_token if text == EOS else text
        index = tokenizer.convert_tokens_to_ids(name) if name is not None else None
        if isinstance(index, int) and (index != tokenizer.unk_token_id or name == tokenizer.unk_token):
            ids.append(index)
        elif text != EOS:
            others.append(text)
    return ids, others


def pieces(
    conversation: Conversation, template: ChatTemplate, learn: Learn, generation_prompt: bool = False
) -> list[Piece]:
    """What render() does, as plain tuples. `template` must be a ChatTemplate."""
    turns = conversation.turns
    out: list[Piece] = []
    if conversation.plain:
        for turn in turns:
            learnt = turn.learn is not False
            out += (Piece(BOS, False, True, False), Piece(turn.text, learnt, False, True))
            out.append(Piece(EOS, learnt, True, False))
        return out
    form = form_of(template)
    everything = learn == "all"
    last = max((index for index, turn in enumerate(turns) if turn.role == "assistant"), default=-1)
    system = template.default_system
    if turns and turns[0].role == "system":
        system, turns, last = turns[0].text, turns[1:], last - 1
        system_learn = bool(conversation.turns[0].learn)
    else:
        system_learn = False
    if template.trim and system is not None:
        system = system.strip()
    _write(out, form.begin, everything, everything, "")
    if system is not None and not form.system_in_user:
        _write(out, form.system, everything, everything or system_learn, system)
        system = None
    rounds = 0
    answered = False
    for index, turn in enumerate(turns):
        text = turn.text.strip() if template.trim else turn.text
        if turn.role == "assistant":
            chosen = everything or learn == "assistant" or index == last
            chosen = chosen if turn.learn is None else turn.learn
            _write(out, form.assistant, everything, everything, "")
            _write(out, form.answer, chosen, chosen, text)
            if template.end_in_history or index == len(turns) - 1:
                _write(out, form.end, chosen, chosen, "")
            _write(out, form.tail, everything, everything, "")
            answered = True
            continue
        chosen = everything if turn.learn is None else turn.learn
        if turn.role == "user":
            rounds += 1
            if answered:
                _write(out, form.between, everything, everything, "")
            parts = form.user if system is None else form.system_in_user
            _write(out, parts, everything, chosen, text, system or "", rounds)
            system, answered = None, False
        elif turn.role == "tool" and form.tool:
            _write(out, form.tool, everything, chosen, text)
        else:
            raise DataError(_no_place(turn, template))
    if generation_prompt:
        _write(out, form.assistant, everything, everything, "")
    return out


def _write(
    out: list[Piece],
    parts: tuple[Part, ...],
    learn: bool,
    learn_text: bool,
    text: str,
    system: str = "",
    rounds: int = 0,
) -> None:
    """Appends parts with their slots filled; the turn's text is learnt apart from what is around it."""
    for value, kind, cut in parts:
        if kind == "literal":
            out.append(Piece(value, learn, False, cut))
        elif kind == "control":
            out.append(Piece(value, learn, True, cut))
        elif value == "{text}":
            out.append(Piece(text, learn_text, False, cut))
        else:
            out.append(Piece(system if value == "{system}" else str(rounds), learn, False, cut))


def _no_place(turn: Turn, template: ChatTemplate) -> str:
    if turn.role == "system":
        return "a system message comes first or not at all: got one after another turn; move it to the start"
    known = ["system", "user", "assistant", *(["tool"] if template.tool else [])]
    return f"the chat template has no place for this role: got {turn.role!r}; use {', '.join(known)}"


@lru_cache(maxsize=64)
def form_of(template: ChatTemplate) -> Form:
    """The template's strings, split at slots and control tokens."""
    names = [BOS, EOS, *SLOTS, *sorted(template.control, key=len, reverse=True)]
    pattern = re.compile("(" + "|".join(re.escape(name) for name in names) + ")")
    controls = {BOS, EOS, *template.control}

    def split(text: str | None) -> tuple[Part, ...]:
        parts: list[Part] = []
        for value in filter(None, pattern.split(text or "")):
            kind: Literal["literal", "control", "slot"] = (
                "control" if value in controls else "slot" if value in SLOTS else "literal"
            )
            before = parts[-1].text if parts else ""
            at_text = template.cut == "turn" and "{text}" in (value, before)
            parts.append(Part(value, kind, before == BOS or at_text))
        return tuple(parts)

    return Form(
        *(
            split(getattr(template, name))
            for name in (
                "begin", "between", "system", "system_in_user", "user", "tool", "assistant", "answer", "end", "tail"
            )
        )
    )  # fmt: skip
