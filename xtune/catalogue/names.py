"""The grammar of config names: `{model}_{tuning}[_{objective}]_{dataset}_e{epochs}[_{variant}]`.

Examples need no epochs: `starcoder_qlora_stack_exchange_example`. Parts have underscores too, so that nothing in a text
shows where one ends: it is read in every possible way, and the parts that there are decide (`grammar.Catalogue`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from xtune.catalogue.tunings import OBJECTIVES, TUNINGS, VARIANTS

_TUNING = re.compile(rf"(?=_({'|'.join(TUNINGS)})_)")
_REST = {
    objective: re.compile(
        f"{objective and objective + '_'}(?P<dataset>.+?)"
        rf"(?:_e(?P<epochs>[1-9]\d{{0,5}})(?:_(?P<variant>{'|'.join(filter(None, VARIANTS))}))?)?"
    )
    for objective in OBJECTIVES
}


@dataclass(frozen=True)
class Name:
    """A config's name in its parts. `epochs` is None where they are not written; the last two are "" in most."""

    model: str
    tuning: str
    dataset: str
    epochs: int | None = None
    variant: str = ""
    objective: str = ""

    @property
    def text(self) -> str:
        objective = f"{self.objective}_" if self.objective else ""
        epochs = "" if self.epochs is None else f"_e{self.epochs}"
        variant = f"_{self.variant}" if self.variant else ""
        return f"{self.model}_{self.tuning}_{objective}{self.dataset}{epochs}{variant}"


def readings(text: str) -> Iterator[Name]:
    """Every way to read a name, whether there are such parts or not, the one with the shortest model first."""
    for place in _TUNING.finditer(text, 1):
        model, tuning = text[: place.start()], place[1]
        for objective, rest in _REST.items():
            found = rest.fullmatch(text, len(model) + len(tuning) + 2)
            if found:
                epochs = int(found["epochs"]) if found["epochs"] else None
                yield Name(model, tuning, found["dataset"], epochs, found["variant"] or "", objective)


def parse(text: str) -> Name | None:
    """The first reading of a name, or None where it does not follow the grammar, as a DeepSpeed file's."""
    return next(readings(text), None)
