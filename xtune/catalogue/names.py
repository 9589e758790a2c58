"""The grammar of config names: `{model}_{tuning}_{dataset}_e{epochs}[_{variant}]`.

Examples carry no epochs: `starcoder_qlora_stack_exchange_example`. No model's name contains a tuning's between
underscores. Variants are settings under which the original catalogue offered a config a second time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from xtune.catalogue.tunings import TUNINGS

VARIANTS = ("gpu8", "hf")

_NAME = re.compile(
    rf"(?P<model>.+?)_(?P<tuning>{'|'.join(TUNINGS)})_(?P<dataset>.+?)"
    rf"(?:_e(?P<epochs>\d+)(?:_(?P<variant>{'|'.join(VARIANTS)}))?)?"
)


@dataclass(frozen=True)
class Name:
    """A config's name in its parts. `epochs` is None in an example's name; `variant` is "" in most."""

    model: str
    tuning: str
    dataset: str
    epochs: int | None = None
    variant: str = ""

    @property
    def text(self) -> str:
        epochs = "" if self.epochs is None else f"_e{self.epochs}"
        variant = f"_{self.variant}" if self.variant else ""
        return f"{self.model}_{self.tuning}_{self.dataset}{epochs}{variant}"


def parse(text: str) -> Name | None:
    """The parts of a config's name, or None where it does not follow the grammar, as a DeepSpeed file's."""
    found = _NAME.fullmatch(text)
    if not found:
        return None
    epochs = int(found["epochs"]) if found["epochs"] else None
    return Name(found["model"], found["tuning"], found["dataset"], epochs, found["variant"] or "")
