"""A tokenizer beside the embeddings of a model: every id that is used needs a row of them.

Embeddings larger than the tokenizer are usual: they are padded. A tokenizer that is larger is not always wrong either:
some published ones carry tokens for parts that a model does not have, such as the images of its larger kin (Gemma 3 of
1B), and no text of a user contains them. So tokens of the vocabulary proper without a row are refused, since the
tokenizer must be another model's; of tokens that were added to it, those that data, template or prompts contain.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from xtune.errors import ModelError
from xtune.text import shown

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

OWN = "resize the embeddings and save the model, or set model.tokenizer to the tokenizer that the model came with"


class OtherTokenizer(ModelError):
    """A tokenizer has ordinary tokens that the model has no embeddings for."""


def embedding_rows(config: Any) -> int:
    """Rows of the embeddings of a model with this config."""
    return int(config.get_text_config().vocab_size)


def added_beyond(tokenizer: PreTrainedTokenizerBase, rows: int) -> list[str]:
    """Tokens that were added to `tokenizer` and have no row, by id. Raises OtherTokenizer where others have none."""
    surplus = sorted((index, token) for token, index in tokenizer.get_vocab().items() if index >= rows)
    added = set(tokenizer.added_tokens_decoder)
    if ordinary := [(index, token) for index, token in surplus if index not in added]:
        index, token = ordinary[0]
        raise OtherTokenizer(
            f"the tokenizer is another model's: got {len(surplus)} tokens without an embedding, such as "
            f"{shown(token)} = {index}, the embeddings have {rows} rows; {OWN}"
        )
    return [token for _, token in surplus]


def refuse_beyond(ids: Iterable[int], tokenizer: PreTrainedTokenizerBase, rows: int, where: str) -> None:
    """Raises ModelError for the first of `ids`, which are those of `where`, that has no row of the embeddings."""
    for index in ids:
        if index >= rows:
            raise ModelError(
                f"{where} has a token that the model has no embedding for: got "
                f"`{shown(tokenizer.convert_ids_to_tokens(index))}` = {index}, the embeddings have {rows} rows",
                OWN,
            )


def padding_id(tokenizer: PreTrainedTokenizerBase, rows: int) -> int:
    """The id that fills rows up: the tokenizer's pad token, else its end token, else 0. Where a pad token was added but
    no embedding for it, the next: whatever fills up is masked.
    """
    candidates = (tokenizer.pad_token_id, tokenizer.eos_token_id)
    return next((index for index in candidates if index is not None and index < rows), 0)
