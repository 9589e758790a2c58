"""Output folders that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xtune.errors import XtuneError


@contextmanager
def whole_folder(out: str | Path, *, force: bool = False) -> Iterator[Path]:
    """Yields an empty folder beside `out` to write to, and renames it to `out` when the block ends well.

    On any error, Ctrl-C included, nothing is left. An existing `out` is an error unless `force`, and then it is
    replaced only at the end. Raises XtuneError.
    """
    out = Path(out)
    if out.exists() and not force:
        raise XtuneError(f"output exists already: got {out}; choose another, or replace it with --force")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        stage = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise XtuneError(f"output cannot be written: {error}; choose another folder") from error
    try:
        yield stage
        stage.chmod(0o755)
        if out.is_dir():
            old = out.with_name(f"{stage.name}-old")
            os.rename(out, old)
            os.rename(stage, out)
            shutil.rmtree(old)
        else:
            out.unlink(missing_ok=True)
            os.rename(stage, out)
    except OSError as error:
        raise XtuneError(f"output {out} cannot be written: {error}; nothing was left there") from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
