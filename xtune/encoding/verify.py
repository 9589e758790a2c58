"""A template against the chat template that a tokenizer carries, id for id."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from typing import TYPE_CHECKING

from xtune.conversation import Conversation, Turn
from xtune.encoding.encoder import Encoder
from xtune.errors import ModelError, XtuneError
from xtune.templates.own_jinja import RefusedConversation, UnusableTemplate, own_ids, own_template
from xtune.templates.render import pieces
from xtune.templates.template import ChatTemplate

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TODAY = datetime(2024, 7, 26)
"""The day on which templates that write the date are compared: the one that Llama's names."""
LIMIT = 5_000_000
"""What the tokenizer's own template may use up for each of these short conversations."""
SYSTEMS = (None, "You answer in one word. ", "\n你是一名医生。")
QUESTIONS = (
    "hi",
    "",
    "  two spaces",
    "ends with a line\n",
    "\n\nbegins with two",
    "你好，世界！",
    "😀 👩‍👩‍👧 é",
    "a\tb  c",
)
ANSWERS = ("ok", "", "\nnew line first", " spaces around ", "  two", "答案是：上海。", "```python\nx = 1\n```\n")


@dataclass(frozen=True)
class Difference:
    """A conversation whose ids differ: where (the first id that does), and both texts from a little before there on."""

    conversation: Conversation
    generation_prompt: bool
    position: int
    template_text: str
    tokenizer_text: str

    def __str__(self) -> str:
        roles = ", ".join(turn.role for turn in self.conversation.turns)
        prompt = ", as a chat prompt" if self.generation_prompt else ""
        return (
            f"{roles}{prompt}: ids differ from number {self.position} on\n"
            f"  the template writes  {self.template_text!r}\n"
            f"  the tokenizer's own  {self.tokenizer_text!r}"
        )


@dataclass(frozen=True)
class Comparison:
    """What came of all conversations: how many were alike, the differences, and how many its own template refuses.

    Of `answers` in them, `joined` begin inside a token of the prompt before them, which is not trained.
    """

    alike: int
    differences: tuple[Difference, ...]
    refused: int
    answers: int = 0
    joined: int = 0

    @property
    def total(self) -> int:
        return self.alike + len(self.differences) + self.refused


def conversations() -> Iterator[tuple[Conversation, bool]]:
    """Conversations to compare, each whole or as a chat prompt: one and several turns, with and without a system
    message, empty texts, white space at the ends, Chinese, emoji."""
    for number, (system, question) in enumerate(product(SYSTEMS, QUESTIONS)):
        first = [Turn("system", system)] if system is not None else []
        answer, other = (ANSWERS[(number + step) % len(ANSWERS)] for step in (0, 1))
        asked = [*first, Turn("user", question)]
        whole = [*asked, Turn("assistant", answer)]
        yield Conversation(tuple(asked)), True
        yield Conversation(tuple(whole)), False
        yield Conversation((*whole, Turn("user", "why?"), Turn("assistant", other))), False
        yield Conversation((*whole, Turn("user", question))), True


def compare(template: ChatTemplate, tokenizer: PreTrainedTokenizerBase) -> Comparison:
    """Encodes conversations both ways. Raises ModelError where the tokenizer carries no chat template that works."""
    return _compare(template, tokenizer, _own_ids(tokenizer))


def _compare(
    template: ChatTemplate, tokenizer: PreTrainedTokenizerBase, theirs: Sequence[list[int] | None]
) -> Comparison:
    encoder = Encoder(template, tokenizer)
    compared = [(*case, ids) for case, ids in zip(conversations(), theirs, strict=True) if ids is not None]
    planned = encoder.encode_whole(
        pieces(conversation, encoder.form, encoder.learn, prompt) for conversation, prompt, _ in compared
    )
    differences = tuple(
        _difference(tokenizer, conversation, prompt, ours.tokens.ids.tolist(), ids)
        for (conversation, prompt, ids), ours in zip(compared, planned, strict=True)
        if ours.tokens.ids.tolist() != ids
    )
    written = {(conversation.turns, prompt): ids for conversation, prompt, ids in compared}
    begun = [
        whole[: len(before)] == before
        for (turns, prompt), whole in written.items()
        if not prompt and (before := written.get((turns[:-1], True)))
    ]
    alike, refused = len(compared) - len(differences), len(theirs) - len(compared)
    return Comparison(alike, differences, refused, len(begun), begun.count(False))


def _own_ids(tokenizer: PreTrainedTokenizerBase) -> list[list[int] | None]:
    """Ids of all conversations by the tokenizer's own chat template; None where that template refuses one.

    Raises ModelError where there is none, and UnusableTemplate where it takes none of them: nothing is compared then.
    """
    own = own_template(tokenizer, LIMIT)
    if own is None:
        raise ModelError(
            f"there is nothing to compare with: got `{tokenizer.name_or_path}`, whose tokenizer carries no chat "
            "template",
            "give a model whose tokenizer does",
        )
    own.now = lambda: TODAY
    texts: list[str | None] = []
    refusals = []
    for conversation, prompt in conversations():
        messages = [{"role": turn.role, "content": turn.text} for turn in conversation.turns]
        try:
            texts.append(own.render(messages, add_generation_prompt=prompt, date_string=f"{TODAY:%d %b %Y}"))
        except RefusedConversation as error:
            texts.append(None)
            refusals.append(error.fact)
    if len(refusals) == len(texts):
        raise UnusableTemplate(
            f"none of {len(texts)} conversations could be compared: {refusals[0]}",
            "see xtune chat --prompt-template NAME for another template",
        )
    ids = iter(own_ids(tokenizer, [text for text in texts if text is not None]))
    return [None if text is None else next(ids) for text in texts]


def best_match(
    templates: dict[str, ChatTemplate], tokenizer: PreTrainedTokenizerBase
) -> tuple[list[str], tuple[str, Comparison] | None]:
    """Names of the templates that equal the tokenizer's own; and, where none does, the nearest one.

    Templates with control tokens that the tokenizer does not have are passed over. Raises ModelError as compare().
    """
    theirs = _own_ids(tokenizer)
    equal: list[str] = []
    nearest: tuple[str, Comparison] | None = None
    for name, template in templates.items():
        try:
            found = _compare(template, tokenizer, theirs)
        except XtuneError:
            continue
        if not found.differences:
            equal.append(name)
        elif nearest is None or found.alike > nearest[1].alike:
            nearest = name, found
    return equal, None if equal else nearest


def _difference(
    tokenizer: PreTrainedTokenizerBase,
    conversation: Conversation,
    generation_prompt: bool,
    ours: list[int],
    theirs: list[int],
) -> Difference:
    pairs = enumerate(zip(ours, theirs, strict=False))
    position = next((index for index, (one, other) in pairs if one != other), min(len(ours), len(theirs)))
    around = slice(max(0, position - 6), position + 10)
    texts = [str(tokenizer.decode(ids[around], skip_special_tokens=False)) for ids in (ours, theirs)]
    return Difference(conversation, generation_prompt, position, *texts)
