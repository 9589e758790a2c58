"""Packs -> Batch, in the form that keeps samples apart for the attention that will run.

Shapes: B packs, T positions (the longest pack), S samples (the padding of each row counts as one).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
    sample is predicted from the one before it. `trained` counts the labels that are not IGNORE.

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
    contract: Contract
    trained: int
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

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with its tensors on `device`."""
        import torch

        moved = {
            name: value.to(device, non_blocking=True)
            for name, value in vars(self).items()
            if isinstance(value, torch.Tensor)
        }
        return replace(self, **moved)


def collate(packs: Sequence[Pack], *, pad_id: int, attention: str) -> Batch:
    """One Batch of `packs`, padded at the right to the longest of them.

    `attention` is the model's implementation: "sdpa", "eager" or "flash_attention_2". A batch in which every pack is a
    single sample is "padded" under each of them. In a packed batch, the padding of a row is a sample of its own, whose
    positions restart: it sees no other sample, none sees it, and its labels are IGNORE.
    """
    import torch

    shape = (len(packs), max(len(pack.ids) for pack in packs))
    ids_BT = np.full(shape, pad_id, dtype=np.int64)
    labels_BT = np.full(shape, IGNORE, dtype=np.int64)
    for row, pack in enumerate(packs):
        ids_BT[row, : len(pack.ids)] = pack.ids
        labels_BT[row, : len(pack.ids) - 1] = pack.labels[1:]  # shifted here, and nowhere else
    batch: dict[str, Any] = {
        "input_ids_BT": torch.from_numpy(ids_BT),
        "labels_BT": torch.from_numpy(labels_BT),
        "trained": int((labels_BT != IGNORE).sum()),
    }
    if all(len(pack.lengths) == 1 for pack in packs):
        mask_BT = np.arange(shape[1]) < np.array([[len(pack.ids)] for pack in packs])
        position_ids_BT = torch.arange(shape[1]).expand(shape).contiguous()
        mask = torch.from_numpy(mask_BT.astype(np.int64))
        return Batch(**batch, contract="padded", position_ids_BT=position_ids_BT, attention_mask_BT=mask)

    tails = [shape[1] - len(pack.ids) for pack in packs]
    lengths_S = np.concatenate(
        [[*pack.lengths, tail] if tail else pack.lengths for pack, tail in zip(packs, tails, strict=True)]
    )
    ends_S = np.cumsum(lengths_S)
    position_ids = np.arange(ends_S[-1]) - np.repeat(ends_S - lengths_S, lengths_S)
    batch["position_ids_BT"] = torch.from_numpy(position_ids.reshape(shape))
    if attention != "flash_attention_2":
        return Batch(**batch, contract="positions")
    cu_seq_lens = torch.from_numpy(np.concatenate([[0], ends_S]).astype(np.int32))
    return Batch(**batch, contract="varlen", cu_seq_lens=cu_seq_lens, max_length=int(lengths_S.max()))
