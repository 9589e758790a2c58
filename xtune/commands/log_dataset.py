"""xtune log-dataset NAME|FILE: rows as the model will see them, what of them is trained on, and the account of all."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, NamedTuple

from xtune.commands.argument_types import given, within
from xtune.commands.config_arguments import add_config_arguments, config_from
from xtune.text import visible

if TYPE_CHECKING:
    import numpy as np
    from rich.text import Text
    from transformers import PreTrainedTokenizerBase

    from xtune.conversation import Span
    from xtune.data.dataset import Packs

ON_SCREEN, ON_PAGE = 5, 300
TRAINED, GIVEN, CONTROL = "green", "bright_black", "magenta"


class Shown(NamedTuple):
    """One sample for a person: where its row is, its text, and how many of its tokens are trained on."""

    where: str
    spans: list[Span]
    tokens: int
    trained: int


def add_arguments(parser: ArgumentParser) -> None:
    add_config_arguments(parser)
    parser.add_argument(
        "--rows",
        type=within(0),
        metavar="N",
        help=f"how many rows to show (default {ON_SCREEN}; {ON_PAGE} with --html)",
    )
    parser.add_argument(
        "--html", metavar="FILE", type=given, help="write a page with the same, in place of the terminal"
    )


def run(args: Namespace) -> int:
    from pathlib import Path

    from xtune.commands.console import quiet_libraries
    from xtune.commands.dataset_page import page, write_page
    from xtune.resolve import resolve
    from xtune.terminal import console

    quiet_libraries()
    config = config_from(args)
    made = resolve(config)
    tokenizer = made.tokenizer
    dataset, report = made.prepare_data()
    rows = args.rows if args.rows is not None else ON_PAGE if args.html else ON_SCREEN
    samples = choose(dataset.train, rows, tokenizer)
    screen = console(soft_wrap=False)
    if args.html:
        lengths = dataset.train.samples.lengths[dataset.train.samples_of(dataset.train.layout.samples)]
        write_page(Path(args.html), page(args.config, config, report, samples, lengths))
        screen.print(report.table())
        screen.print(f"{len(samples)} rows written to {args.html}")
        return 0
    for number, sample in enumerate(samples, 1):
        screen.rule(title(number, sample), align="left", style="dim")
        screen.print(coloured(sample.spans), end="\n\n")
    if samples:
        screen.print(legend())
    screen.print(report.table())
    return 0


def choose(packs: Packs, rows: int, tokenizer: PreTrainedTokenizerBase) -> list[Shown]:
    """The samples of `rows` rows of the training split, distributed evenly over the data in the order it was read."""
    import numpy as np

    from xtune.conversation import IGNORE
    from xtune.data.decode import control_ids, decode_sample

    numbers = np.unique(packs.layout.samples)
    control = control_ids(tokenizer)
    found = []
    for number in packs.samples_of(numbers[evenly(len(numbers), rows)]).tolist():
        ids, labels = packs.samples[number]
        spans = decode_sample(ids, labels, tokenizer, control)
        place = packs.samples.where(number)
        if packs.sequences > 1:
            place += f", {number % packs.sequences + 1} of {packs.sequences}"
        found.append(Shown(place, spans, len(ids), int((labels != IGNORE).sum())))
    return found


def evenly(number: int, wanted: int) -> np.ndarray:
    """At most `wanted` of the indices 0 to `number` - 1, at even distances, the first one included."""
    import numpy as np

    return np.arange(min(wanted, number)) * number // max(min(wanted, number), 1)


def title(number: int, sample: Shown) -> Text:
    from rich.text import Text

    text = Text(visible(f"{number}  {sample.where}  "), style="bold")
    return text.append(f"{sample.tokens:,} tokens, {sample.trained:,} trained on", style="not bold cyan")


def coloured(spans: list[Span]) -> Text:
    """The text of a sample: trained, given, and control tokens each in a colour; trained control tokens underlined."""
    from rich.text import Text

    text = Text()
    for span in spans:
        style = TRAINED if span.learn else GIVEN
        text.append(
            visible(span.text),
            style=f"{CONTROL} underline" if span.control and span.learn else CONTROL if span.control else style,
        )
    return text


def legend() -> Text:
    from rich.text import Text

    text = Text("trained on", style=TRAINED).append("   given, not trained on", style=GIVEN)
    return (
        text.append("   ")
        .append("control token", style=CONTROL)
        .append("   ")
        .append("control token that is trained on", style=f"{CONTROL} underline")
    )
