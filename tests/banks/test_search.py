"""The search agrees with numpy's on numbers of any spread."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.banks.search import SortedSearch

ANY = st.integers(-(2**63), 2**63 - 1)


@settings(max_examples=150, deadline=None)
@given(
    numbers=st.one_of(
        st.sets(ANY, min_size=1, max_size=200),
        st.sets(st.integers(-50, 300), min_size=1, max_size=200),
        st.sets(st.one_of(st.integers(0, 400), ANY), min_size=1, max_size=200),
        st.integers(-100, 100).map(lambda first: set(range(first, first + 50))),
    ),
    others=st.lists(st.one_of(ANY, st.integers(-60, 310)), max_size=20),
)
def test_finds_what_is_there_and_nothing_else(numbers, others):
    ordered = np.array(sorted(numbers), dtype=np.int64)
    search = SortedSearch(ordered)
    shuffled = np.random.default_rng(0).permutation(ordered)
    assert (ordered[search(shuffled)] == shuffled).all()
    wanted = np.array(others, dtype=np.int64)
    found = ordered[search(wanted)] == wanted
    assert found.tolist() == [number in numbers for number in others]


@pytest.mark.parametrize("n", [1000, 100_000])
def test_hashes_need_few_steps(n):
    numbers = np.unique(np.random.default_rng(0).integers(-(2**63), 2**63 - 1, n))
    search = SortedSearch(numbers)
    assert (search(numbers) == np.arange(len(numbers))).all()
    assert search._n_steps <= 6
