"""Noise contrast with every row of a memory: against the version with an index, its gradient, edges."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from limbeck import functional as L
from limbeck.errors import DataError


def unit(n: int, seed: int, d: int = 4) -> torch.Tensor:
    return F.normalize(
        torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=1
    )


def indexed(s, own, others, **settings):
    """The version with an index: own rows first in the memory, each with all others."""
    memory = torch.cat([own, others])
    index = torch.cat(
        [torch.arange(len(s))[:, None], torch.arange(len(s), len(memory)).expand(len(s), -1)], 1
    )
    return memory, index


@pytest.mark.parametrize("given", [None, 1.7])
def test_against_the_version_with_an_index(given):
    s, own, others = (
        unit(1, 0).requires_grad_(),
        unit(1, 1),
        unit(6, 2),
    )  # one row, so that the memory has k + 1
    memory, index = indexed(s, own, others)
    z = None if given is None else given * 7
    expected = L.noise_contrast(s, memory, index, temperature=0.3, normaliser=z)
    found = L.noise_contrast_all(s, own, others, temperature=0.3, mean_exponential=given)
    torch.testing.assert_close(found, expected)
    for a, b in zip(torch.autograd.grad(found, s), torch.autograd.grad(expected, s)):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("masked", [False, True])
def test_gradcheck(masked):
    s, own, others = unit(3, 0).requires_grad_(), unit(3, 1).requires_grad_(), unit(5, 2)
    same = torch.zeros(3, 5, dtype=torch.bool)
    same[0, 2] = same[2, 4] = masked

    def loss(x):
        return L.noise_contrast_all(x, own.detach(), others, temperature=0.5, mean_exponential=1.3, same=same)

    assert torch.autograd.gradcheck(loss, s)
    value = L.noise_contrast_all(s, own, others)
    assert torch.autograd.grad(value, own, allow_unused=True) == (None,)


def test_rows_that_are_the_same_are_no_negatives():
    s, own, others = unit(2, 0), unit(2, 1), unit(4, 2)
    same = torch.tensor([[True, False, False, False], [False] * 4])
    found = L.noise_contrast_all(s, own, others, temperature=1.0, mean_exponential=2.0, same=same)
    moved = torch.cat([-others[:1], others[1:]])
    torch.testing.assert_close(
        L.noise_contrast_all(s[:1], own[:1], moved, temperature=1.0, mean_exponential=2.0, same=same[:1]),
        L.noise_contrast_all(s[:1], own[:1], others, temperature=1.0, mean_exponential=2.0, same=same[:1]),
    )
    assert not torch.isclose(
        found, L.noise_contrast_all(s, own, others, temperature=1.0, mean_exponential=2.0)
    )


@pytest.mark.parametrize(("b", "k"), [(0, 3), (1, 0), (1, 1), (2, 3)])
def test_edges(b, k):
    s = unit(b, 0).float().requires_grad_()
    value = L.noise_contrast_all(s, unit(b, 1).float(), unit(k, 2).float())
    value.backward()
    assert value.isfinite()
    assert value >= 0
    assert s.grad.isfinite().all()


def test_it_falls_as_the_own_row_comes_near():
    others = unit(50, 2)
    own = unit(4, 1)
    far, near = (float(L.noise_contrast_all(x, own, others, mean_exponential=math.e)) for x in (-own, own))
    assert near < far


def test_bad_input():
    with pytest.raises(DataError, match="do not fit"):
        L.noise_contrast_all(unit(2, 0), unit(3, 0), unit(4, 0))
    with pytest.raises(DataError, match=r"same must be \(2, 4\)"):
        L.noise_contrast_all(unit(2, 0), unit(2, 0), unit(4, 0), same=torch.zeros(2, 2).bool())
