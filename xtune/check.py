"""What can be known before training begins: each finding, and whether training must not start.

In the order of their cost: `of_settings` needs nothing but the config, `of_tokenizer` small files of the model, and
`of_data` every row.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from xtune.conversation import IGNORE, Conversation, Turn
from xtune.data.embedded import refuse_unembedded
from xtune.data.schedule import Plan
from xtune.encoding.stops import stops
from xtune.encoding.verify import compare
from xtune.errors import DataError, ModelError, XtuneError
from xtune.estimate.memory import GIB, checkpoint_bytes
from xtune.estimate.plan import RESERVED_GIB, Estimate, Setting, advice, estimate, planned, setting_of
from xtune.models.load import load_config_file, refuse_incomplete
from xtune.models.vocabulary import OtherTokenizer, added_beyond, refuse_beyond
from xtune.names import encode
from xtune.optimizers.schedule import check_warmup
from xtune.paths import is_local
from xtune.templates.own_jinja import UnusableTemplate
from xtune.text import in_bytes, shown
from xtune.training.layers import free_memory
from xtune.training.versions import PACKAGES, device_name, plugin_versions
from xtune.tuning.tuning import TuningError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from xtune.data.dataset import Dataset, Packs
    from xtune.data.report import Report
    from xtune.run import Run

Level = Literal["ok", "warning", "error", "unknown"]

HOPELESS = 1.5
"""A run that is estimated to need so many times the memory there is cannot start; estimates are off by less."""
MANY_DROPPED = 0.1
LITTLE_LEARNT = 0.02
FEW_STEPS = 10
QUESTION, ANSWER = "Who are you?", "A model."


class Finding(NamedTuple):
    """`told` is one line; where `level` is "error", what to do is in it."""

    subject: str
    level: Level
    told: str


def of_settings(run: Run, work_dir: Path, ranks: int) -> Iterator[Finding]:
    """What the config, the packages and the machine say. `ranks` is the number of processes that will train."""
    yield packages()
    yield from extras(run)
    yield plugins(run)
    yield from room(run, work_dir, ranks)
    if problem := unusable(work_dir):
        yield Finding("work dir", "error", problem)


def of_tokenizer(run: Run) -> Iterator[Finding]:
    """What the model's small files say: its context, its tokenizer beside the chat template."""
    try:
        run.refuse_stored_bits()
        yield weights(run)
        yield context(run)
        yield vocabulary(run, run.tokenizer)
        yield from template(run, run.tokenizer)
    except XtuneError as error:
        yield Finding("model", "error", str(error))


def of_data(run: Run, ranks: int) -> Iterator[Finding]:
    """What the rows say. They are read and encoded for it, and in the cache then for the run."""
    try:
        feeds = run.open_data()
        run.open_choices()
        dataset, report = run.prepare_data(feeds)
        yield from rows(report)
        if problem := unembedded(run, dataset, run.tokenizer):
            yield Finding("embeddings", "error", problem)
        yield steps(run, dataset.train, ranks)
    except DataError as error:
        yield Finding("data", "error", str(error))
    except ModelError:
        yield Finding("data", "unknown", "the rows are there; they are encoded with the model's tokenizer")
    except XtuneError as error:
        yield Finding("steps", "error", str(error))


def packages() -> Finding:
    """The installed versions beside those that xtune was made for."""
    from packaging.requirements import Requirement

    wrong = []
    for requirement in map(Requirement, requires("xtune") or ()):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            wrong.append(f"{requirement.name} is not installed")
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            wrong.append(f"{requirement.name} {installed} is not {requirement.specifier}")
    if wrong:
        return Finding("packages", "warning", f"{', '.join(wrong)}: pip install --upgrade xtune")
    return Finding("packages", "ok", ", ".join(f"{name} {version(name)}" for name in PACKAGES[:5] if find_spec(name)))


def extras(run: Run) -> Iterator[Finding]:
    """What this config asks for beyond the packages that always are there."""
    import torch

    if run.config.model.attention == "flash_attention_2" and not (
        find_spec("flash_attn") and torch.cuda.is_available()
    ):
        lacking = "the package flash-attn" if torch.cuda.is_available() else "a CUDA device"
        yield Finding("attention", "error", f"flash_attention_2 needs {lacking}: set model.attention=auto")
    for package in run.distributed.packages:
        if not find_spec(package):
            told = f"{run.config.distributed_name} needs {package}: pip install {package}, or use distributed=fsdp"
            yield Finding("distributed", "error", told)
    for callback in run.callbacks:
        try:
            callback.check()
        except XtuneError as error:
            yield Finding(callback.subject, "error", str(error))


