"""`xtune copy-cfg NAME DIR`: a config as a file of one's own, with a comment above what people change."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from pathlib import Path

from xtune.commands.config_arguments import FILE_HELP, add_trust_argument
from xtune.errors import ConfigError
from xtune.foreign import foreign
from xtune.text import one_line

COMMENTS = {
    "model": "The base model. path: a hub id, a local folder or a GGUF file; dtype: auto, bfloat16, float16, float32;\n"
    "attention: auto, sdpa, eager, flash_attention_2. name says which family it is (xtune list-models).",
    "template": "How turns become text (xtune list-templates). It is stored with the adapter, so chat uses the same.",
    "tuning": "How weights are tuned (xtune list-strategies). More rank learns more and takes more memory;\n"
    'targets: "all-linear", or names such as ["q_proj", "v_proj"].',
    "distributed": "How the work is distributed: auto, single, ddp, fsdp, deepspeed_zero1 to 3, also with _offload.",
    "data": "What is trained on, one entry a source. path: a hub id, or .json, .jsonl, .csv, .parquet, .xlsx or .txt\n"
    "files (one, a folder, a glob); mapper: how a row becomes a conversation (xtune list-mappers), its columns\n"
    'by options, as options=dict(question="Frage"). Also: limit, weight, system, split, subset, sheet.',
    "max_length": "The longest sample, in tokens. Memory grows with it; too_long says what happens to longer ones:\n"
    "drop_turns (from the end), truncate, or error.",
    "pack": "Whether short samples share one sequence (none sees another). Faster; the loss is the same.",
    "optimizer": "lr: 2e-4 suits adapters, 2e-5 full tuning; lower it when the loss jumps.\n"
    "name: adamw, adafactor, adamw_8bit, paged_adamw_8bit, paged_adamw_32bit.",
    "schedule": "How lr moves: cosine, linear or constant, after a warm-up over this share of the steps.",
    "train": "A step takes batch_size x accumulate x devices samples (or packs). Out of memory: halve batch_size and\n"
    "double accumulate; the result is the same.",
    "checkpoint": "Steps between checkpoints, and how many stay.",
    "evaluation": "Questions answered every so many steps. holdout=0.05 keeps 5 % of the rows for an evaluation loss.",
}


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME|FILE", help=FILE_HELP)
    parser.add_argument("folder", metavar="DIR", help="where the copy goes; made if it does not exist")
    add_trust_argument(parser)
    parser.add_argument("--force", action="store_true", help="overwrite a file that is there")


def run(args: Namespace) -> int:
    from xtune.registries import components

    configs = components().configs
    file = configs.files.get(args.name)
    deepspeed = file if file and file.suffix == ".json" else None
    target = Path(args.folder) / (deepspeed.name if deepspeed else f"{Path(args.name).stem}.py")
    text = deepspeed.read_text(encoding="utf-8") if deepspeed else annotated(args.name, trust_config=args.trust_config)
    write(target, text, force=args.force)
    print(target)
    return 0


def annotated(name_or_path: str | Path, *, trust_config: bool = False) -> str:
    """A standalone config file with the values of another, those that it inherits included, and comments."""
    from xtune.config.validate import validate
    from xtune.config.write import dump
    from xtune.names import read_config

    values, where = read_config(str(name_or_path), trust_config=trust_config)
    validate(values, where)
    about = f"A copy of {Path(name_or_path).stem}, to be changed. xtune train THIS_FILE."
    return dump(values, docstring=about, comments=COMMENTS)


def write(target: Path, text: str, *, force: bool) -> None:
    """Writes the whole file or nothing. Raises ConfigError for one that is there, unless `force`."""
    from xtune.atomic import whole_file

    if os.path.exists(target) and not force:
        raise ConfigError(f"{target} exists", "give another folder, or --force to overwrite it")
    with foreign(f"{one_line(str(target))} cannot be written", ConfigError, "give another folder"):
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(target) as beside:
            beside.write_text(text, encoding="utf-8")
