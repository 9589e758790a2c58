"""Ranks find each other, or say for whom they wait."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from xtune.dist.interrupts import say
from xtune.errors import ConfigError

if TYPE_CHECKING:
    from torch.distributed import Store

LIMIT = 300.0
"""Seconds that ranks wait for each other at the start: machines may be started by hand, one after another."""
SILENT = 10.0
"""Seconds of them silently."""
PULSE = 0.2


def meet(environment: Mapping[str, str]) -> Store:
    """The store of a process group, once all ranks are at it. Raises ConfigError that names those who did not come."""
    from torch.distributed import TCPStore

    rank, world = int(environment["RANK"]), int(environment["WORLD_SIZE"])
    host, port = environment["MASTER_ADDR"], int(environment["MASTER_PORT"])
    began = time.monotonic()
    place = f"{host}:{port}"
    while rank > 0 and not _listened_at(host, port):  # torch would print a page for each try
        _wait([0], world, place, began)
    try:
        store = TCPStore(host, port, world, rank == 0, timeout=timedelta(seconds=LIMIT), wait_for_workers=False)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"rank {rank} cannot meet the others at `{place}`: {reason}",
            "set another PORT"
        ) from error
    names = [f"here/{number}" for number in range(world)]
    store.set(names[rank], "")
    while not store.check(names):
        _wait([number for number in range(world) if not store.check([names[number]])], world, place, began)
    return store


def _listened_at(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=5.0).close()
        return True
    except OSError:
        return False


def _wait(missing: Sequence[int], world: int, place: str, began: float) -> None:
    """Waits for a moment. Says so once, and raises ConfigError after LIMIT."""
    waited = time.monotonic() - began
    who = f"rank{'s' if len(missing) > 1 else ''} {', '.join(map(str, missing[:8]))}{', ...' * (len(missing) > 8)}"
    if waited > LIMIT:
        raise ConfigError(
            f"{who} of {world} did not come to `{place}` within {LIMIT:.0f} seconds",
            "start the same command on every machine, with the same NNODES, ADDR and PORT and its own NODE_RANK"
        )
    if waited > SILENT >= waited - PULSE:
        say(f"waiting for {who} of {world} at `{place}`, for {LIMIT:.0f} seconds at most")
    time.sleep(PULSE)
