"""Whether the model keeps packed samples apart: tried at the start of every run with packs, not looked up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from xtune.conversation import IGNORE
from xtune.data.pack import Pack
from xtune.errors import ConfigError
from xtune.training.forward import causal

if TYPE_CHECKING:
    from xtune.data.collate import Batch
    from xtune.distributed.parallel import Parallel

TOKENS = 8
"""Of each of the two samples."""
NOISE = {torch.float32: 1e-5}
"""What rounding may change of a sum of log-probabilities, as a share of it; 1e-2 in 16 bits."""


@torch.no_grad()
def refuse_mixed_samples(parallel: Parallel, collate: Callable[[Sequence[Pack]], Batch]) -> None:
    """Raises ConfigError where a sample has other log-probabilities in a pack with another sample than alone.

    transformers decides by the form of a batch whether samples see each other, and says nothing where they do. So the
    second of two samples is measured alone, in a pack of both, and as the end of one sample: in a pack it has to be
    nearer to alone than to that. All ranks call it together.
    """
    size = causal(parallel.inner.model).config.get_text_config().vocab_size
    ids = (np.arange(2 * TOKENS) * 7919 % size).astype(np.int32)
    labels = np.concatenate([np.full(TOKENS + 1, IGNORE, np.int32), ids[TOKENS + 1 :]])

    def measured(begin: int, lengths: Sequence[int]) -> float:
        pack = Pack(ids[begin:], labels[begin:], np.array(lengths, np.int32))
        batch = collate([pack])
        return float(parallel.module(batch.model_inputs(), batch.labels_BT).double().sum())

    parallel.module.eval()
    with torch.compiler.set_stance("force_eager"):  # compiled layers would be compiled for this shape too
        alone, packed, joined = measured(TOKENS, [TOKENS]), measured(0, [TOKENS] * 2), measured(0, [2 * TOKENS])
    noise = abs(alone) * NOISE.get(parallel.inner.dtype, 1e-2)  # type: ignore[arg-type]
    if abs(packed - alone) > max(noise, abs(joined - alone) / 4):
        raise ConfigError(
            "samples that are packed together see each other in this model: the log-probability of one is "
            f"{alone:.4f} alone and {packed:.4f} in a pack",
            "set pack=false",
        )