def plugins(run: Run) -> Finding:
    found = plugin_versions(run.components)
    return Finding("plugins", "ok", ", ".join(f"{name} {number}" for name, number in found.items()) or "none")


def room(run: Run, work_dir: Path, ranks: int) -> Iterator[Finding]:
    """The estimate of `xtune plan` beside the memory and the disk there are; unknown where there is none."""
    import torch

    gpu = torch.cuda.is_available()
    have = free_memory(torch.device("cuda" if gpu else "cpu")) / GIB / (1 if gpu else ranks)
    setting = setting_of(run.config, ranks if gpu else 0, have, run.objective.sequences)
    try:
        found = estimate(run, setting, ranks)
    except XtuneError as error:
        misfit = isinstance(error, TuningError)
        yield Finding("tuning" if misfit else "memory", "error" if misfit else "unknown", str(error))
        yield Finding("disk", "unknown", f"{in_bytes(free_disk(work_dir))} free at {work_dir}")
        return
    yield Finding("tuning", "ok", f"{found.needed.trained:,} weights are trained, {found.told}")
    yield memory(found, setting)
    yield from disk(found.run, found.needed.trained, work_dir)


def memory(found: Estimate, setting: Setting) -> Finding:
    run, needed, have = found.run, found.needed, setting.gpu_gib
    each = found.memory.total / GIB + RESERVED_GIB
    told = f"about {each:.1f} GiB, {have:.1f} GiB are free on {device_name()}"
    if each <= have:
        return Finding("memory", "ok", told)
    cures = advice(needed, setting, run.quantization, planned(run.components.strategies))
    return Finding(
        "memory",
        "error" if each > HOPELESS * have else "warning",
        f"{told}: {cures[0]} (xtune plan tells more)",
    )


def disk(run: Run, trained: int, work_dir: Path) -> Iterator[Finding]:
    """Room for the checkpoints, and for what has to be downloaded first."""
    config = run.config
    kept = config.checkpoint.keep + 1 + config.checkpoint.best
    checkpoint = checkpoint_bytes(trained, run.optimizer)
    wanted = [(work_dir, kept * checkpoint, f"{kept} checkpoints")]
    if not is_local(config.model.path):
        from huggingface_hub.constants import HF_HUB_CACHE

        wanted.append((Path(HF_HUB_CACHE), 2.0 * run.model.parameters, "the download"))
    for folder, size, purpose in wanted:
        free = free_disk(folder)
        told = f"{in_bytes(size)} for {purpose}, {in_bytes(free)} free at {folder}"
        if size > free:
            yield Finding("disk", "error", f"{told}: free some, or choose another place")
        else:
            yield Finding("disk", "ok", told)


def free_disk(folder: Path) -> int:
    """Bytes that are free for a folder, or where the nearest one above it is that is there."""
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if os.path.isdir(place))
    return shutil.disk_usage(there).free


def unusable(work_dir: Path) -> str:
    """Why nothing can be written to the work dir; empty where it can."""
    place = next(place for place in (work_dir.absolute(), *work_dir.absolute().parents) if os.path.exists(place))
    if not place.is_dir():
        return f"{work_dir} cannot be made: got a file, {place}; choose another --work-dir"
    if not os.access(place, os.W_OK):
        return f"{work_dir} cannot be written to: got {place}, which is read-only; choose another --work-dir"
    return ""


def weights(run: Run) -> Finding:
    """Whether the model's files are whole and hold what its class needs, by the names and shapes in them."""
    path = run.config.model.path
    if not is_local(path):
        return Finding("weights", "unknown", f"{path} is not in a folder here: they are compared when it is loaded")
    refuse_incomplete(path)
    return Finding("weights", "ok", "all that the model's class needs are in its files")


def context(run: Run) -> Finding:
    """`max_length` beside the context that the weights' own config.json tells."""
    limit = getattr(load_config_file(run.config.model.path), "max_position_embeddings", None)
    if limit and run.config.max_length > limit:
        told = f"max_length is beyond the model's context: got {run.config.max_length}, it takes {limit}; set it lower"
        return Finding("length", "error", told)
    return Finding("length", "ok", f"max_length {run.config.max_length}, the model takes {limit or 'any'}")


