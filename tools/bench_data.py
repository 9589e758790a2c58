"""Times the data engine beside the bare tokenizer, and beside other programs where their interpreters are given.

    python tools/bench_data.py --data alpaca_en.json alpaca_zh.json --tokenizer FOLDER
        [--peer trl=PYTHON] [--peer llamafactory=PYTHON] [--memory]

Every figure is of a process of its own that does the whole job once: read, map, render, encode, mask, pack, write. The
rows are the given ones, each repeated with its output turned around at another place, so that no two are equal. What
takes part takes turns, `--repeats` times; the table has the best of each, which other load on the machine disturbs
least. `raw` is `encode_batch_fast` on the rendered text of the same rows, which is in memory before the clock starts.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

MAX_LENGTH = 2048
Result = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="JSON files of alpaca rows")
    parser.add_argument("--tokenizer", required=True, help="a folder with tokenizer.json, for the template chatml")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON", help="trl or llamafactory")
    parser.add_argument("--memory", action="store_true", help="peak memory with 25 times the rows, too")
    parser.add_argument("--only", choices=JOBS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        print(json.dumps(JOBS[args.only](args.data[0], args.tokenizer, args.threads[0])))
        return
    peers = dict(peer.split("=", 1) for peer in args.peer)
    pythons = {"raw": sys.executable, "xtune": sys.executable, **peers}
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder, "rows.json")
        characters = write_rows(args.data, rows, args.rows)
        print(f"{args.rows:,} rows, {characters:,} characters")
        for threads in args.threads:
            print_table(compare(pythons, rows, args.tokenizer, threads, args.repeats), threads)
        if args.memory:
            many = Path(folder, "many.json")
            write_rows(args.data, many, 25 * args.rows)
            peaks = [measure(sys.executable, "xtune", file, args.tokenizer, max(args.threads)) for file in (rows, many)]
            few, most = (result["peak_mib"] for result in peaks)
            print(f"peak memory: {few:.0f} MiB, with 25 times the rows {most:.0f} MiB: {most - few:+.0f} MiB")


def write_rows(files: list[Path], path: Path, wanted: int) -> int:
    """Writes `wanted` distinct rows as one JSON array; returns their characters."""
    rows = [row for file in files for row in json.loads(file.read_text(encoding="utf-8"))]
    characters = 0
    with path.open("w", encoding="utf-8") as out:
        for number, row in enumerate(varied(rows, wanted)):
            characters += sum(map(len, row.values()))
            out.write(("[" if number == 0 else ",\n") + json.dumps(row, ensure_ascii=False))
        out.write("]")
    return characters


def varied(rows: list[dict[str, str]], wanted: int) -> Iterator[dict[str, str]]:
    rounds = -(-wanted // len(rows))
    for number in range(wanted):
        turn, row = divmod(number, len(rows))
        output = rows[row]["output"]
        cut = len(output) * turn // rounds
        yield {**rows[row], "output": output[cut:] + " " * bool(turn) + output[:cut]}


def compare(pythons: dict[str, str], rows: Path, tokenizer: str, threads: int, repeats: int) -> dict[str, Result]:
    """The best result of every job."""
    best: dict[str, Result] = {}
    for _ in range(repeats):
        for job, python in pythons.items():
            result = measure(python, job, rows, tokenizer, threads)
            if job not in best or result["seconds"] < best[job]["seconds"]:
                best[job] = result
    return best


def measure(python: str, job: str, rows: Path, tokenizer: str, threads: int) -> Result:
    """What one job printed that ran alone, in a process of its own."""
    command = [
        python,
        __file__,
        "--only",
        job,
        "--data",
        str(rows),
        "--tokenizer",
        tokenizer,
        "--threads",
        str(threads),
    ]
    settings = {"RAYON_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "true", "OMP_NUM_THREADS": str(threads)}
    with tempfile.TemporaryDirectory() as cache:
        places = {"HF_HOME": cache, "HF_DATASETS_CACHE": cache, "XTUNE_CACHE": cache, "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(
            command, env={**os.environ, **settings, **places}, capture_output=True, text=True, check=False, cwd=cache
        )
    if done.returncode:
        raise SystemExit(f"{job} failed: {done.stderr[-2000:]}")
    result: Result = json.loads(done.stdout.splitlines()[-1])
    return result


def print_table(results: dict[str, Result], threads: int) -> None:
    print(f"\n{threads} thread{'s' * (threads > 1)}")
    print("| | rows/s | of raw | CPU s | tokens | fill | peak MiB |\n|---|---|---|---|---|---|---|")
    raw = results["raw"]["seconds"]
    for result in results.values():
        fill = f"{result['fill']:.4f}" if "fill" in result else "-"
        speed = f"{result['rows'] / result['seconds']:,.0f} | {raw / result['seconds']:.2f}"
        used = f"{result['cpu']:.1f} | {result['tokens']:,}"
        print(f"| {result['name']} | {speed} | {used} | {fill} | {result['peak_mib']:.0f} |", flush=True)


def stopwatch() -> Callable[[], dict[str, float]]:
    """Starts now; the function that it gives returns seconds since then, and of processor time, of children too."""
    wall, cpu = perf_counter(), _cpu()
    return lambda: {"seconds": perf_counter() - wall, "cpu": _cpu() - cpu}


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def versions(*packages: str) -> str:
    from importlib.metadata import version

    return ", ".join(f"{package} {version(package)}" for package in packages)


def raw(rows: Path, tokenizer: str, threads: int) -> Result:
    """The Rust tokenizer alone, in calls of 1,000 rows, which are faster than one call with all."""
    from transformers import AutoTokenizer

    from xtune.mappers.alpaca import alpaca
    from xtune.names import render

    conversations = [alpaca(row) for row in json.loads(rows.read_text(encoding="utf-8"))]
    texts = ["".join(span.text for span in render(one, "chatml")) for one in conversations]
    rust = AutoTokenizer.from_pretrained(tokenizer).backend_tokenizer
    elapsed = stopwatch()
    tokens = 0
    for first in range(0, len(texts), 1000):
        tokens += sum(map(len, rust.encode_batch_fast(texts[first : first + 1000], add_special_tokens=False)))
    figures = elapsed()
    name = f"raw encode_batch_fast ({versions('tokenizers')})"
    return {"name": name, "rows": len(texts), **figures, "tokens": tokens, "peak_mib": peak_mib()}


def xtune(rows: Path, tokenizer: str, threads: int) -> Result:
    import pyarrow.ipc  # noqa: F401  the peers have imported it, too, before they are timed
    from transformers import AutoTokenizer

    from xtune import __version__
    from xtune.data.feed import Feed
    from xtune.data.prepare import prepare
    from xtune.encoding.encoder import Encoder
    from xtune.mappers.alpaca import alpaca
    from xtune.names import template_named
    from xtune.sources.source import open_source

    encoder = Encoder(template_named("chatml"), AutoTokenizer.from_pretrained(tokenizer), max_length=MAX_LENGTH)
    elapsed = stopwatch()
    report = prepare([Feed(open_source(rows), alpaca)], encoder).report
    figures = {**elapsed(), "rows": report.read, "tokens": report.tokens, "fill": report.fill}
    return {"name": f"xtune {__version__}", **figures, "peak_mib": peak_mib()}


def trl(rows: Path, tokenizer: str, threads: int) -> Result:
    """SFTTrainer's own preparation, packing "bfd", of prompts and completions; the model it wants is tiny."""
    from datasets import load_dataset
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
    from trl import SFTConfig, SFTTrainer

    vocabulary = AutoTokenizer.from_pretrained(tokenizer)
    size = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(vocabulary), **size))
    times = []
    prepare = SFTTrainer._prepare_dataset

    def timed(*args: Any, **kwargs: Any) -> Any:
        elapsed = stopwatch()
        found = prepare(*args, **kwargs)
        times.append(elapsed())
        return found

    SFTTrainer._prepare_dataset = timed
    elapsed = stopwatch()
    data = load_dataset("json", data_files=str(rows), split="train")
    data = data.map(_exchange, remove_columns=data.column_names, num_proc=threads if threads > 1 else None)
    times.append(elapsed())
    options = {"max_length": MAX_LENGTH, "packing": True, "packing_strategy": "bfd", "report_to": "none"}
    options |= {"dataset_num_proc": threads if threads > 1 else None, "use_cpu": True, "bf16": False}
    arguments = SFTConfig(output_dir=str(rows.parent / "trl"), **options)
    trainer = SFTTrainer(model, arguments, train_dataset=data, processing_class=vocabulary)
    tokens = [len(pack) for pack in trainer.train_dataset["input_ids"]]
    figures = {key: sum(time[key] for time in times) for key in ("seconds", "cpu")}
    figures |= {"rows": len(data), "tokens": sum(tokens)}
    fill = sum(tokens) / len(tokens) / MAX_LENGTH
    return {"name": versions("trl"), **figures, "fill": fill, "peak_mib": peak_mib()}


