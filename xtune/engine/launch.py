"""The processes of a run: joined where somebody started them, started here where NPROC_PER_NODE asks for several."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

TIMEOUT = timedelta(hours=2)
"""How long a rank waits for another: as long as the first rank may take to prepare data."""


def rank_environment() -> dict[str, str]:
    """RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT of this process; empty where it is alone.

    They are set by torchrun and by `xtune train` itself; under Slurm (`srun`) they follow from Slurm's own.
    """
    found = os.environ
    if int(found.get("WORLD_SIZE", 1)) > 1 and "RANK" in found:
        return {name: found[name] for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")}
    if int(found.get("SLURM_NTASKS", 1)) > 1 and "SLURM_PROCID" in found:
        return {
            "RANK": found["SLURM_PROCID"],
            "WORLD_SIZE": found["SLURM_NTASKS"],
            "LOCAL_RANK": found.get("SLURM_LOCALID", "0"),
            "MASTER_ADDR": found.get("MASTER_ADDR") or first_host(found["SLURM_NODELIST"]),
            "MASTER_PORT": found.get("MASTER_PORT") or str(20000 + int(found["SLURM_JOB_ID"]) % 20000),
        }
    return {}


def first_host(nodes: str) -> str:
    """The first host of a Slurm list: "gpu[03-05,9],cpu1" -> "gpu03"."""
    name, bracket, rest = nodes.partition("[")
    if not bracket or "," in name:
        return nodes.split(",")[0]
    return name + rest.split("]")[0].split(",")[0].split("-")[0]


@contextmanager
def process_group() -> Iterator[None]:
    """Joins the other ranks, where there are some: over NCCL with CUDA devices, over gloo without."""
    environment = rank_environment()
    if not environment:
        yield
        return
    import torch
    import torch.distributed as dist

    os.environ.update(environment)
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(environment["LOCAL_RANK"]))
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=TIMEOUT)
    try:
        yield
    finally:
        dist.destroy_process_group()
