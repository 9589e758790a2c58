"""Rehearses configs and prints a table in Markdown; exits with 1 where any fails, or there are none.

They are those that the wheel has modules of, or, of all that are listed, those that -p names.
Configs that are the same once they are small are rehearsed once: models of one architecture differ in size, which a
rehearsal takes away. --covering takes a few that have every component between them.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import median
from time import perf_counter
from typing import NamedTuple

from covering import cover, identity, traits

from xtune.catalogue.points import points
from xtune.commands.table import matches
from xtune.names import list_configs, load_config
from xtune.registries import components


class Outcome(NamedTuple):
    """What came of a rehearsal: `error` is empty where every stage went well."""

    name: str
    seconds: float
    error: str


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-p", "--pattern", help="a part of the names, or a glob")
    parser.add_argument("--covering", action="store_true", help="a few that have every component between them")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="side by side, each with one thread")
    arguments = parser.parse_args()
    begin = perf_counter()
    models = components().models
    pattern = arguments.pattern
    names = [name for name in list_configs() if matches(name, pattern)] if pattern else points(models)
    configs = {name: load_config(name) for name in names}
    specs = {name: models[config.model.name] for name, config in configs.items()}
    alike = defaultdict(list)
    for name, config in configs.items():
        alike[identity(config, specs[name])].append(name)
    groups = {names[0]: names for names in alike.values()}
    chosen = cover({name: traits(configs[name], specs[name]) for name in groups}) if arguments.covering else groups
    for variable in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS"):
        os.environ[variable] = "1"  # read by the processes that start now
    outcomes = []
    with ProcessPoolExecutor(arguments.processes, get_context("spawn"), initializer=quiet) as pool:
        for outcome in pool.map(rehearse_one, chosen):
            outcomes.append(outcome)
            print(
                f"{len(outcomes)}/{len(chosen)}  {outcome.seconds:5.1f} s  {outcome.name}  {outcome.error or 'ok'}",
                flush=True,
            )
    print("", *table(outcomes, {name: specs[name].family for name in configs}, groups), sep="\n")
    minutes = (perf_counter() - begin) / 60
    print(f"\n{len(outcomes)} rehearsals, {arguments.processes} processes, {minutes:.1f} minutes")
    return 0 if outcomes and not any(outcome.error for outcome in outcomes) else 1


def quiet() -> None:
    from xtune.commands.console import quiet_libraries

    quiet_libraries()
    logging.getLogger("xtune").setLevel(logging.ERROR)


def rehearse_one(name: str) -> Outcome:
    from xtune.rehearse.rehearse import rehearse

    begin = perf_counter()
    try:
        rehearse(load_config(name))
        error = ""
    except Exception as problem:  # whatever it is, the other configs are rehearsed too
        error = " ".join([type(problem).__name__, str(problem), *getattr(problem, "__notes__", [])])
    return Outcome(name, perf_counter() - begin, error)


def table(outcomes: Sequence[Outcome], family: Mapping[str, str], groups: Mapping[str, list[str]]) -> Iterator[str]:
    """Lines of Markdown: a row a family, and a line for each failure."""
    yield "| family | configs | rehearsed | failed | seconds, median | seconds, longest |"
    yield "|---|---:|---:|---:|---:|---:|"
    rows = defaultdict(list)
    for outcome in outcomes:
        rows[family[outcome.name]].append(outcome)
    for name, found in [*sorted(rows.items()), ("all", list(outcomes))]:
        configs = sum(len(groups[outcome.name]) for outcome in found)
        failed = sum(bool(outcome.error) for outcome in found)
        seconds = [outcome.seconds for outcome in found]
        yield f"| {name} | {configs} | {len(found)} | {failed} | {median(seconds):.1f} | {max(seconds):.1f} |"
    for outcome in outcomes:
        if outcome.error:
            yield f"\n{outcome.name} and {len(groups[outcome.name]) - 1} like it: {outcome.error}"


if __name__ == "__main__":
    sys.exit(main())
