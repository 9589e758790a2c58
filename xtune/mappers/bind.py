"""A mapper's name or place, and its options -> the function that reads a data set's rows."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from xtune.errors import ConfigError, DataError, suggestion
from xtune.foreign import foreign
from xtune.mappers.auto import choose
from xtune.text import one_line

if TYPE_CHECKING:
    from xtune.registry import Registry
    from xtune.sources.source import Source

Mapper = Callable[[Mapping[str, Any]], Any]

PROBED = 5  # rows whose columns show the format: one may be broken, or lack what is optional


def recognise(source: Source) -> str:
    """The mapper that the first readable rows speak for, all their columns together.

    Raises DataError where no row can be read, and where no mapper reads these columns.
    """
    rows: list[dict[str, Any]] = []
    problem: DataError | None = None
    try:
        for row in source.read():
            if isinstance(row, DataError):
                problem = problem or row
            else:
                rows.append(row.values)
            if len(rows) == PROBED:
                break
    except DataError as error:  # the file cannot be read on; preparing it will say so
        problem = problem or error
    if not rows:
        raise problem or DataError(f"data {source.name} has no rows", "give a file with rows")
    return choose(list(dict.fromkeys(column for row in rows for column in row)), rows)


class OutsideMapper(partial):  # type: ignore[type-arg]
    """A mapper that is not built in, its options bound: what it raises names whose it is.

    It is a partial, so that prepared data is distinguished by the source of the function inside.
    """

    described: str

    def __call__(self, row: Mapping[str, Any]) -> Any:
        try:
            return super().__call__(row)
        except DataError:
            raise
        except (Exception, SystemExit) as error:
            raise DataError(
                f"{self.described} fails with {type(error).__name__}: got `{one_line(str(error))}`",
                "correct the mapper or the row",
            ) from error


def bind_mapper(name: str, options: Mapping[str, Any], mappers: Registry[Mapper]) -> Mapper:
    """The mapper of this name, or of this place (package.module:function), with its options bound.

    Raises UnknownName, and ConfigError for a function that cannot be imported and for an option that it does not take.
    """
    mapper: Mapper = import_mapper(name) if ":" in name else mappers[name]
    known = list(inspect.signature(mapper).parameters)[1:]
    for option in options:
        if option not in known:
            raise ConfigError(f"mapper {name} has no option `{option}`", suggestion(option, known))
    owner = None if ":" in name else mappers.owner(name)
    if owner == "xtune":
        for option, value in options.items():
            if isinstance(value, (list, dict)):
                raise ConfigError(f"mapper {name}, option {option}, should be text: got `{value}`", "give one value")
        return partial(mapper, **options) if options else mapper
    bound = OutsideMapper(mapper, **options)
    bound.described = f"mapper {name}" + (f" of plugin {owner}" if owner else "")
    return bound


def import_mapper(place: str) -> Mapper:
    """The function at `package.module:function`. The working directory counts too, after all that is installed."""
    module_name, _, function_name = place.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    hint = "write package.module:function, of a module that is installed or in the working directory"
    with foreign(f"mapper {place} cannot be imported", ConfigError, hint):
        mapper = getattr(import_module(module_name), function_name)
    if not callable(mapper):
        raise ConfigError(f"mapper {place} should be a function: got {type(mapper).__name__}", "name another one")
    return cast(Mapper, mapper)
