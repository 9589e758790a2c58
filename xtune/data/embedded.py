"""Whether every id of the prepared data has a row of the model's embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xtune.models.vocabulary import added_beyond, refuse_beyond

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from xtune.data.dataset import Dataset


def refuse_unembedded(dataset: Dataset, tokenizer: PreTrainedTokenizerBase, rows: int) -> None:
    """Raises OtherTokenizer where the tokenizer is another model's, and ModelError for the first row of the data with a
    token that has none of the `rows` of the embeddings. Ids are looked at only where the tokenizer has such tokens.
    """
    if added_beyond(tokenizer, rows) and (found := dataset.train.samples.first_beyond(rows)):
        sample, index = found
        refuse_beyond([index], tokenizer, rows, dataset.train.samples.where(sample))
