"""A process that does not outlive the one that started it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1


def dies_with(parent: int) -> Callable[[], None] | None:
    """What a child calls first, so that the system kills it when `parent` ends, be it by SIGKILL. None but on Linux.

    The parent's thread that starts the child has to live on too.
    """
    if sys.platform != "linux":
        return None
    import ctypes

    prctl = ctypes.CDLL(None).prctl  # looked up here: after a fork, little is safe

    def call() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it has ended in the meantime
            os._exit(1)

    return call
