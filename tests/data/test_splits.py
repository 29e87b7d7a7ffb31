"""The guard of the test splits."""

from __future__ import annotations

import pytest
import torch

from limbeck.data import Examples, Splits
from limbeck.errors import SplitError, UnknownNameError


def some_rows(n: int) -> Examples:
    return Examples.classified(
        {"x": torch.zeros(n, 2)}, tuple(range(n)), torch.zeros(n, dtype=torch.long), ("a", "b")
    )


def test_test_rows_open_only_in_the_final_evaluation():
    splits = Splits(train=some_rows(3), test=some_rows(2), test_unseen=some_rows(1))
    for role in ("test", "test_unseen"):
        with pytest.raises(SplitError, match="before the final evaluation"):
            splits[role]
    with splits.final_evaluation() as final:
        assert len(final["test"]) == 2
        with splits.final_evaluation():
            pass
        assert len(final["test_unseen"]) == 1, "an inner block must not close the outer one"
    with pytest.raises(SplitError):
        splits["test"]


def test_guard_closes_after_an_error():
    splits = Splits(test=some_rows(2))
    with pytest.raises(RuntimeError, match="inside"), splits.final_evaluation():
        raise RuntimeError("inside")
    with pytest.raises(SplitError):
        splits["test"]


def test_counts_and_names_are_free():
    splits = Splits(train=some_rows(3), test=some_rows(2))
    assert splits.sizes == {"train": 3, "test": 2}
    assert splits.final_roles == ("test",)
    assert "test" in splits
    assert "validation" not in splits


def test_a_wrong_role_names_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'train'"):
        Splits(train=some_rows(3))["trian"]
