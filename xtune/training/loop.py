"""The training loop: steps, and between them evaluations, answers and checkpoints when they are due."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from xtune.callbacks.callback import Callback
from xtune.checkpoints.journal import Journal
from xtune.data.schedule import seed_everything
from xtune.dist import ranks
from xtune.dist.interrupts import Interrupted, Interrupts
from xtune.distributed.parallel import Parallel
from xtune.errors import XtuneError
from xtune.evaluation.evaluator import Verdict
from xtune.objectives.objective import Objective
from xtune.training.steps import Step, Steps


@dataclass
class Loop:
    """Trains `parallel` on `steps`, from step `start` to the last.

    One gradient: a step's loss is the objective's sum over all micro-batches and ranks, divided by the sum of its
    weights (trained tokens, pairs). So it does not matter how the step is split, or how unevenly its tokens lie.
    """

    parallel: Parallel
    steps: Steps
    objective: Objective
    lr_factor: Callable[[int], float]
    seed: int
    metrics: Journal
    describe: Callable[[Any], str]
    """A batch as text, for the error of a loss that is not finite."""
    evaluate: Callable[[int], Verdict] | None = None
    """Evaluates after that many steps, where there is something to evaluate. May raise Interrupted."""
    verdict: Callable[[int], Verdict] = lambda step: Verdict()
    """What the evaluations so far ask for."""
    save: Callable[..., None] = lambda step, **how: None
    """Saver.save."""
    evaluate_every: int = 500
    save_every: int = 500
    callbacks: Callback = field(default_factory=Callback)
    interrupts: Interrupts = field(default_factory=Interrupts)

    def run(self, start: int = 0, *, evaluation_due: bool = False) -> str:
        """Runs to the end, or until it should stop. Returns why: "finished", "early stop" or a signal's name.

        `evaluation_due`: the run stopped in step `start` before it evaluated, which comes first now.
        """
        batches = self.steps.start(start)
        if start == 0 and self.evaluate:
            self.evaluate(0)
        with self.interrupts:
            if evaluation_due:
                reason = self._after(start, due=True, saved=True)
            else:
                reason = "early stop" if start and self.verdict(start).stop else None
            for step in range(start, len(self.steps)):
                if reason:
                    break
                self.metrics.append(row := self.train_step(step, batches))
                self.callbacks.stepped(row)
                due = self.evaluate is not None and self._due(step + 1, self.evaluate_every)
                reason = self._after(step + 1, due=due)
        return reason or "finished"

    def _after(self, done: int, *, due: bool, saved: bool = False) -> str | None:
        """What comes after a step: the evaluation that is due, a checkpoint. Returns why the run ends here, if it does.

        After a signal there may be little time: it is saved at once, and the evaluation left for when the run goes on.
        `saved`: a checkpoint of this step is there, without that evaluation.
        """
        verdict, signal = Verdict(), self.interrupts.agreed()
        if due and self.evaluate and not signal:
            seed_everything(self.seed, done, ranks.rank())  # as after any other step, whatever was done before
            with suppress(Interrupted):
                verdict, due = self.evaluate(done), False
            signal = self.interrupts.agreed()
        end = None if due else "early stop" if verdict.stop else "finished" if done == len(self.steps) else None
        scheduled = bool(end) or verdict.save or self._due(done, self.save_every)
        if (scheduled or signal) and not (due and saved):
            self.save(done, final=bool(end or signal), scheduled=scheduled, evaluation_due=due)
        return end or signal

    def _due(self, done: int, every: int) -> bool:
        return done == len(self.steps) or done % every == 0

    def train_step(self, step: int, batches: Iterator[Step]) -> dict[str, Any]:
        """One update of the weights, by the next of `batches`; `step` counts from 0. Returns the step's row of the
        metrics, from 1.

        Raises XtuneError for a loss or gradient that is not finite, before it reaches the weights.
        """
        begin = time.perf_counter()
        seed_everything(self.seed, step, ranks.rank())
        micro_batches = next(batches)
        counted = [(self.objective.weight(batch), batch.trained, batch.tokens) for batch in micro_batches]
        weight, trained, tokens = ranks.sums(*map(sum, zip(*counted, strict=True)))
        losses, sums = self._backward(micro_batches, max(weight, 1))
        mean, *figures = ranks.sums(*sums)
        if not math.isfinite(mean):
            bad = [batch for batch, loss in zip(micro_batches, losses, strict=True) if not loss.isfinite()]
            self._complain(step, mean, bad)
        factor = self.lr_factor(step)
        for group in self.parallel.optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        norm = self.parallel.update()
        if not math.isfinite(norm):
            self._complain(step, norm, micro_batches, what="gradient norm")
        return {
            "step": step + 1,
            "loss": mean,
            **{name: figure / max(weight, 1) for name, figure in zip(self.objective.metrics, figures, strict=True)},
            "lr": self.parallel.optimizer.param_groups[0]["lr"],
            "grad_norm": norm,
            "tokens": int(tokens),
            "learnt": int(trained),  # what `trained` was called before; for readers of older journals
            "trained": int(trained),
            self.objective.unit: int(weight),
            "seconds": round(time.perf_counter() - begin, 4),
            "memory_gib": round(memory_gib(), 3),
        }

    def _backward(self, micro_batches: Step, weight: float) -> tuple[list[Tensor], list[Tensor]]:
        """Makes this rank's gradients. Returns each micro-batch's loss, and the sums of these and of each metric."""
        self.parallel.module.train()
        losses, metrics = [], []
        for number, batch in enumerate(micro_batches, start=1):
            last = number == len(micro_batches)
            with self.parallel.micro_batch(last=last):
                log_probs = self.parallel.module(batch.model_inputs(), batch.labels_BT)
                total, found = self.objective.loss(log_probs, batch)
                loss = total / weight
                self.parallel.backward(loss, last=last)
            losses.append(loss.detach())
            metrics.append([found[name] for name in self.objective.metrics])
        return losses, [torch.stack(parts).double().sum() for parts in (losses, *zip(*metrics, strict=True))]

    def _complain(self, step: int, value: float, batches: list[Any], what: str = "loss") -> None:
        texts = [text for rank in ranks.gather([self.describe(batch) for batch in batches]) for text in rank]
        raise XtuneError(
            f"the {what} of step {step + 1} is {value}: nothing of it is saved, the newest checkpoint is older",
            f"look at its samples, or lower optimizer.lr. They are: {' | '.join(texts)}",
        )


def memory_gib() -> float:
    """The most memory taken so far: of the CUDA device where there is one, else of the process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    import resource
    import sys

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
