"""Norm and direction, and explanations, against the authors' formulas row by row."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from limbeck.errors import DataError
from limbeck.functional import activation_map, explanation_gap, norm_and_direction


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_norm_and_direction_by_row() -> None:
    ours, theirs, centres = normal(0, 6, 4), normal(1, 6, 4), normal(2, 6, 4)
    ours[0] *= 10  # longer than the teacher's
    rows = []
    for s, t, c in zip(ours.numpy(), theirs.numpy(), centres.numpy()):
        rows.append(1 - s @ (c / np.linalg.norm(c)) / max(np.linalg.norm(s), np.linalg.norm(t)))
    found = norm_and_direction(ours, theirs, centres, reduction="none")
    assert np.allclose(found.numpy(), rows, rtol=1e-10)
    assert gradcheck(lambda s: norm_and_direction(s, theirs, centres), (ours.requires_grad_(),))


def test_length_is_rewarded_up_to_the_teachers() -> None:
    one = torch.tensor([[1.0, 0.0]])
    values = [float(norm_and_direction(k * one, 2 * one, one)) for k in (0.0, 1.0, 2.0, 4.0)]
    assert values == [1.0, 0.5, 0.0, 0.0]
    assert float(norm_and_direction(0 * one, 0 * one, one)) == 1
    assert float(norm_and_direction(one[:0], one[:0], one[:0])) == 0
    with pytest.raises(DataError, match="one n and one d"):
        norm_and_direction(one, one, torch.ones(1, 3))


def test_the_activation_map_is_gradcam_of_a_head_after_a_mean() -> None:
    maps, head = normal(3, 2, 5, 3, 4).requires_grad_(), normal(4, 6, 5)
    classes = torch.tensor([1, 4])
    logits = maps.mean((2, 3)) @ head.T
    (slope,) = torch.autograd.grad(logits.gather(1, classes[:, None]).sum(), maps)
    by_slopes = torch.relu((slope.mean((2, 3))[..., None, None] * maps).sum(1))
    assert torch.allclose(activation_map(maps, head[classes]) / 12, by_slopes)
    assert (by_slopes > 0).any()
    with pytest.raises(DataError, match=r"weights \(n, k\)"):
        activation_map(maps, head)


def test_the_gap_of_explanations() -> None:
    ours, theirs = normal(5, 3, 4, 4).abs(), normal(6, 3, 2, 2).abs()
    pooled = ours.numpy().reshape(3, 2, 2, 2, 2).mean((2, 4))
    rows = []
    for s, t in zip(pooled.reshape(3, -1), theirs.numpy().reshape(3, -1)):
        rows.append(1 - s @ t / np.linalg.norm(s) / np.linalg.norm(t))
    assert np.allclose(explanation_gap(ours, theirs, reduction="none").numpy(), rows, rtol=1e-10)
    assert gradcheck(lambda e: explanation_gap(e, theirs), (ours.requires_grad_(),))
    assert float(explanation_gap(theirs, 3 * theirs)) == pytest.approx(0, abs=1e-12)
    assert float(explanation_gap(torch.zeros(1, 2, 2), torch.ones(1, 2, 2))) == 1
    with pytest.raises(DataError, match="explanations must be"):
        explanation_gap(theirs, theirs[:1])
