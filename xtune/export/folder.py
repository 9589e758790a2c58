"""Output folders that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from xtune import atomic
from xtune.errors import ConfigError, XtuneError


@contextmanager
def whole_folder(out: str | Path, *, force: bool = False) -> Iterator[Path]:
    """Yields an empty folder beside `out` to write to, and renames it to `out` when the block ends well.

    On any error, Ctrl-C included, nothing is left. An existing `out` is an error unless `force`, and then it is
    replaced only at the end. Raises XtuneError.
    """
    out = Path(os.path.abspath(out))
    if os.path.islink(out):
        raise XtuneError(f"output is a link: got {out} -> {os.readlink(out)}", "give that folder, or delete the link")
    if os.path.exists(out) and not force:
        raise XtuneError(f"output exists already: got `{out}`", "choose another, or replace it with --force")
    made = [parent for parent in out.parents if not os.path.exists(parent)]
    done = False
    try:
        with atomic.workshop(out, wait=False) as place, atomic.whole_folder(out, place / "new", sync=True) as stage:
            yield stage
        done = True
    except BlockingIOError as error:
        raise XtuneError(f"another process is writing {out}", "wait for it, or choose another folder") from error
    except Exception as error:
        refused = None if isinstance(error, XtuneError) else atomic.system_error(error)
        if refused is None or refused.errno is None:
            raise
        kept = "what was there is kept" if os.path.exists(out) else "nothing was left there"
        if (file := refused.filename) and refused.filename2 is None and not _belongs(Path(file), out):
            raise XtuneError(f"file cannot be read: got `{file}`: {refused.strerror}", kept) from error
        raise XtuneError(
            f"output cannot be written: got `{out}`: {refused.strerror}", f"{kept}: make room, or choose another folder"
        ) from error
    finally:
        for parent in made if not done else []:
            with suppress(OSError):  # it holds something else by now
                parent.rmdir()


def refuse_needed(out: str | Path, *sources: str | Path | None) -> None:
    """Raises ConfigError where `out` is or holds one of the `sources`, or this place: --force would delete it."""
    folder = os.path.realpath(out)
    for source in (*map(str, filter(None, sources)), "."):
        place = os.path.realpath(source)
        if os.path.exists(place) and os.path.commonpath([folder, place]) == folder:
            raise ConfigError(
                f"OUT would take the place of what is needed: got `{out}`, which holds {source}",
                "choose another folder for OUT",
            )


def _belongs(file: Path, out: Path) -> bool:
    """Whether a file that the system refused is `out`, is being written for it, or is a folder above it."""
    return file in (out, *out.parents) or atomic.workplace(out) in (file, *file.parents)
