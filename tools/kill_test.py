"""Stops a training run again and again, resumes it each time, and compares the end with a quiet run's.

    python tools/kill_test.py --kills 50 [--seed 0] [--epochs 12] [--tuning lora|pissa|full] [--patience N] [--keep DIR]

The run is small and everything else is real: a Llama of two layers with dropout in its attention and its adapters, two
data sets, packing, several epochs, accumulation, evaluation, answers, a best checkpoint. It is stopped by SIGKILL,
SIGTERM, SIGINT or SIGHUP, at each kind of moment in turn (MOMENTS), or by SIGKILL at any time.
Prints a line for each. Exits with 1 if any file of the work dir differs by a byte: weights, the optimizer's state,
journals, the checkpoints that are kept, the report. Its clock stands still, so that times do not differ.
Runs are forked from this process, so that each costs a second and not the time to import torch.
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
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple

LORA = {"name": "lora", "rank": 8, "dropout": 0.2}
TUNINGS = {"lora": LORA, "pissa": LORA | {"init": "pissa"}, "full": {"name": "full"}}
WORDS = ["red", "green", "blue", "one", "two", "three", "north", "south", "east", "west", "sun", "moon", "star", "tree"]
SIGNALS = [signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGHUP]
MOMENTS = {
    "preparing data": ("xtune.resolve", "prepare"),
    "loading the model": ("xtune.training.build", "build_model"),
    "a step": ("xtune.training.loop", "Loop.train_step"),
    "an evaluation": ("xtune.evaluation.evaluator", "Evaluator.__call__"),
    "measuring": ("xtune.training.evaluations", "held_out_loss"),
    "saving": ("xtune.checkpoints.save", "Saver.save"),
    "writing weights": ("xtune.checkpoints.save", "save_weights"),
    "publishing": ("xtune.checkpoints.checkpoint", "_put_in_place"),
    "naming the best": ("xtune.checkpoints.checkpoint", "replace_json"),
    "deleting": ("xtune.checkpoints.checkpoint", "prune"),
    "the report": ("xtune.callbacks.report", "ReportCallback.ended"),
}
"""What a run is doing when it is stopped: before that, or after it."""
ANY_TIME = "any time"
NOT_COMPARED = (".lock",)


class Strike(NamedTuple):
    """A signal, the moment at which the run gets it, the how-manieth of its kind, and whether before or after it."""

    number: signal.Signals
    moment: str
    count: int
    after: bool

    def __str__(self) -> str:
        place = f"{'after' if self.after else 'before'} {self.moment}, {self.count}. time"
        return f"{self.number.name} {ANY_TIME if self.moment == ANY_TIME else place}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--tuning", choices=list(TUNINGS), default="lora")
    parser.add_argument("--patience", type=int, help="stop early, at a learning rate that brings no gain for long")
    parser.add_argument("--keep", type=Path, help="work in this folder and leave it")
    args = parser.parse_args(arguments)
    root = args.keep or Path(tempfile.mkdtemp(prefix="kill-test-"))
    root.mkdir(parents=True, exist_ok=True)
    try:
        config = make_config(root, args.tuning, args.epochs, args.patience)
        return kill_test(root, args.kills, random.Random(args.seed), config)
    finally:
        if args.keep is None:
            shutil.rmtree(root)


def kill_test(root: Path, kills: int, chance: random.Random, config: Any) -> int:
    import matplotlib.figure  # noqa: F401  what follows is imported here once, for all the forks
    import peft  # noqa: F401
    import torch

    import xtune.callbacks.report
    import xtune.checkpoints.save
    import xtune.generate.session
    import xtune.training.build  # noqa: F401

    torch.set_num_threads(1)
    began = time.monotonic()
    wait(start(config, root / "quiet"))
    length = time.monotonic() - began
    print(f"a quiet run takes {length:.1f} s and ends with {newest(root / 'quiet')}", flush=True)

    plan, done, ended = strikes(chance), 0, 0
    while done < kills:
        strike = next(plan)
        child = start(config, root / "killed", strike)
        if strike.moment == ANY_TIME:
            time.sleep(chance.uniform(0.0, length))
            os.kill(child, strike.number)
        if os.waitpid(child, 0)[1] == 0:  # it came to its end before the moment did
            ended += 1
            if problems := compare(root / "quiet", root / "killed"):
                return report(problems, done)
            shutil.rmtree(root / "killed")
            continue
        done += 1
        print(f"kill {done}: {strike}; good so far: {newest(root / 'killed')}", flush=True)
    wait(start(config, root / "killed"))
    print(f"{ended + 1} runs came to their end", flush=True)
    return report(compare(root / "quiet", root / "killed"), done)


def strikes(chance: random.Random) -> Any:
    """Every moment with every signal, in a random order, and as often any time, for ever."""
    while True:
        every = [(number, moment) for moment in MOMENTS for number in SIGNALS]
        for number, moment in chance.sample(every, len(every)):
            yield Strike(number, moment, chance.choice([1, 1, 1, 2, 3, 5]), chance.random() < 0.5)
            yield Strike(signal.SIGKILL, ANY_TIME, 1, False)


def report(problems: list[str], kills: int) -> int:
    said = f"{kills} kills: weights, optimizer state and losses are equal, bit for bit, and every other file too"
    print("\n".join(problems) or said)
    return 1 if problems else 0


def start(config: Any, work_dir: Path, strike: Strike | None = None) -> int:
    """Forks a process that trains, from where the work dir stands. Returns its process id.

    It ends with 0 only where the run came to its end.
    """
    from xtune.training.train import train

    child = os.fork()
    if child:
        return child
    with (work_dir.parent / "output.txt").open("a") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        try:
            stop_the_clock()
            if strike is not None and strike.moment != ANY_TIME:
                aim(strike)
            print(f"--- {strike}", flush=True)
            reason = train(config, work_dir, resume="auto").reason
            os._exit(0 if reason in ("finished", "early stop") else 3)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)


def stop_the_clock() -> None:
    """Steps take no time and no memory, so that the journals and the report can be compared to the byte."""
    from types import SimpleNamespace

    from xtune.training import loop

    loop.time = SimpleNamespace(perf_counter=lambda: 0.0)  # type: ignore[assignment]
    loop.memory_gib = lambda: 0.0


def aim(strike: Strike) -> None:
    """Makes the run send itself the signal when the moment comes."""
    from importlib import import_module

    module, path = MOMENTS[strike.moment]
    owner, (*outer, name) = import_module(module), path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    real, calls = getattr(owner, name), []

    @wraps(real)
    def struck(*args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == strike.count and not strike.after:
            os.kill(os.getpid(), strike.number)
        result = real(*args, **options)
        if len(calls) == strike.count and strike.after:
            os.kill(os.getpid(), strike.number)
        return result

    setattr(owner, name, struck)


def wait(child: int) -> None:
    _, status = os.waitpid(child, 0)
    if status:
        raise SystemExit(f"the run failed with status {status}; see output.txt (--keep DIR leaves it)")


def newest(work_dir: Path) -> str:
    from xtune.checkpoints.checkpoint import list_checkpoints

    found = list_checkpoints(work_dir)
    return found[-1].name if found else "none"


def compare(quiet: Path, killed: Path) -> list[str]:
    """What differs between the folders of two finished runs."""
    wanted, found = contents(quiet), contents(killed)
    problems = [] if wanted else [f"{quiet} has no files to compare with"]
    problems += [f"{name} is missing" for name in sorted(wanted.keys() - found.keys())]
    problems += [f"{name} is too many" for name in sorted(found.keys() - wanted.keys())]
    return problems + [
        f"{name} differs" for name in sorted(wanted.keys() & found.keys()) if wanted[name] != found[name]
    ]


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in NOT_COMPARED)
    # the title of the report is the folder's name
    return {str(path.relative_to(folder)): path.read_bytes().replace(folder.name.encode(), b"NAME") for path in files}


def make_config(root: Path, tuning: str, epochs: int, patience: int | None = None) -> Any:
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
        "optimizer": {"lr": 0.1 if patience else 1e-3},
        "schedule": {"name": "cosine", "warmup_ratio": 0.1},
        "train": {"batch_size": 2, "accumulate": 3, "epochs": epochs},
        "checkpoint": {"every": 3, "keep": 2, "best": True},
        "evaluation": {"every": 4, "holdout": 0.1, "patience": patience, "prompts": ["red"], "max_new_tokens": 3},
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
