"""A conversation with a model: each question is encoded as in training, the answer streams, and stop tokens end it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from xtune.conversation import Conversation, Turn
from xtune.encoding.stops import Stops, stops
from xtune.errors import ModelError, XtuneError
from xtune.generate.generate import Generator
from xtune.generate.sampling import GREEDY, Sampling
from xtune.models.vocabulary import embedding_rows, refuse_beyond
from xtune.names import encode
from xtune.templates.own_jinja import INSTEAD, OwnTemplate, UnusableTemplate, own_ids, own_template

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from xtune.templates.template import ChatTemplate


@dataclass
class Session:
    """`template` None means the tokenizer's own chat template."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    template: ChatTemplate | None
    system: str = ""
    sampling: Sampling = GREEDY
    turns: list[Turn] = field(default_factory=list)

    def ask(self, text: str, write: Callable[[str], None] = lambda text: None) -> str:
        """Answers `text` after the turns so far, and remembers both. `write` is given the answer piece by piece.

        Raises XtuneError where the conversation no longer fits the model's context, or has a token that it cannot read.
        """
        turns = [*self.turns, Turn("user", text)]
        ids = self.prompt_ids(turns)
        generator = Generator(self.model, self.tokenizer, self.model.generate)
        if generator.context and len(ids) >= generator.context:
            raise XtuneError(
                f"the conversation is longer than the model's context: got {len(ids)} tokens, it takes "
                f"{generator.context}",
                "start a new one",
            )
        sampling = self.sampling
        if generator.context:  # the answer ends where the context does
            sampling = replace(sampling, max_new_tokens=min(sampling.max_new_tokens, generator.context - len(ids)))
        (answer,) = generator.answers([ids], sampling, self.stops(), write)
        self.turns = [*turns, Turn("assistant", answer)]
        return answer

    def prompt_ids(self, turns: list[Turn]) -> list[int]:
        """Ids of the conversation up to where the assistant starts to answer."""
        if self.system:
            turns = [Turn("system", self.system), *turns]
        if self.template is not None:
            ids = encode(Conversation(tuple(turns)), self.template, self.tokenizer, generation_prompt=True).ids
        else:
            messages = [{"role": turn.role, "content": turn.text} for turn in turns]
            ids = own_ids(self.tokenizer, [self.own.render(messages, add_generation_prompt=True)])[0]
            if not ids:
                raise UnusableTemplate(f"the chat template of `{self.tokenizer.name_or_path}` writes nothing", INSTEAD)
        refuse_beyond(ids, self.tokenizer, embedding_rows(self.model.config), "the conversation")
        return ids

    @cached_property
    def own(self) -> OwnTemplate:
        """The tokenizer's own chat template. Raises ModelError where it has none that works."""
        own = own_template(self.tokenizer)
        if own is None:
            raise ModelError(f"the tokenizer of `{self.tokenizer.name_or_path}` has no chat template", INSTEAD)
        return own

    def stops(self) -> Stops:
        """What ends an answer of this model."""
        return stops(self.template, self.tokenizer, self.model.generation_config.eos_token_id)
