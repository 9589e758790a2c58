"""Every epoch's order is random in what a step holds, and saves padding in how a step is split into micro-batches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from questions import row

from xtune.data.dataset import Packs
from xtune.data.pack import one_each
from xtune.data.prepare import Prepared
from xtune.data.schedule import Plan


def unpacked(lengths: np.ndarray) -> Packs:
    return Packs(None, one_each(lengths), lengths, packed=False)  # type: ignore[arg-type]


def instructions(number: int) -> np.ndarray:
    """Lengths as those of instruction data: half below 150 tokens, the longest ten times that."""
    return np.random.default_rng(3).lognormal(5, 0.8, number).astype(np.int64) + 1


def ranks(values: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(values)).astype(float)


def dealt(lengths: np.ndarray, seed: int, epochs: int, **split: int) -> list[list[np.ndarray]]:
    """The rows of each step, in each epoch."""
    plan = Plan(unpacked(lengths), **{"accumulate": 1, "epochs": epochs, "seed": seed, **split})  # type: ignore[arg-type]
    steps = [plan.step_packs(step) for step in range(plan.steps)]
    return [steps[first : first + plan.steps_an_epoch] for first in range(0, plan.steps, plan.steps_an_epoch)]


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 900), st.integers(0, 3), st.integers(0, 3), st.integers(1, 70), st.booleans())
def test_order_is_a_permutation_that_depends_on_seed_and_epoch(
    number: int, seed: int, epoch: int, step: int, packed: bool
) -> None:
    lengths = instructions(number)
    packs = Packs(None, one_each(lengths), lengths, packed)  # type: ignore[arg-type]
    order = packs.order(seed, epoch, step)
    assert sorted(order.tolist()) == list(range(number))
    assert np.array_equal(order, packs.order(seed, epoch, step))
    if number > 10 * step:
        for other in (packs.order(seed, epoch + 1, step), packs.order(seed + 1, epoch, step)):
            assert {*order[:step].tolist()} != {*other[:step].tolist()}


@pytest.mark.parametrize("rows", [12, 40, 64, 65, 200, 1000])
@pytest.mark.parametrize("split", [{"batch_size": 4}, {"batch_size": 2, "accumulate": 2}])
def test_a_step_is_a_random_sample_whatever_its_rows_lengths(rows: int, split: dict[str, int]) -> None:
    """In length and step there is no rank correlation, and steps differ in length no more than random samples do."""
    lengths = instructions(rows)
    correlations, spreads, seen = [], [], set()
    for seed in range(20):
        for steps in dealt(lengths, seed, epochs=3, **split):
            seen |= {frozenset(chosen.tolist()) for chosen in steps}
            at = np.concatenate([np.full(len(chosen), step) for step, chosen in enumerate(steps)])
            correlations.append(np.corrcoef(at, ranks(lengths)[np.concatenate(steps)])[0, 1])
            spreads.append(np.var([np.log(lengths[chosen]).mean() for chosen in steps if len(chosen) == 4]))
    error = 1 / np.sqrt((rows - 1) * len(correlations))  # of the mean of as many rank correlations, were they random
    assert abs(np.mean(correlations)) < 4 * error
    assert np.std(correlations) == pytest.approx(1 / np.sqrt(rows - 1), rel=0.4)
    of_random = np.var(np.log(lengths), ddof=1) / 4 * (1 - 4 / rows)
    assert np.mean(spreads) == pytest.approx(of_random, rel=0.35)
    assert len(seen) > 0.7 * 60 * (rows // 4) or rows == 12  # other rows are together in each epoch, with each seed


def padded(lengths: np.ndarray, batch_size: int, **split: int) -> float:
    """Padding in an epoch's micro-batches, as a share of the tokens."""
    plan = Plan(unpacked(lengths), batch_size, epochs=1, seed=0, **split)  # type: ignore[arg-type]
    batches = [
        lengths[micro]
        for step in range(plan.steps)
        for rank in range(plan.ranks)
        for micro in plan.micro_batches(step, rank)
        if len(micro)
    ]
    return sum(batch.max() * len(batch) - batch.sum() for batch in batches) / sum(batch.sum() for batch in batches)


@pytest.mark.parametrize(
    ("split", "most"),
    [
        ({"batch_size": 1, "accumulate": 16}, 0.0),
        ({"batch_size": 2, "accumulate": 8}, 0.13),
        ({"batch_size": 4, "accumulate": 4}, 0.40),
        ({"batch_size": 4, "accumulate": 4, "ranks": 8}, 0.09),
        ({"batch_size": 8, "accumulate": 1, "ranks": 8}, 0.37),
    ],
)
def test_micro_batches_of_a_step_are_of_like_length(split: dict[str, int], most: float) -> None:
    lengths = instructions(10_000)
    batch = split["batch_size"]
    shuffled = np.random.default_rng(0).permutation(lengths)[: 10_000 // batch * batch].reshape(-1, batch)
    plain = (shuffled.max(axis=1) * batch).sum() / shuffled.sum() - 1
    share = padded(lengths, **{"accumulate": 1, "ranks": 1, **split})
    assert share <= most and (share < 0.43 * plain or batch == 1)


def test_ranks_compute_on_like_lengths_at_the_same_time() -> None:
    lengths = instructions(4096)
    plan = Plan(unpacked(lengths), 1, 16, 1, ranks=8)
    for step in range(plan.steps):
        by_rank = np.array([[lengths[micro[0]] for micro in plan.micro_batches(step, rank)] for rank in range(8)])
        longest, shortest = by_rank.max(axis=0), by_rank.min(axis=0)
        assert (longest[1:] <= shortest[:-1]).all()


def test_an_epochs_order_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    packs = unpacked(instructions(64))
    order = packs.order
    monkeypatch.setattr(packs, "order", lambda *about: made.append(about) or order(*about))
    plan = Plan(packs, 4, 2, 3, ranks=2)
    for step in range(plan.steps):
        for rank in range(2):
            plan.micro_batches(step, rank)
    assert made == [(0, 0, 16), (0, 1, 16), (0, 2, 16)]


def test_prepared_rows_are_dealt_so_too(run: Callable[..., Prepared]) -> None:
    rows = [row(number, "a" * (1 + number // 2)) for number in range(24)]
    packs = run(*rows, pack=False).dataset.train
    plan = Plan(packs, 2, 2, 2, seed=1)
    epochs = [np.concatenate([plan.step_packs(step) for step in range(6 * epoch, 6 * epoch + 6)]) for epoch in range(2)]
    assert [sorted(epoch.tolist()) for epoch in epochs] == [list(range(24))] * 2 and (epochs[0] != epochs[1]).any()
    for epoch in epochs:
        lengths = packs.lengths[epoch].reshape(6, 4)
        assert (np.diff(lengths, axis=1) <= 0).all() and (np.diff(lengths.mean(axis=1)) > 0).any()
        assert (np.diff(lengths.mean(axis=1)) < 0).any()


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("packed", [True, False])
def test_a_run_goes_on_in_the_order_it_began_with_or_not_at_all(named: bool, packed: bool) -> None:
    from xtune.checkpoints.resume import check_order
    from xtune.errors import CheckpointError

    now = {"order": Packs(None, one_each(np.ones(1)), np.ones(1), packed).order_name}  # type: ignore[arg-type]
    if named or packed:
        check_order(now if named else {}, now)
    else:
        with pytest.raises(CheckpointError, match="took the rows in another order, now `shuffled, by length within"):
            check_order({}, now)