def _exchange(row: dict[str, str]) -> dict[str, Any]:
    question = row["instruction"] + ("\n" + row["input"] if row["input"] else "")
    return {
        "prompt": [{"role": "user", "content": question}],
        "completion": [{"role": "assistant", "content": row["output"]}],
    }


def llamafactory(rows: Path, tokenizer: str, threads: int) -> Result:
    """LLaMA-Factory's get_dataset with packing. torchaudio, which text needs not, need not be installed."""
    import types
    from importlib.machinery import ModuleSpec
    from importlib.util import find_spec

    os.environ["DISABLE_VERSION_CHECK"] = "1"
    if find_spec("torchaudio") is None:
        stub = types.ModuleType("torchaudio")
        stub.__spec__ = ModuleSpec("torchaudio", None)
        sys.modules["torchaudio"] = stub
    from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
    from llamafactory.hparams import get_train_args
    from transformers import AutoTokenizer

    (rows.parent / "dataset_info.json").write_text(json.dumps({"rows": {"file_name": rows.name}}))
    options = {"stage": "sft", "do_train": True, "finetuning_type": "lora", "model_name_or_path": tokenizer}
    options |= {"dataset": "rows", "dataset_dir": str(rows.parent), "template": "chatml", "cutoff_len": MAX_LENGTH}
    options |= {"packing": True, "preprocessing_num_workers": threads if threads > 1 else None, "report_to": "none"}
    options |= {"output_dir": str(rows.parent / "lf"), "overwrite_cache": True, "use_cpu": True}
    model_args, data_args, training_args, _, _ = get_train_args(options)
    vocabulary = AutoTokenizer.from_pretrained(tokenizer)
    template = get_template_and_fix_tokenizer(vocabulary, data_args)
    elapsed = stopwatch()
    found = get_dataset(template, model_args, data_args, training_args, stage="sft", tokenizer=vocabulary)
    figures: dict[str, Any] = elapsed()
    packs = [_without_tail(ids, vocabulary.pad_token_id) for ids in found["train_dataset"]["input_ids"]]
    fill = sum(packs) / len(packs) / MAX_LENGTH
    figures |= {"rows": len(json.loads(rows.read_bytes())), "tokens": sum(packs)}
    return {"name": versions("llamafactory"), **figures, "fill": fill, "peak_mib": peak_mib()}


def _without_tail(ids: list[int], pad: int) -> int:
    """How many ids stand before the padding; its attention mask is 1 there, so it does not tell."""
    length = len(ids)
    while length and ids[length - 1] == pad:
        length -= 1
    return length


JOBS: dict[str, Callable[[Path, str, int], Result]] = {
    "raw": raw,
    "xtune": xtune,
    "trl": trl,
    "llamafactory": llamafactory,
}

if __name__ == "__main__":
    main()
