"""A config run in small: every stage of a real run in seconds, on any machine, without a download.

The code is that of a real run. What it works on is replaced: the weights by a random model of the same architecture,
the tokenizer and the data, where they are not on this machine, by small ones, and the steps by three.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

from xtune.checkpoints.checkpoint import list_checkpoints, read_manifest
from xtune.dist import launch
from xtune.environment import variable
from xtune.errors import XtuneError
from xtune.export.merge import merge
from xtune.export.pth_to_hf import pth_to_hf
from xtune.generate.open import open_session
from xtune.generate.sampling import Sampling
from xtune.registries import components
from xtune.rehearse.small_config import NEW_TOKENS, Small, make_small
from xtune.resolve import resolve
from xtune.run import Run
from xtune.training.train import Result, train_run

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from xtune.config.schema import Config
    from xtune.data.prepare import Prepared

QUESTION = "Who are you?"

T = TypeVar("T")


@dataclass(frozen=True)
class Stage:
    """A stage that went well: its name, how long it took in seconds, and what came of it."""

    name: str
    seconds: float
    outcome: str


@dataclass
class Stages:
    """The stages so far; `report` is called after each."""

    report: Callable[[Stage], None]
    done: list[Stage] = field(default_factory=list)

    def run(self, name: str, work: Callable[[], T], describe: Callable[[T], str]) -> T:
        """Does a stage's work, whose result `describe` puts in words. What goes wrong in it names the stage."""
        begin = perf_counter()
        try:
            with redirect_stdout(io.StringIO()):  # where a run shows its progress
                result = work()
        except XtuneError as error:
            raise XtuneError(f"the rehearsal fails at the stage {name}: {error.fact}", error.hint) from error
        except Exception as error:
            error.add_note(f"The rehearsal fails at the stage {name}.")
            raise
        self.done.append(Stage(name, perf_counter() - begin, describe(result)))
        self.report(self.done[-1])
        return result


@dataclass(frozen=True)
class Rehearsal:
    """What a rehearsal did: its stages, what stood in for what, and what only a real run can show."""

    stages: list[Stage]
    replaced: list[str]
    not_checked: list[str]


def rehearse(config: Config, report: Callable[[Stage], None] = lambda stage: None) -> Rehearsal:
    """Runs `config` in small, from its names to a chat with the converted model, in a temporary folder.

    `report` is called after each stage. Raises XtuneError that names the stage for what the user can correct; any other
    error carries a note that names it.
    """
    stages = Stages(report)
    with TemporaryDirectory(prefix="xtune-rehearsal-") as place:
        folder = Path(place)
        run = stages.run("resolve", lambda: resolve(config), describe_names)
        small = stages.run("make small", lambda: make_small(run, folder), describe_small)
        with variable("XTUNE_CACHE", str(folder / "cache")):  # the user's is for real data
            run_small(small.config, folder, stages)
    return Rehearsal(stages.done, small.replaced, small.not_checked)


def run_small(config: Config, folder: Path, stages: Stages) -> None:
    """The stages of a real run, on a config that is small. The last step is run again from the checkpoint before it."""
    run = resolve(config)
    stages.run("prepare data", run.prepare_data, describe_data)
    stages.run("load model", lambda: run.tuning.prepare(run.load_model()), describe_model)
    with launch.process_group(needed=run.distributed.needs_group):
        whole = stages.run("train", lambda: train_run(run, folder / "run"), describe_training)
        first = list_checkpoints(whole.work_dir)[0]
        stages.run("resume", lambda: resume(run, folder / "resumed", first, whole), lambda outcome: outcome)
    ready = folder / "converted"
    stages.run("convert", lambda: pth_to_hf(config, whole.work_dir, ready), lambda checkpoint: checkpoint.name)
    if (ready / "adapter_config.json").is_file():
        adapter, ready = ready, folder / "merged"
        stages.run("merge", lambda: merge(config.model.path, adapter, ready), lambda _: "into unquantized weights")
    stages.run("chat", lambda: chat(ready), lambda outcome: outcome)


def resume(run: Run, work_dir: Path, checkpoint: Path, whole: Result) -> str:
    """Goes on from `checkpoint` to the end, which must be that of the run as a whole, bit for bit."""
    again = train_run(run, work_dir, resume=checkpoint)
    ends = [read_manifest(result.checkpoint)["files"] for result in (whole, again)]
    if other := [name for name in ends[0] if name.endswith(".safetensors") and ends[0][name] != ends[1].get(name)]:
        raise RuntimeError(f"a run resumed from {checkpoint.name} ends otherwise than the whole run: in {other}")
    return f"from {checkpoint.name}: the same weights and optimizer state, bit for bit"


def chat(model: Path) -> str:
    session = open_session(str(model), components())
    session.sampling = Sampling(max_new_tokens=NEW_TOKENS)
    answer = session.ask(QUESTION)
    return f"{QUESTION} -> {len(answer)} characters"


def describe_names(run: Run) -> str:
    config = run.config
    mappers = ", ".join(dict.fromkeys(entry.mapper for entry in config.data))
    return f"{config.model.name}, template {config.template}, {config.tuning.name}, mapper {mappers}"


def describe_small(small: Small) -> str:
    return f"{len(small.replaced)} things replaced, listed below"


def describe_data(prepared: Prepared) -> str:
    report, packs = prepared.report, len(prepared.dataset.train)
    return f"{report.read} rows read, {report.trained} trained; {packs} packs, {report.tokens} tokens"


def describe_model(model: PreTrainedModel) -> str:
    plain: Any = model.get_base_model() if hasattr(model, "get_base_model") else model
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    bits = getattr(getattr(plain, "quantization_method", None), "value", "")
    return f"{type(plain).__name__}{f', {bits}' if bits else ''}, {trained:,} weights trained"


def describe_training(result: Result) -> str:
    losses = [row["loss"] for row in result.metrics]
    return f"{len(losses)} steps, loss {losses[0]:.2f} to {losses[-1]:.2f}, {result.checkpoint.name} written"