def vocabulary(run: Run, tokenizer: PreTrainedTokenizerBase) -> Finding:
    """The tokenizer beside the rows of the embeddings, and the ids of the template."""
    rows = run.embedding_rows()
    beyond = added_beyond(tokenizer, rows)
    asked = Conversation((Turn("user", QUESTION), Turn("assistant", ANSWER)))
    refuse_beyond(encode(asked, run.template, tokenizer).ids, tokenizer, rows, f"template {run.config.template}")
    if beyond:
        told = f"{len(beyond)} added tokens have no embedding, such as {shown(beyond[0])}: rows with them are refused"
        return Finding("vocabulary", "warning", told)
    return Finding("vocabulary", "ok", f"{len(tokenizer):,} tokens, {rows:,} embeddings")


def template(run: Run, tokenizer: PreTrainedTokenizerBase) -> Iterator[Finding]:
    """The chat template beside the tokenizer's own, and whether what is learnt ends with what ends an answer."""
    yield beside_own(run, tokenizer)
    asked = Conversation((Turn("user", QUESTION), Turn("assistant", ANSWER)))
    learnt = [label for label in encode(asked, run.template, tokenizer).labels if label != IGNORE]
    ids, strings = stops(run.template, tokenizer)
    end = tokenizer.convert_ids_to_tokens(learnt[-1])
    if learnt[-1] in ids or str(tokenizer.decode(learnt)).rstrip().endswith(tuple(text.rstrip() for text in strings)):
        yield Finding("stop", "ok", f"answers end with {end}")
    else:
        told = f"no answer ends with what ends a chat's: got {end} as its last token; give the template an end"
        yield Finding("stop", "warning", told)


def beside_own(run: Run, tokenizer: PreTrainedTokenizerBase) -> Finding:
    """The chat template beside the tokenizer's own. Training does without that one: it goes on where that is broken."""
    name = run.config.template
    if not tokenizer.chat_template:
        return Finding("template", "ok", f"{name}; the tokenizer carries none to compare with")
    try:
        found = compare(run.template, tokenizer)
    except UnusableTemplate as error:
        return Finding("template", "warning", f"{name} is compared with nothing: {error.problem}")
    refused = f"; it refuses {found.refused} of {found.total} conversations" if found.refused else ""
    if found.differences:
        differ = len(found.differences)
        told = f"{name} is not the tokenizer's own: {differ} conversations differ (xtune check-template){refused}"
        return Finding("template", "warning", told)
    return Finding("template", "ok", f"{name}, which equals the tokenizer's own, id for id{refused}")


def unembedded(run: Run, dataset: Dataset, tokenizer: PreTrainedTokenizerBase) -> str:
    """Which token of the rows the model has no embedding for; empty where it has all."""
    try:
        refuse_unembedded(dataset, tokenizer, run.embedding_rows())
    except OtherTokenizer:  # of_tokenizer has reported it
        return ""
    except ModelError as error:
        return str(error)
    return ""


def rows(report: Report) -> Iterator[Finding]:
    """What became of the rows."""
    lost = sum(report.dropped.values())
    told = f"{report.read:,} rows, {report.trained:,} trained on"
    if report.held_out:
        told += f", {report.held_out:,} held out"
    if lost:
        reasons = sorted(report.dropped.items(), key=lambda item: -item[1])
        told += f", {lost:,} dropped ({', '.join(f'{reason}: {count:,}' for reason, count in reasons[:2])})"
    yield Finding("data", "warning" if lost > MANY_DROPPED * report.read else "ok", told)
    part = report.learnt / report.tokens
    told = f"{report.tokens:,} tokens an epoch, {part:.1%} learnt"
    if report.fill is not None:
        told += f", packs {report.fill:.1%} full"
    yield Finding("tokens", "warning" if part < LITTLE_LEARNT else "ok", told)


def steps(run: Run, packs: Packs, ranks: int) -> Finding:
    """Steps of the whole run, and what each takes."""
    settings = run.config.train
    plan = Plan(packs, settings.batch_size, settings.accumulate, settings.epochs, settings.max_steps, ranks)
    check_warmup(plan.steps, run.config.schedule.warmup_steps)
    told = f"{plan.steps:,}, each of {plan.global_batch:,} {'pack' if run.config.pack else 'row'}"
    told += "s" if plan.global_batch > 1 else ""
    if plan.steps < FEW_STEPS:
        told += ": few to learn from; lower train.accumulate, or raise train.epochs"
    return Finding("steps", "warning" if plan.steps < FEW_STEPS else "ok", told)
