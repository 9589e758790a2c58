"""Who started this process, by its environment: torchrun, Slurm, `xtune train` itself, or a person."""

from __future__ import annotations

import os

from xtune.errors import ConfigError

LOCAL = "127.0.0.1"


def rank_environment() -> dict[str, str]:
    """RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT of this process; empty where it is alone.

    They are set by torchrun and by `xtune train` itself; under Slurm (`srun`) they follow from Slurm's own.
    """
    found = os.environ
    if number("WORLD_SIZE", 1) > 1 and "RANK" in found:
        if missing := [name for name in ("MASTER_ADDR", "MASTER_PORT") if name not in found]:
            raise ConfigError(
                f"this process is one of several, but {' and '.join(missing)} is not set: got "
                f"`RANK={found['RANK']}` and `WORLD_SIZE={found['WORLD_SIZE']}`",
                "set it, or start with torchrun"
            )
        names = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
        # who sets none (Kubeflow) starts one process a machine
        return {"LOCAL_RANK": found.get("LOCAL_RANK", "0"), **{name: found[name] for name in names}}
    if number("SLURM_NTASKS", 1) > 1 and "SLURM_PROCID" in found and not in_batch_script():
        if found.get("NPROC_PER_NODE", "1") != "1":
            raise ConfigError(
                "Slurm's tasks and NPROC_PER_NODE both say how many processes there are: got "
                f"`SLURM_NTASKS={found['SLURM_NTASKS']}` and `NPROC_PER_NODE={found['NPROC_PER_NODE']}`",
                "unset NPROC_PER_NODE and start a task a GPU with srun"
            )
        return {
            "RANK": found["SLURM_PROCID"],
            "WORLD_SIZE": found["SLURM_NTASKS"],
            "LOCAL_RANK": found.get("SLURM_LOCALID", "0"),
            "MASTER_ADDR": found.get("MASTER_ADDR") or first_host(found["SLURM_NODELIST"]),
            "MASTER_PORT": found.get("MASTER_PORT") or str(20000 + int(found["SLURM_JOB_ID"]) % 20000),
        }
    return {}


def in_batch_script() -> bool:
    """Whether this runs in the script of sbatch, or the shell of salloc: task 0 by its variables, though srun started
    none. Their step has no number, or one above all that srun gives.
    """
    step = os.environ.get("SLURM_STEP_ID", "none")
    return os.environ.get("SLURM_PROCID") == "0" and not (step.isdecimal() and int(step) < 0xFFFFFF00)


def first_host(nodes: str) -> str:
    """The first host of a Slurm list: "gpu[03-05,9],cpu1" -> "gpu03"."""
    name, bracket, rest = nodes.partition("[")
    if not bracket or "," in name:
        return nodes.split(",")[0]
    return name + rest.split("]")[0].split(",")[0].split("-")[0]


def check_launcher(launcher: str) -> None:
    """Raises ConfigError where `launcher` (none, pytorch, slurm) did not start this process."""
    variables = {"pytorch": "RANK", "slurm": "SLURM_PROCID"}
    if launcher in variables and variables[launcher] not in os.environ:
        starter = {"pytorch": "torchrun", "slurm": "srun"}[launcher]
        raise ConfigError(
            f"--launcher {launcher} needs {variables[launcher]} in the environment: got none",
            f"start it with {starter}"
        )


def processes_wanted() -> int:
    """How many processes NPROC_PER_NODE asks to be started here; 0 where this process is a rank, or to be alone.

    Raises ConfigError where it is not clear how many there are, or who is the first of them.
    """
    if rank_environment():
        return 0
    text = os.environ.get("NPROC_PER_NODE", "1")
    if not text.isdigit() or int(text) == 0:
        raise ConfigError(
            f"NPROC_PER_NODE should be a number of processes: got `{text}`",
            "set 1 or more"
        )
    nodes, _ = machines()
    if nodes > 1 and "ADDR" not in os.environ:
        raise ConfigError(
            f"`NNODES={nodes}` machines have to know the first one: got no ADDR",
            "set ADDR to the address of the machine with NODE_RANK=0, on each of them"
        )
    tasks = number("SLURM_NTASKS", 1)
    if tasks > 1 and nodes == 1 and int(text) == 1 and in_batch_script():
        raise ConfigError(
            f"Slurm has {tasks} tasks for this job, but srun started none of them: got a batch script",
            "start it with srun, or set NPROC_PER_NODE"
        )
    return int(text) if int(text) > 1 or nodes > 1 else 0


def machines() -> tuple[int, int]:
    """How many machines there are, and the number of this one. Raises ConfigError."""
    nodes, node = number("NNODES", 1, least=1), number("NODE_RANK", 0)
    if node >= nodes:
        raise ConfigError(
            f"NODE_RANK counts from 0 to NNODES - 1: got `NODE_RANK={node}` and `NNODES={nodes}`",
            "set both"
        )
    return nodes, node


def ranks_wanted() -> int:
    """How many ranks the run will have, on all machines."""
    if world := rank_environment().get("WORLD_SIZE"):
        return int(world)
    if in_batch_script() and "NPROC_PER_NODE" not in os.environ:
        return number("SLURM_NTASKS", 1, least=1)
    return max(1, processes_wanted()) * machines()[0]


def number(name: str, default: int, *, least: int = 0) -> int:
    """The whole number in an environment variable. Raises ConfigError."""
    text = os.environ.get(name, str(default))
    if not (text.isascii() and text.isdigit() and int(text) >= least):
        raise ConfigError(
            f"{name} should be a whole number from {least}: got `{text}`",
            "set it, or unset it"
        )
    return int(text)
