"""The account of a data set: every row read is trained on, held out, or dropped for a reason that is reported."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from xtune.text import visible

if TYPE_CHECKING:
    from rich.table import Table

    from xtune.errors import DataError

EXAMPLES = 3  # kept of each reason
REASONS = 20  # distinguished; what comes later is counted together
OTHER = "other reasons"
NOT_READ = "keys not read"


@dataclass
class Report:
    """What became of the rows. `read` = `trained` + `held_out` + the sum of `dropped`, always.

    `changed` counts rows that are trained on but were made to fit ("shortened", "truncated"), `unread` those that hold
    something which nothing reads, by its name. Weights repeat rows: `samples` counts those of one epoch, and so do
    `tokens`, `trained_tokens` (those with a label) and `packs`.
    """

    read: int = 0
    trained: int = 0
    held_out: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)
    unread: dict[str, int] = field(default_factory=dict)
    samples: int = 0
    tokens: int = 0
    trained_tokens: int = 0
    packs: int = 0
    pack_length: int | None = None

    @property
    def learnt(self) -> int:
        """What `trained_tokens` was called before; it goes with the next version."""
        return self.trained_tokens

    @property
    def fill(self) -> float | None:
        """The share of the packs' room that tokens take, 0 to 1; None for unpacked data."""
        return self.tokens / (self.packs * self.pack_length) if self.packs and self.pack_length else None

    @property
    def fewest_packs(self) -> int | None:
        """How many packs no packing at all could do without; None for unpacked data."""
        return -(-self.tokens // self.pack_length) if self.pack_length else None

    def drop(self, reason: str, example: str) -> None:
        """Counts one row that is not trained on, and keeps the first few examples."""
        if reason not in self.dropped and len(self.dropped) >= REASONS:
            reason = OTHER
        self.dropped[reason] = self.dropped.get(reason, 0) + 1
        kept = self.examples.setdefault(reason, [])
        if len(kept) < EXAMPLES:
            kept.append(example)

    def drop_for(self, problem: DataError, where: str) -> None:
        """Counts a malformed row. The reason is its error without the place and without what was found there.

        `where` is empty where the error names the place itself.
        """
        message = str(problem)
        place, _, rest = message.partition(": ") if not where else ("", "", message)
        self.drop((rest or place).partition(": got ")[0], f"{where}: {message}" if where else message)

    def change(self, how: str) -> None:
        """Counts one row that was made to fit."""
        self.changed[how] = self.changed.get(how, 0) + 1

    def pass_over(self, names: Iterable[str], example: str) -> None:
        """Counts one row that is trained on without what it holds under `names`."""
        for name in names:
            if name in self.unread or len(self.unread) < REASONS:
                self.unread[name] = self.unread.get(name, 0) + 1
                self.examples.setdefault(NOT_READ, [example])

    def to_json(self) -> dict[str, Any]:
        """Plain values, `fill` among them."""
        return {**asdict(self), "fill": self.fill}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Report:
        return cls(**{name: value for name, value in values.items() if name != "fill"})

    def lines(self) -> list[tuple[str, str, str]]:
        """What to print, as (what, how many, remark)."""
        rows = [
            ("rows read", f"{self.read:,}", ""),
            ("trained on", f"{self.trained:,}", share(self.trained, self.read)),
        ]
        rows += [(f"  of them {how}", f"{count:,}", "") for how, count in sorted(self.changed.items())]
        if self.held_out:
            rows.append(("held out", f"{self.held_out:,}", share(self.held_out, self.read)))
        for reason, count in sorted(self.dropped.items(), key=lambda item: -item[1]):
            rows.append((f"dropped: {reason}", f"{count:,}", self.examples[reason][0]))
        if self.unread:
            names = ", ".join(f"{name} {count:,}" for name, count in sorted(self.unread.items()))
            rows.append((NOT_READ, f"{len(self.unread)}", f"{names}; first in {self.examples[NOT_READ][0]}"))
        if self.samples != self.trained:
            rows.append(("samples an epoch", f"{self.samples:,}", "rows times their weight"))
        rows.append(("tokens", f"{self.tokens:,}", ""))
        rows.append(("trained on", f"{self.trained_tokens:,}", share(self.trained_tokens, self.tokens)))
        if self.fill is not None:
            remark = f"{self.fill:.2%} full; {self.fewest_packs:,} is the fewest possible"
            rows.append((f"packs of {self.pack_length:,}", f"{self.packs:,}", remark))
        return rows

    def table(self) -> Table:
        """The same for a terminal."""
        from rich.box import SIMPLE_HEAD
        from rich.table import Table
        from rich.text import Text

        table = Table(title="data", box=SIMPLE_HEAD, show_header=False, title_justify="left", title_style="bold")
        table.add_column()
        table.add_column(justify="right", style="cyan", no_wrap=True)
        table.add_column(style="dim")
        for what, count, remark in self.lines():
            table.add_row(
                Text(visible(what), style="yellow" if what.startswith(("dropped", NOT_READ)) else ""),
                count,
                Text(visible(remark)),
            )
        return table


def share(part: int, whole: int) -> str:
    """`part` of `whole` in per cent."""
    return f"{part / whole:.1%}" if whole else ""
