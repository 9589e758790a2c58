"""What commands print, and what libraries may not: our own lines are the only ones a user sees unless something is
wrong.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import warnings
from urllib.parse import urlsplit
from urllib.request import getproxies


def quiet_libraries() -> None:
    """Sets log levels before the heavy imports: ours speaks from INFO, others from ERROR; no progress bars of theirs.

    XTUNE_DEBUG=1 leaves everything as it is.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    ours = logging.getLogger("xtune")
    ours.setLevel(logging.INFO)
    ours.handlers = [handler]
    ours.propagate = False
    if os.environ.get("XTUNE_DEBUG") == "1":
        return
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    if "HF_HUB_OFFLINE" not in os.environ and not hub_has_an_address():
        os.environ["HF_HUB_OFFLINE"] = "1"
    for name in ("DeepSpeed", "bitsandbytes", "accelerate", "datasets", "huggingface_hub", "torch.distributed"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    import torch

    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # else DeepSpeed warns that it had to guess
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()


def hub_has_an_address() -> bool:
    """Whether the hub's name can be resolved, or is for a proxy to resolve.

    Where it cannot, the hub's library would try again for half a minute at every file, those in its cache too.
    """
    endpoint = urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
    if getproxies():
        return True
    try:
        socket.getaddrinfo(endpoint.hostname, endpoint.port or 443)
        return True
    except OSError:
        return False
