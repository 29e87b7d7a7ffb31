"""Against the authors' formula, written as loops in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from limbeck.errors import DataError
from limbeck.functional import label_structure


def huber(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Distances over their mean, which leaves zeros out; smooth L1, added up, over the number of rows."""
    found = []
    for e in (ours, theirs):
        d = np.linalg.norm(e[:, None] - e[None], axis=-1)
        found.append(d / d[d > 0].mean())
    gap = np.abs(found[0] - found[1])
    return float(np.where(gap < 1, gap**2 / 2, gap - 0.5).sum() / len(ours))


@pytest.mark.parametrize("over", ["rows", "classes"])
def test_groups_of_two_or_more(over: str) -> None:
    draw = np.random.default_rng(0)
    ours, theirs = draw.standard_normal((6, 4, 3)), draw.standard_normal((6, 4, 5))
    there = draw.random((6, 4)) > 0.5
    there[:, 0], there[0] = False, False
    there[1, 0] = True  # a class of one row, a row of none
    wanted = 0.0
    for k in range(4 if over == "rows" else 6):
        index = np.nonzero(there[:, k] if over == "rows" else there[k])[0]
        if len(index) > 1:
            pair = (
                (ours[index, k], theirs[index, k]) if over == "rows" else (ours[k, index], theirs[k, index])
            )
            wanted += huber(*pair)
    s, t, positive = (
        torch.from_numpy(ours).requires_grad_(),
        torch.from_numpy(theirs),
        torch.from_numpy(there),
    )
    assert float(label_structure(s, t, positive, over=over)) == pytest.approx(wanted, rel=1e-6)
    assert gradcheck(lambda e: label_structure(e, t, positive, over=over), (s,))


def test_nothing_to_compare_has_a_path() -> None:
    e = torch.randn(3, 2, 4, requires_grad=True)
    value = label_structure(e, e, torch.zeros(3, 2, dtype=torch.bool))
    value.backward()
    assert float(value) == 0
    with pytest.raises(DataError, match=r"labels \(n, c\)"):
        label_structure(e, e, torch.zeros(3))
