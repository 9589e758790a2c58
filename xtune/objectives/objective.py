"""What an objective is: how a mapped row becomes an Example, and what the loss of a step is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from xtune.config.schema import Settings
from xtune.conversation import Conversation, Row

if TYPE_CHECKING:
    from torch import Tensor

    from xtune.data.collate import Batch
    from xtune.encoding.encoder import Encoded, Encoder
    from xtune.templates.render import Learn


class Objective(Settings):
    """What is learned from a row. Its fields are its options: typed, strict, and written under its name in a config.

    A step's loss is the sum of `loss` over its micro-batches and ranks, divided by the sum of `weight`. So it does not
    depend on how a step is split, as long as both are sums over Examples.
    """

    takes: ClassVar[type[Row]] = Conversation
    """What mappers have to make of rows: Conversation or Preference."""
    sequences: ClassVar[int] = 1
    """How many token sequences each Example has."""
    head: ClassVar[Literal["vocabulary", "scalar"]] = "vocabulary"
    """What the model puts out at a position: log-probabilities of tokens, or one number."""
    loss_mask: ClassVar[Learn | None] = None
    """What is trained on, in place of the config's `learn`."""
    summed: ClassVar[bool] = False
    """Whether `loss` takes nothing of the log-probabilities but their sum: the head's gradient then costs less."""
    needs_reference: ClassVar[bool] = False
    """Whether each Example needs the log-probabilities of its sequences by the model as it was before training."""
    unit: ClassVar[str] = "examples"
    """What `weight` counts, as it is called in a step's metrics and in reports."""
    loss_name: ClassVar[str] = "loss an example"
    """The loss as it is written beside its curve."""
    metrics: ClassVar[tuple[str, ...]] = ()
    """Names of the metrics that `loss` gives beside the loss."""

    @staticmethod
    def examples(rows: Sequence[Row], encoder: Encoder) -> Sequence[Encoded]:
        """The Examples of a batch of rows, one Encoded a row. An override may add numbers to them, to all the same."""
        return encoder.encode_batch(rows)

    def loss(self, log_probs: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum of the losses of a micro-batch, with a graph, and the sums of `metrics` by name, without one.

        `log_probs` is (N,): of every label that is not IGNORE, in order; or, where `summed`, their sum, (1,). A batch
        may be idle, with no Example: then all sums are 0, and the loss still depends on `log_probs`.
        """
        raise NotImplementedError

    def weight(self, batch: Batch) -> int:
        """By what the sum of the losses is divided: this micro-batch's share of the step's."""
        return batch.examples

    def figures(self, loss: float, metrics: dict[str, float]) -> dict[str, float]:
        """What an evaluation shows beside the mean loss: from it, and from the means of the metrics."""
        return metrics
