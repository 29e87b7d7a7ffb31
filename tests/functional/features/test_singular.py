"""KD-SVD against its steps written out in NumPy, row by row, and the gradient of singular vectors."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from limbeck.errors import ConfigError, DataError
from limbeck.functional import right_singular_vectors, singular_vector_gap
from limbeck.functional.features import singular


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def vectors_of(x: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Right singular vectors ``[c, v]`` of one map ``[c, h, w]``, the largest entry of each above 0."""
    rows = x.reshape(len(x), -1).T
    _, sizes, v = np.linalg.svd(rows, full_matrices=False)
    v = v[:number].T
    return v * np.sign(v[np.abs(v).argmax(0), range(v.shape[1])]), sizes[:number]


def written_out(ours: list[np.ndarray], theirs: list[np.ndarray], v: int) -> float:
    """Of one row: align, weigh, compare channels through a radial basis function."""
    layers = []
    for s, t in zip(ours, theirs):
        student, _ = vectors_of(s, v + 1)
        teacher, sizes = vectors_of(t, v)
        cosine = student.T @ teacher
        best = np.abs(cosine).argmax(0)
        sign = np.where(cosine[best, range(v)] >= 0, 1, -1)
        share = sizes / np.linalg.norm(sizes)
        layers.append((student[:, best] * sign * share, teacher * share))
    total = 0.0
    for (low_s, low_t), (high_s, high_t) in pairwise(layers):
        near = [
            np.exp(-((low[:, None] - high[None]) ** 2) / 8)
            for low, high in ((low_s, high_s), (low_t, high_t))
        ]
        total += ((near[0] - near[1]) ** 2).sum() / 2 * np.sqrt(v)
    return total


@pytest.mark.parametrize("v", [1, 3])
def test_row_by_row(v: int) -> None:
    ours = [normal(i, 4, c, 4, 4) for i, c in enumerate((5, 6, 7))]
    theirs = [normal(10 + i, 4, c, 3, 5) for i, c in enumerate((5, 6, 7))]  # of other positions
    wanted = [written_out([x[i].numpy() for x in ours], [x[i].numpy() for x in theirs], v) for i in range(4)]
    found = singular_vector_gap(ours, theirs, vectors=v, reduction="none")
    assert np.allclose(found.numpy(), wanted, rtol=1e-9)


def test_vectors_and_their_gradient() -> None:
    x = normal(0, 3, 6, 4).requires_grad_()
    found, sizes = right_singular_vectors(x, 2)
    assert torch.allclose(torch.linalg.vector_norm(x @ found, dim=1), sizes)
    assert torch.allclose(sizes, torch.linalg.svdvals(x)[:, :2])
    assert gradcheck(lambda x: right_singular_vectors(x, 2)[0], (x,))
    wide = normal(1, 2, 3, 5).requires_grad_()  # fewer positions than channels
    assert gradcheck(lambda x: right_singular_vectors(x, 2)[0], (wide,))


@pytest.mark.parametrize("rank", [3, 2])
def test_positions_and_channels_give_the_same(rank: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three positions and seven channels, from the smaller square and from the larger; the last position may be a
    mean of the others."""
    x = normal(0, 4, 3, 7)
    if rank == 2:
        x[:, 2] = (x[:, 0] + x[:, 1]) / 2
    x.requires_grad_()
    weight, found = normal(1, 4, 7, 2), []
    assert singular._from_positions(x.detach(), 2) is not None
    for by_positions in (True, False):
        if not by_positions:
            monkeypatch.setattr(singular, "_from_positions", lambda x, number: None)
        vectors, sizes = right_singular_vectors(x, 2)
        found.append((vectors, sizes, torch.autograd.grad((vectors * weight).sum(), x)[0]))
    for ours, theirs in zip(*found):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10)


def test_vectors_that_positions_cannot_tell_come_from_channels() -> None:
    x = normal(0, 2, 3, 7)
    x[1] = x[1, :1]  # one direction
    assert singular._from_positions(x, 1) is not None
    assert singular._from_positions(x, 2) is None
    assert singular._from_positions(x.mT, 1) is None
    vectors, sizes = right_singular_vectors(x, 2)
    assert torch.allclose(torch.linalg.vector_norm(vectors, dim=1), torch.ones(2, 2).double())
    assert float(sizes[1, 1]) < 1e-6


def test_equal_singular_values_and_vectors_in_the_place_of_maps_are_finite() -> None:
    plain = torch.eye(3)[None].repeat(2, 1, 1).requires_grad_()
    pooled = torch.ones(2, 4, requires_grad=True)
    value = singular_vector_gap([plain, pooled], [normal(0, 2, 3, 3), normal(1, 2, 4)], vectors=3)
    value.backward()
    for x in (plain, pooled):
        assert x.grad is not None
        assert x.grad.isfinite().all()


def test_scale_does_not_matter() -> None:
    ours, theirs = [normal(i, 2, 3, 4) for i in (0, 1)], [normal(i, 2, 3, 4) for i in (2, 3)]
    one = singular_vector_gap(ours, theirs)
    assert torch.allclose(one, singular_vector_gap([7 * x for x in ours], [3 * x for x in theirs]))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: singular_vector_gap([x], [x]), "two or more, as many on both sides"),
        (lambda x: singular_vector_gap([x, x], [x, x[:, :2]]), "project the student's first"),
        (lambda x: right_singular_vectors(x, 5), "at least 5 positions and channels"),
    ],
)
def test_bad_input(call, words: str) -> None:
    with pytest.raises(DataError, match=words):
        call(normal(0, 2, 3, 4))
    with pytest.raises(ConfigError, match="vectors must be > 0"):
        singular_vector_gap([normal(0, 2, 3, 4)] * 2, [normal(0, 2, 3, 4)] * 2, vectors=0)
