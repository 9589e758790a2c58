"""A conversation with a model: each question is encoded as in training, the answer streams, and stop tokens end it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from xtune.conversation import Conversation, Turn
from xtune.encoding.plain_text import token_id
from xtune.errors import ModelError, XtuneError
from xtune.names import encode
from xtune.templates.own_jinja import INSTEAD, OwnTemplate, UnusableTemplate, own_ids, own_template
from xtune.templates.render import end_strings
from xtune.templates.template import EOS, ChatTemplate

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass
class Session:
    """`template` None means the tokenizer's own chat template. `temperature` 0 always takes the likeliest token."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    template: ChatTemplate | None
    system: str = ""
    max_new_tokens: int = 512
    temperature: float = 0.0
    top_p: float = 1.0
    turns: list[Turn] = field(default_factory=list)

    def ask(self, text: str, write: Callable[[str], None] = lambda text: None) -> str:
        """Answers `text` after the turns so far, and remembers both. `write` is given the answer piece by piece.

        Raises XtuneError where the conversation no longer fits the model's context.
        """
        import torch

        turns = [*self.turns, Turn("user", text)]
        ids = self.prompt_ids(turns)
        context = getattr(self.model.config, "max_position_embeddings", None)
        if context and len(ids) >= context:
            raise XtuneError(
                f"the conversation is longer than the model's context: got {len(ids)} tokens, it takes {context}; "
                f"start a new one"
            )
        options = self.generation_options()
        if context:
            options["max_new_tokens"] = min(self.max_new_tokens, context - len(ids))
        prompt = torch.tensor([ids], device=self.model.device)
        with torch.inference_mode():
            out = self.model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                streamer=streamer(self.tokenizer, write),
                **options,
            )
        answer = self.answer_text(out[0, len(ids) :])
        self.turns = [*turns, Turn("assistant", answer)]
        return answer

    def prompt_ids(self, turns: list[Turn]) -> list[int]:
        """Ids of the conversation up to where the assistant starts to answer."""
        if self.system:
            turns = [Turn("system", self.system), *turns]
        if self.template is not None:
            return encode(Conversation(tuple(turns)), self.template, self.tokenizer, generation_prompt=True).ids
        messages = [{"role": turn.role, "content": turn.text} for turn in turns]
        ids = own_ids(self.tokenizer, [self.own.render(messages, add_generation_prompt=True)])[0]
        if not ids:
            raise UnusableTemplate(f"the chat template of `{self.tokenizer.name_or_path}` writes nothing")
        return ids

    @cached_property
    def own(self) -> OwnTemplate:
        """The tokenizer's own chat template. Raises ModelError where it has none that works."""
        own = own_template(self.tokenizer)
        if own is None:
            raise ModelError(f"the tokenizer of `{self.tokenizer.name_or_path}` has no chat template; {INSTEAD}")
        return own

    def generation_options(self) -> dict[str, Any]:
        stop_ids, stop_strings = self.stops()
        options: dict[str, Any] = {"max_new_tokens": self.max_new_tokens, "do_sample": self.temperature > 0}
        if self.temperature > 0:
            options |= {"temperature": self.temperature, "top_p": self.top_p, "top_k": 0}
        else:  # the model's generation_config may set these, which generate() then warns about
            options |= {"temperature": None, "top_p": None, "top_k": None}
        pad = self.tokenizer.pad_token_id
        options["pad_token_id"] = pad if pad is not None else stop_ids[0] if stop_ids else None
        if stop_strings:
            options |= {"stop_strings": stop_strings, "tokenizer": self.tokenizer}
        return options | {"eos_token_id": stop_ids or None}

    def stops(self) -> tuple[list[int], list[str]]:
        return stops(self.template, self.tokenizer, self.model.generation_config.eos_token_id)

    def answer_text(self, ids: torch.Tensor) -> str:
        """The generated ids as text, without what ended them."""
        stop_ids, stop_strings = self.stops()
        kept = [token for token in ids.tolist() if token not in stop_ids]
        text = self.tokenizer.decode(kept, skip_special_tokens=True)
        for stop in stop_strings:
            text = text.partition(stop)[0]
        return text.strip()


def stops(
    template: ChatTemplate | None, tokenizer: PreTrainedTokenizerBase, own: int | list[int] | None = None
) -> tuple[list[int], list[str]]:
    """What ends an answer: token ids (the template's, the tokenizer's end token, the model's `own`), and strings of the
    template that are no single token of this tokenizer.
    """
    ends = [text for text in (end_strings(template) if template is not None else []) if text != EOS]
    found = {text: token_id(tokenizer, text) for text in ends}
    ids = {*(own if isinstance(own, list) else [own]), tokenizer.eos_token_id, *found.values()}
    return sorted(ids - {None}), [text for text, index in found.items() if index is None]


def streamer(tokenizer: PreTrainedTokenizerBase, write: Callable[[str], None]) -> Any:
    """A transformers streamer that gives `write` each piece of text as soon as it is certain."""
    from transformers import TextStreamer

    class Streamer(TextStreamer):
        def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
            write(text)

    return Streamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
