"""Prompts -> answers, several at once or streamed, by whatever runs the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from xtune.encoding.stops import Stops
from xtune.generate.sampling import Sampling
from xtune.models.vocabulary import embedding_rows, padding_id

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Write = Callable[[str], None]


@dataclass(frozen=True)
class Generator:
    """Runs prompts of any lengths as one batch, padded on the left: each gets the answer that it gets alone.

    `call` is the model's generate(), or that of what shards it.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    call: Callable[..., Any]
    together: bool = False
    """Whether other ranks wait for this one while it generates."""

    def answers(
        self, prompts: Sequence[Sequence[int]], sampling: Sampling, stops: Stops, write: Write | None = None
    ) -> list[str]:
        """The answer to each prompt's ids. `write` is given that of a single prompt piece by piece.

        An answer ends at one of `stops`, or after `sampling.max_new_tokens`.
        """
        longest = max(map(len, prompts))
        options = sampling.options() | {"eos_token_id": stops.ids or None}
        if stops.strings:
            options |= {"stop_strings": stops.strings, "tokenizer": self.tokenizer}
        if write is not None:
            options["streamer"] = streamer(self.tokenizer, stops, write)
        out_BT = self._generate(prompts, **options)
        return [stops.answer(out_T[longest:].tolist(), self.tokenizer) for out_T in out_BT]

    def next_logits(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """logits_BV of the token that follows each prompt, in float32."""
        wanted = {"max_new_tokens": 1, "do_sample": False, "output_logits": True, "return_dict_in_generate": True}
        logits_BV: Tensor = self._generate(prompts, **wanted).logits[0]
        return logits_BV.float()

    @property
    def context(self) -> int | None:
        """The most tokens that the model takes, where its config says."""
        return getattr(self.model.config, "max_position_embeddings", None)

    def _generate(self, prompts: Sequence[Sequence[int]], **options: Any) -> Any:
        pad_id = padding_id(self.tokenizer, embedding_rows(self.model.config))
        ids_BT, mask_BT = (part.to(self.model.device) for part in left_padded(prompts, pad_id))
        with evaluating(self.model), torch.no_grad():
            return self.call(ids_BT, attention_mask=mask_BT, pad_token_id=pad_id, **options)


def left_padded(sequences: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """(ids_BT, mask_BT) of sequences that end together, as generating from them needs it."""
    longest = max(map(len, sequences))
    ids_BT = torch.tensor([[pad_id] * (longest - len(ids)) + list(ids) for ids in sequences])
    return ids_BT, torch.tensor([[0] * (longest - len(ids)) + [1] * len(ids) for ids in sequences])


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Puts a module into evaluation mode, and back as it was."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)


def streamer(tokenizer: PreTrainedTokenizerBase, stops: Stops, write: Write) -> Any:
    """A transformers streamer that gives `write` each piece of text as soon as nothing can take it back."""
    from transformers import TextStreamer

    class Streamer(TextStreamer):
        whole, written = "", 0

        def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
            self.whole += text
            sure = stops.before(self.whole) if stream_end else stops.certain(self.whole)
            write(sure[self.written :])
            self.written = len(sure)

    return Streamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
