"""The page of `xtune log-dataset --html`: one file that needs nothing else, for a person to scroll."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from xtune import __version__
from xtune.atomic import whole_file
from xtune.data.report import share
from xtune.errors import DataError

if TYPE_CHECKING:
    import numpy as np

    from xtune.commands.log_dataset import Shown
    from xtune.config.schema import Config
    from xtune.conversation import Span
    from xtune.data.report import Report

BINS = 48
WIDTH, HEIGHT, FOOT = 480, 190, 22  # of the histogram, in SVG units; FOOT is room for the axis


def page(name: str, config: Config, report: Report, samples: Sequence[Shown], lengths: np.ndarray) -> str:
    """The page's HTML. `lengths` (samples,) are the tokens of every sample of an epoch, not only of those shown."""
    data = ", ".join(entry.path for entry in config.data)
    about = f"{data} · template {config.template} · tokenizer of {config.model.tokenizer or config.model.path}"
    return Template(Path(__file__).with_name("dataset_page.html").read_text(encoding="utf-8")).substitute(
        title=escape(name),
        about=escape(f"{about} · max_length {config.max_length:,} · xtune {__version__}"),
        figures="".join(figures(report)),
        rows="".join(map(table_row, report.lines())),
        histogram=histogram(lengths),
        samples="\n".join(sample_card(number, sample) for number, sample in enumerate(samples, 1)),
        count=len(samples),
    )


def write_page(path: Path, html: str) -> None:
    """Writes the page beside its place and renames it. Raises DataError where it cannot be written."""
    try:
        with whole_file(path) as beside:
            beside.write_text(html, encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(f"page {path} cannot be written: got {error.strerror}", "give --html another file") from error


def figures(report: Report) -> list[str]:
    """The cards on top: what there is, in figures, and the shares as bars."""
    cards = [
        _figure(f"{report.trained:,}", f"of {report.read:,} rows trained on", report.trained / report.read),
        _figure(f"{report.tokens:,}", "tokens an epoch"),
        _figure(
            share(report.trained_tokens, report.tokens), "of tokens trained on", report.trained_tokens / report.tokens
        ),
    ]
    if report.fill is None:
        return [*cards, _figure(f"{report.tokens / report.samples:,.0f}", "tokens a sample, not packed")]
    packs = f"of {report.packs:,} packs of {report.pack_length:,} filled"
    return [*cards, _figure(f"{report.fill:.2%}", packs, report.fill)]


def _figure(value: str, what: str, part: float | None = None) -> str:
    meter = "" if part is None else f'<div class="meter"><i style="width:{part:.2%}"></i></div>'
    return f'<div class="card figure"><b>{value}</b><span>{what}</span>{meter}</div>'


def table_row(line: tuple[str, str, str]) -> str:
    what, count, remark = map(escape, line)
    kind = ' class="dropped"' if what.startswith("dropped") else ""
    return f'<tr{kind}><td>{what}</td><td class="count">{count}</td><td class="remark">{remark}</td></tr>'


def histogram(lengths: np.ndarray) -> str:
    """An SVG of how many samples have how many tokens."""
    import numpy as np

    counts, edges = np.histogram(lengths, bins=min(BINS, int(lengths.max())), range=(0, int(lengths.max())))
    step, unit = WIDTH / len(counts), (HEIGHT - FOOT - 14) / counts.max()
    base = HEIGHT - FOOT
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="histogram of tokens per sample">']
    for index, count in enumerate(counts.tolist()):
        tip = f"{edges[index]:,.0f} to {edges[index + 1]:,.0f} tokens: {count:,} samples"
        box = f'x="{index * step + 0.5:.1f}" y="{base - count * unit:.1f}" width="{step - 1:.1f}"'
        parts.append(f'<rect {box} height="{count * unit:.1f}" rx="1"><title>{tip}</title></rect>')
    parts.append(f'<line x1="0" x2="{WIDTH}" y1="{base}" y2="{base}"/>')
    for place, anchor in ((0, "start"), (0.25, "middle"), (0.5, "middle"), (0.75, "middle"), (1, "end")):
        label = f"{place * edges[-1]:,.0f}"
        parts.append(f'<text x="{place * WIDTH:.0f}" y="{HEIGHT - 6}" text-anchor="{anchor}">{label}</text>')
    middle, high = np.quantile(lengths, (0.5, 0.99))
    parts.append(
        f'<text x="{WIDTH}" y="12" text-anchor="end">median {middle:,.0f}, 99% have {high:,.0f} or fewer,'
        f" longest {int(lengths.max()):,}</text></svg>"
    )
    return "".join(parts)


def sample_card(number: int, sample: Shown) -> str:
    """One sample with its place and figures."""
    counted = f"{sample.tokens:,} tokens, {sample.trained:,} trained on ({share(sample.trained, sample.tokens)})"
    head = f"<header><b>{number}</b><span>{escape(sample.where)}</span><span>{counted}</span></header>"
    return f'<article class="card sample">{head}<div class="text">{"".join(map(_marked, sample.spans))}</div></article>'


def _marked(span: Span) -> str:
    kinds = " ".join(name for name, yes in (("control", span.control), ("trained", span.learn)) if yes)
    text = escape(span.text)
    return f'<span class="{kinds}">{text}</span>' if kinds else text
