"""The Jinja chat template that a tokenizer carries: a stranger's program, which is run within limits.

Rendering gives the text of transformers' `apply_chat_template(tokenize=False)`, at its speed. All that a template
makes, compares and walks over is counted (meter.py), so that none runs long or fills the memory; what no chat template
needs is not there. It is the same on every system, and needs no other process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from threading import Lock
from typing import TYPE_CHECKING, Any

from xtune.errors import ModelError
from xtune.foreign import foreign, reason
from xtune.text import one_line

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LONGEST = 200_000
"""Letters of a template; the longest of 180 public ones has 20,000."""
LIMIT = 50_000_000
"""What one rendering may use up, in bytes and nanoseconds or so."""
MORE = 512
"""What it may use up besides for each letter of the conversation, up to MOST; counted where the limit is reached."""
MOST = 300_000_000
PLAIN = {"tools": None, "documents": None, "add_generation_prompt": False}
"""What transformers gives every template, where the caller does not say otherwise."""
FILE = "<template>"
"""How Jinja names a template without a name in tracebacks."""
INSTEAD = "see `xtune list-templates` for others"


class UnusableTemplate(ModelError):
    """The chat template that a tokenizer carries cannot be compiled, or makes too much."""

    def __init__(self, fact: str, hint: str = INSTEAD) -> None:
        super().__init__(fact, hint)


class RefusedConversation(UnusableTemplate):
    """It does not take a conversation, or fails at it; it may take others."""


class OwnTemplate:
    """A compiled chat template; `values` are what it finds beside the messages, such as `bos_token`.

    Raises UnusableTemplate where it cannot be compiled; the message names the line.
    """

    def __init__(self, source: str, place: str, values: Mapping[str, Any], limit: int = LIMIT) -> None:
        from xtune.templates.own_jinja.sandbox import Sandbox

        self.place = place
        self.values = values
        self.limit = limit
        self.now: Callable[[], datetime] = datetime.now
        self.lock = Lock()
        self.sandbox = Sandbox(lambda: self.now())
        if len(source) > LONGEST:
            raise UnusableTemplate(
                f"the chat template of `{place}` is too long: got {len(source):,} letters, at most {LONGEST:,}"
            )
        try:
            self.template = self.sandbox.compiled(source)
            return
        except Exception as error:  # a stranger's text: the parser's and Python's own compiler raise many kinds
            problem = in_words(error)
        raise UnusableTemplate(f"the chat template of `{place}` cannot be compiled: {problem}")

    def render(self, messages: Sequence[Mapping[str, Any]], **values: Any) -> str:
        """The text of a conversation. `messages` are plain JSON values, without keys whose value is None.

        Raises RefusedConversation where the template does not take it, and UnusableTemplate where it makes too much.
        """
        meter = self.sandbox.meter
        with self.lock:
            meter.left, meter.more = self.limit, lambda: min(MOST, MORE * letters(messages))
            try:
                text: str = self.template.render({**PLAIN, **self.values, **values, "messages": messages})
                return text
            except Exception as error:
                failure = self.failure(error)
            finally:
                meter.left, meter.more = -1, None
        raise failure

    def failure(self, error: Exception) -> UnusableTemplate:
        """What is raised for what a template raised. The error itself would keep alive all that the template made."""
        from xtune.templates.own_jinja.meter import TooMuch
        from xtune.templates.own_jinja.sandbox import Refused

        place, said = self.place, in_words(error)
        if isinstance(error, (TooMuch, MemoryError, RecursionError)):
            return UnusableTemplate(f"the chat template of `{place}` makes too much or runs too long{line_of(error)}")
        if isinstance(error, Refused):
            return RefusedConversation(
                f"the chat template of `{place}` refuses this conversation: {said}", f"leave that out, or {INSTEAD}"
            )
        return RefusedConversation(f"the chat template of `{place}` fails: {said}")


def own_template(tokenizer: PreTrainedTokenizerBase, limit: int = LIMIT) -> OwnTemplate | None:
    """The chat template that a tokenizer carries, None where it carries none. Raises UnusableTemplate."""
    if not tokenizer.chat_template:
        return None
    place = tokenizer.name_or_path
    try:
        source = tokenizer.get_chat_template()
    except ValueError:  # several templates, none of which is the default
        source = None
    if not isinstance(source, str):
        got = type(tokenizer.chat_template).__name__
        raise UnusableTemplate(f"the chat template of `{place}` is no text: got a {got} without a default")
    return OwnTemplate(source, place, tokenizer.special_tokens_map, limit)


def letters(value: Any) -> int:
    """How many letters a JSON value has, roughly."""
    parts, found = [value], 0
    while parts:
        part = parts.pop()
        found += len(part) if isinstance(part, str) else 1
        if isinstance(part, Mapping):
            parts.extend(part.values())
        elif isinstance(part, (list, tuple)):
            parts.extend(part)
    return found


def line_of(error: Exception) -> str:
    """Where in the template an error was raised: " in line 3", or nothing."""
    line, trace = getattr(error, "lineno", None), error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == FILE:
            line = trace.tb_lineno
        trace = trace.tb_next
    return f" in line {line}" if line else ""


def in_words(error: Exception) -> str:
    """What an error of a template says, in one short line, and where."""
    text = getattr(error, "message", None)
    return f"`{one_line(text if isinstance(text, str) else reason(error), 200)}`{line_of(error)}"


def own_ids(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int]]:
    """Ids of texts that the tokenizer's own chat template wrote, control tokens and all. Raises UnusableTemplate."""
    what = f"the tokenizer of `{tokenizer.name_or_path}` cannot encode what its own chat template writes"
    with foreign(what, UnusableTemplate, INSTEAD):  # halves of characters, for one
        return [list(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]
