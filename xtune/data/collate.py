"""Packs -> Batch, in the form that keeps samples apart for the attention that will run.

Shapes: B rows, T positions (the longest row), S samples (the padding of each row counts as one), E Examples of K token
sequences each, N labels that are not IGNORE.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from xtune.conversation import IGNORE

if TYPE_CHECKING:
    import torch

    from xtune.data.pack import Pack

Contract = Literal["padded", "positions", "varlen"]


@dataclass(frozen=True)
class Batch:
    """What one forward and backward takes.

    `labels_BT[b, t]` is the id that follows the one at t, or IGNORE. The last position of every sample is IGNORE, so no
    sample is predicted from the one before it. `trained` counts the labels that are not IGNORE, and `tokens` the ids
    without padding. `segments_BT` numbers the token sequences, those of an Example one after another; padding is -1.
    `numbers` has what else is known of the Examples, each (E, ...).

    `contract` says what keeps samples apart:

    - "padded": a row is one sample, `attention_mask_BT` is 1 on it and 0 on the padding at its right.
    - "positions": a row is several samples; transformers derives the block-diagonal mask from `position_ids_BT`, which
      restart at each sample. It does so only without an attention mask and without a cache: with either, samples
      silently see each other.
    - "varlen": the same for flash attention, which takes the borders of the flattened batch in `cu_seq_lens` (S + 1,)
      int32 and the longest sample in `max_length`.
    """

    input_ids_BT: torch.Tensor
    labels_BT: torch.Tensor
    position_ids_BT: torch.Tensor
    segments_BT: torch.Tensor
    contract: Contract
    tokens: int
    trained: int
    examples: int
    sequences: int = 1
    """K: token sequences of an Example."""
    numbers: dict[str, torch.Tensor] = field(default_factory=dict)
    attention_mask_BT: torch.Tensor | None = None
    cu_seq_lens: torch.Tensor | None = None
    max_length: int | None = None

    def model_inputs(self) -> dict[str, Any]:
        """Keyword arguments of a transformers causal language model's forward; the labels stay here."""
        inputs = {"input_ids": self.input_ids_BT, "position_ids": self.position_ids_BT, "use_cache": False}
        if self.contract == "padded":
            inputs["attention_mask"] = self.attention_mask_BT
        elif self.contract == "varlen":
            inputs["cu_seq_lens_q"] = inputs["cu_seq_lens_k"] = self.cu_seq_lens
            inputs["max_length_q"] = inputs["max_length_k"] = self.max_length
        return inputs

    def by_sequence(self, values_N: torch.Tensor) -> torch.Tensor:
        """Sums of what each label has, such as its log-probability, over the sequences: (E, K), in float64."""
        import torch

        segments_N = self.segments_BT[self.labels_BT != IGNORE]
        wanted_S = torch.arange(self.examples * self.sequences, device=values_N.device)
        values_SN = torch.where(segments_N == wanted_S[:, None], values_N.double(), 0.0)
        return values_SN.sum(1).view(self.examples, self.sequences)

    def idle(self) -> Batch:
        """A batch of the same shape with nothing to train on, and no Example."""
        import torch

        numbers = {name: values[:0] for name, values in self.numbers.items()}
        labels_BT = torch.full_like(self.labels_BT, IGNORE)
        return replace(self, labels_BT=labels_BT, tokens=0, trained=0, examples=0, numbers=numbers)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with its tensors on `device`."""
        import torch

        moved = {
            name: value.to(device, non_blocking=True)
            for name, value in vars(self).items()
            if isinstance(value, torch.Tensor)
        }
        numbers = {name: values.to(device, non_blocking=True) for name, values in self.numbers.items()}
        return replace(self, **moved, numbers=numbers)


def collate(packs: Sequence[Pack], *, pad_id: int, attention: str, sequences: int = 1) -> Batch:
    """One Batch of `packs`, padded at the right to the longest row.

    `attention` is the model's implementation: "sdpa", "eager" or "flash_attention_2". `sequences` is how many token
    sequences an Example has. Where every pack is a single Example, its sequences are rows of their own, and the batch
    is "padded" under each attention. In a packed batch, the padding of a row is a sample of its own, whose positions
    restart: it sees no other sample, none sees it, and its labels are IGNORE.
    """
    import torch

    numbers = {name: np.concatenate([pack.numbers[name] for pack in packs]) for name in packs[0].numbers}
    examples = sum(len(pack.lengths) for pack in packs) // sequences
    if sequences > 1 and all(len(pack.lengths) == sequences for pack in packs):
        packs = [sequence for pack in packs for sequence in pack.sequences()]
    ids_BT, labels_BT, segments_BT = _rows(packs, pad_id)
    batch: dict[str, Any] = {
        "input_ids_BT": torch.from_numpy(ids_BT),
        "labels_BT": torch.from_numpy(labels_BT),
        "segments_BT": torch.from_numpy(segments_BT),
        "tokens": sum(len(pack.ids) for pack in packs),
        "trained": int((labels_BT != IGNORE).sum()),
        "examples": examples,
        "sequences": sequences,
        "numbers": {name: torch.from_numpy(values) for name, values in numbers.items()},
    }
    if all(len(pack.lengths) == 1 for pack in packs):
        position_ids_BT = torch.arange(ids_BT.shape[1]).expand(ids_BT.shape).contiguous()
        mask_BT = torch.from_numpy((segments_BT >= 0).astype(np.int64))
        return Batch(**batch, contract="padded", position_ids_BT=position_ids_BT, attention_mask_BT=mask_BT)

    tails = [ids_BT.shape[1] - len(pack.ids) for pack in packs]
    lengths_S = np.concatenate(
        [[*pack.lengths, tail] if tail else pack.lengths for pack, tail in zip(packs, tails, strict=True)]
    )
    ends_S = np.cumsum(lengths_S)
    position_ids = np.arange(ends_S[-1]) - np.repeat(ends_S - lengths_S, lengths_S)
    batch["position_ids_BT"] = torch.from_numpy(position_ids.reshape(ids_BT.shape))
    if attention != "flash_attention_2":
        return Batch(**batch, contract="positions")
    cu_seq_lens = torch.from_numpy(np.concatenate([[0], ends_S]).astype(np.int32))
    return Batch(**batch, contract="varlen", cu_seq_lens=cu_seq_lens, max_length=int(lengths_S.max()))


def _rows(packs: Sequence[Pack], pad_id: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids, labels and numbers of the sequences, each (B, T) int64, a pack a row."""
    shape = (len(packs), max(len(pack.ids) for pack in packs))
    ids_BT, labels_BT, segments_BT = (np.full(shape, filler, dtype=np.int64) for filler in (pad_id, IGNORE, -1))
    first = 0
    for row, pack in enumerate(packs):
        length = len(pack.ids)
        ids_BT[row, :length] = pack.ids
        labels_BT[row, : length - 1] = pack.labels[1:]  # shifted here, and nowhere else
        segments_BT[row, :length] = first + np.repeat(np.arange(len(pack.lengths)), pack.lengths)
        first += len(pack.lengths)
    return ids_BT, labels_BT, segments_BT
