"""Packing loses no sample, splits none, and wastes next to nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xtune.data.pack import best_fit_decreasing, one_each


@st.composite
def lengths_and_capacity(draw: st.DrawFn) -> tuple[list[int], int]:
    capacity = draw(st.integers(1, 200))
    return draw(st.lists(st.integers(1, capacity), max_size=60)), capacity


def naive(lengths: list[int], capacity: int) -> list[int]:
    """Space left in each pack after best-fit decreasing, by looking at every pack for every sample."""
    spaces: list[int] = []
    for length in sorted(lengths, reverse=True):
        fitting = [space for space in spaces if space >= length]
        if fitting:
            spaces[spaces.index(min(fitting))] -= length
        else:
            spaces.append(capacity - length)
    return sorted(spaces)


@settings(max_examples=200, deadline=None)
@given(lengths_and_capacity())
def test_every_sample_is_in_one_pack_and_the_packs_are_those_of_best_fit(case: tuple[list[int], int]) -> None:
    lengths, capacity = np.array(case[0], dtype=np.int32), case[1]
    layout = best_fit_decreasing(lengths, capacity)
    assert sorted(layout.samples.tolist()) == list(range(len(lengths)))
    spaces = [capacity - int(lengths[layout[pack]].sum()) for pack in range(len(layout))]
    assert sorted(spaces) == naive(case[0], capacity)
    assert all(space >= 0 for space in spaces)


def test_the_result_depends_on_the_lengths_alone() -> None:
    lengths = np.random.default_rng(0).integers(1, 900, 5000).astype(np.int32)
    first, second = best_fit_decreasing(lengths, 1024), best_fit_decreasing(lengths.copy(), 1024)
    assert np.array_equal(first.samples, second.samples) and np.array_equal(first.starts, second.starts)


def test_no_samples_make_no_packs() -> None:
    assert len(best_fit_decreasing(np.zeros(0, dtype=np.int32), 8)) == 0
    assert len(one_each(np.zeros(0, dtype=np.int32))) == 0


def test_a_sample_longer_than_a_pack_is_refused() -> None:
    with pytest.raises(ValueError, match="a sample of 9 tokens does not fit a pack of 8"):
        best_fit_decreasing(np.array([3, 9]), 8)


def test_unpacked_is_one_sample_a_pack() -> None:
    layout = one_each(np.array([3, 9, 4]))
    assert [layout[pack].tolist() for pack in range(len(layout))] == [[0], [1], [2]]
