"""Kills a training run with SIGKILL at random moments, resumes it each time, and compares the end with a quiet run's.

    python tools/kill_test.py --kills 50 [--seed 0] [--epochs 12] [--tuning lora|pissa|full] [--keep DIR]

The run is small and everything else is real: a Llama of two layers with dropout in its attention and its adapters, two
data sets, packing, several epochs, accumulation, evaluation, a checkpoint every other step. Every second kill waits
until a checkpoint is being written.
Prints a line for each kill. Exits with 1 if a weight, a number of the optimizer's state or a logged loss differs by a
bit. Runs are forked from this process, so that a kill costs a second and not the time to import torch.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

LORA = {"name": "lora", "rank": 8, "dropout": 0.2}
TUNINGS = {"lora": LORA, "pissa": LORA | {"init": "pissa"}, "full": {"name": "full"}}
TIMED = ("seconds", "memory_gib")
WORDS = ["red", "green", "blue", "one", "two", "three", "north", "south", "east", "west", "sun", "moon", "star", "tree"]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--tuning", choices=list(TUNINGS), default="lora")
    parser.add_argument("--keep", type=Path, help="work in this folder and leave it")
    args = parser.parse_args(arguments)
    root = args.keep or Path(tempfile.mkdtemp(prefix="kill-test-"))
    root.mkdir(parents=True, exist_ok=True)
    try:
        return kill_test(root, args.kills, random.Random(args.seed), make_config(root, args.tuning, args.epochs))
    finally:
        if args.keep is None:
            shutil.rmtree(root)


def kill_test(root: Path, kills: int, moments: random.Random, config: Any) -> int:
    import matplotlib.figure  # noqa: F401  what follows is imported here once, for all the forks
    import peft  # noqa: F401
    import torch

    torch.set_num_threads(1)
    began = time.monotonic()
    wait(start(config, root / "quiet"))
    length = time.monotonic() - began
    print(f"a quiet run takes {length:.1f} s and ends with {newest(root / 'quiet')}", flush=True)

    done = 0
    while done < kills:
        child = start(config, root / "killed")
        hit = kill(child, root / "killed", moments, length, writing=done % 2 == 1)
        if hit is None:  # it came to its end first: begin again, so that every kill counts
            problems = compare(root / "quiet", root / "killed")
            if problems:
                return report(problems, done)
            print("  the run ended, equal to the quiet one; another one is begun", flush=True)
            shutil.rmtree(root / "killed")
            continue
        done += 1
        print(f"kill {done}: {hit}; good so far: {newest(root / 'killed')}", flush=True)
    wait(start(config, root / "killed"))
    return report(compare(root / "quiet", root / "killed"), done)


def report(problems: list[str], kills: int) -> int:
    print("\n".join(problems) or f"{kills} kills: weights, optimizer state and losses are equal, bit for bit")
    return 1 if problems else 0


def start(config: Any, work_dir: Path) -> int:
    """Forks a process that trains, from where the work dir stands. Returns its process id."""
    from xtune.training.train import train

    child = os.fork()
    if child:
        return child
    with (work_dir.parent / "output.txt").open("a") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        try:
            train(config, work_dir, resume="auto")
            os._exit(0)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)


def wait(child: int) -> None:
    _, status = os.waitpid(child, 0)
    if status:
        raise SystemExit(f"the run failed with status {status}; see output.txt (--keep DIR leaves it)")


def kill(child: int, work_dir: Path, moments: random.Random, length: float, writing: bool) -> str | None:
    """Kills the run at a random moment, or a random moment after a checkpoint began to be written. None: it ended."""
    until = time.monotonic() + moments.uniform(0.0, length)
    while not (writing and partial(work_dir)) and time.monotonic() < until:
        if os.waitpid(child, os.WNOHANG)[0]:
            return None
        time.sleep(0.0005)
    time.sleep(moments.uniform(0.0, 0.03) if writing else 0.0)
    if os.waitpid(child, os.WNOHANG)[0]:
        return None
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    found = partial(work_dir)
    return f"while {found} was written" if found else f"after step {steps(work_dir)}"


def partial(work_dir: Path) -> str:
    try:
        return next((path.name for path in (work_dir / "checkpoints").glob(".step_*")), "")
    except FileNotFoundError:  # it was renamed while we looked
        return ""


def steps(work_dir: Path) -> int:
    file = work_dir / "metrics.jsonl"
    return file.read_bytes().count(b"\n") if file.is_file() else 0


def newest(work_dir: Path) -> str:
    from xtune.checkpoints.checkpoint import list_checkpoints

    found = list_checkpoints(work_dir)
    return found[-1].name if found else "none"


def compare(quiet: Path, killed: Path) -> list[str]:
    """What differs between two finished runs."""
    problems = []
    if losses(quiet) != losses(killed):
        problems.append("the logged losses differ")
    last = newest(quiet)
    for file in sorted((quiet / "checkpoints" / last).rglob("*")):
        name = file.relative_to(quiet)
        other = killed / name
        if file.is_file() and file.name not in ("manifest.json", "xtune_run.json"):
            if not other.is_file():
                problems.append(f"{name} is missing")
            elif file.read_bytes() != other.read_bytes():
                problems.append(f"{name} differs")
    return problems


def losses(work_dir: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (work_dir / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in TIMED} for row in rows]


def make_config(root: Path, tuning: str, epochs: int) -> Any:
    """A model, a tokenizer and two data sets in `root`, and the config of a run on them."""
    from xtune.config.validate import validate

    make_model(root / "model")
    for name, rows in (("first", 60), ("second", 40)):
        make_data(root / f"{name}.jsonl", rows, seed=rows)
    values = {
        "model": {"name": "smollm2_135m_instruct", "path": str(root / "model")},
        "template": "default",
        "tuning": TUNINGS[tuning],
        "data": [{"path": str(root / f"{name}.jsonl"), "mapper": "alpaca"} for name in ("first", "second")],
        "max_length": 512,
        "pack": True,
        "optimizer": {"lr": 1e-3},
        "schedule": {"name": "cosine", "warmup_ratio": 0.1},
        "train": {"batch_size": 2, "accumulate": 3, "epochs": epochs},
        "checkpoint": {"every": 2, "keep": 2, "best": True},
        "evaluation": {"every": 5, "holdout": 0.1},
    }
    return validate(values, "kill_test")


def make_model(folder: Path) -> None:
    """A Llama of two layers and a tokenizer whose tokens are bytes."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {token: number for number, token in enumerate(["<s>", "</s>", *letters])}
    tokenizer = Tokenizer(models.BPE(words, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        attention_dropout=0.1,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


def make_data(path: Path, rows: int, seed: int) -> None:
    words = random.Random(seed)
    lines = []
    for _ in range(rows):
        question, answer = (" ".join(words.choices(WORDS, k=words.randint(1, 20))) for _ in range(2))
        lines.append(json.dumps({"instruction": question, "input": "", "output": answer}))
    path.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    sys.exit(main())
