"""What the model's small files say: its context, its vocabulary, its tokenizer beside the chat template."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from xtune.check.finding import Finding, refused
from xtune.conversation import IGNORE, Conversation, Turn
from xtune.encoding.stops import stops
from xtune.encoding.verify import compare
from xtune.errors import XtuneError
from xtune.models.config_file import load_config_file
from xtune.models.load import refuse_incomplete
from xtune.models.vocabulary import added_beyond, refuse_beyond
from xtune.names import encode
from xtune.paths import is_local
from xtune.templates.own_jinja import UnusableTemplate
from xtune.text import shown

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from xtune.run import Run

ASKED = Conversation((Turn("user", "Who are you?"), Turn("assistant", "A model.")))
"""What is encoded to see what the template makes of it."""


def of_model(run: Run) -> Iterator[Finding]:
    """What the model's small files say: its context, its tokenizer beside the chat template."""
    try:
        run.refuse_stored_bits()
        yield weights(run)
        yield context(run)
        yield vocabulary(run, run.tokenizer)
        yield from template(run, run.tokenizer)
    except XtuneError as error:
        yield refused("model", error)


def weights(run: Run) -> Finding:
    """Whether the model's files are whole and hold what its class needs, by the names and shapes in them."""
    path = run.config.model.path
    if not is_local(path):
        return Finding("weights", "unknown", f"{path} is not in a folder here: they are compared when it is loaded")
    refuse_incomplete(path)
    return Finding("weights", "ok", "all that the model's class needs are in its files")


def context(run: Run) -> Finding:
    """`max_length` beside the context that the weights' own config.json says."""
    limit = getattr(load_config_file(run.config.model.path), "max_position_embeddings", None)
    if limit and run.config.max_length > limit:
        fact = f"max_length is beyond the model's context: got `{run.config.max_length}`, it takes {limit}"
        return Finding("length", "error", fact, f"set max_length={limit} or less")
    return Finding("length", "ok", f"max_length {run.config.max_length}, the model takes {limit or 'any'}")


def vocabulary(run: Run, tokenizer: PreTrainedTokenizerBase) -> Finding:
    """The tokenizer beside the rows of the embeddings, and the ids of the template."""
    rows = run.embedding_rows()
    beyond = added_beyond(tokenizer, rows)
    refuse_beyond(encode(ASKED, run.template, tokenizer).ids, tokenizer, rows, f"template {run.config.template}")
    if beyond:
        fact = f"{len(beyond)} added tokens have no embedding, such as `{shown(beyond[0])}`: rows with them are refused"
        return Finding("vocabulary", "warning", fact, "resize the model's embeddings, or leave such rows out")
    return Finding("vocabulary", "ok", f"{len(tokenizer):,} tokens, {rows:,} embeddings")


def template(run: Run, tokenizer: PreTrainedTokenizerBase) -> Iterator[Finding]:
    """The chat template beside the tokenizer's own, and whether what is trained on ends with what ends an answer."""
    yield beside_own(run, tokenizer)
    trained = [label for label in encode(ASKED, run.template, tokenizer).labels if label != IGNORE]
    ids, strings = stops(run.template, tokenizer)
    end = tokenizer.convert_ids_to_tokens(trained[-1])
    if trained[-1] in ids or str(tokenizer.decode(trained)).rstrip().endswith(tuple(text.rstrip() for text in strings)):
        yield Finding("stop", "ok", f"answers end with {end}")
    else:
        fact = f"no answer ends with what ends a chat's: got `{end}` as its last token"
        yield Finding("stop", "warning", fact, "give the template an `end`")


def beside_own(run: Run, tokenizer: PreTrainedTokenizerBase) -> Finding:
    """The chat template beside the tokenizer's own. Training does without that one: it goes on where that is broken."""
    name = run.config.template
    if not tokenizer.chat_template:
        return Finding("template", "ok", f"{name}; the tokenizer carries none to compare with")
    try:
        found = compare(run.template, tokenizer)
    except UnusableTemplate as error:
        return Finding("template", "warning", f"{name} is compared with nothing: {error.fact}", error.hint)
    refusals = f"; it refuses {found.refused} of {found.total} conversations" if found.refused else ""
    if found.differences:
        differ = len(found.differences)
        fact = f"{name} is not the tokenizer's own: {differ} conversations differ{refusals}"
        return Finding("template", "warning", fact, "see the difference with xtune check-template")
    return Finding("template", "ok", f"{name}, which equals the tokenizer's own, id for id{refusals}")
