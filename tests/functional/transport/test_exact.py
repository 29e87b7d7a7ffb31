"""Exact transport and Gromov-Wasserstein through POT."""

from __future__ import annotations

import sys

import pytest
import torch

from limbeck.errors import ConfigError
from limbeck.functional import exact_transport_cost, gromov_wasserstein

pytest.importorskip("ot")


def clouds(n=5, m=4, d=3):
    g = torch.Generator().manual_seed(0)
    return torch.randn(n, d, generator=g).double(), torch.randn(m, d, generator=g).double()


@pytest.mark.parametrize("cost", ["cosine", "sqeuclidean", "euclidean"])
def test_exact_gradcheck(cost):
    x, y = clouds()
    x.requires_grad_()
    y.requires_grad_()
    assert torch.autograd.gradcheck(lambda x, y: exact_transport_cost(x, y, cost=cost), (x, y))


def test_exact_in_one_dimension_is_sorting():
    x, y = clouds(9, 9, 1)
    expected = (x.flatten().sort().values - y.flatten().sort().values).abs().mean()
    torch.testing.assert_close(exact_transport_cost(x, y, cost="euclidean"), expected)


def test_gromov_is_zero_for_a_rotated_cloud_of_another_width():
    x, _ = clouds(6, 1)
    rotated = torch.nn.functional.pad(
        x[torch.randperm(6)] @ torch.linalg.qr(torch.randn(3, 3).double())[0], (0, 2)
    )
    same = gromov_wasserstein(x, rotated)
    apart = gromov_wasserstein(x, 2 * rotated)
    assert float(same) + 1e-9 >= 0
    assert float(same) < float(apart)


def test_gromov_gradcheck():
    x, _ = clouds(4, 1)
    _, y = clouds(1, 5)
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: gromov_wasserstein(x, y), x)


def test_gromov_entropic():
    x, y = clouds()
    assert torch.isfinite(gromov_wasserstein(x, y, reg=1.0))
    with pytest.raises(ConfigError, match="reg must be > 0"):
        gromov_wasserstein(x, y, reg=0.0)


@pytest.mark.parametrize("function", [exact_transport_cost, gromov_wasserstein])
def test_missing_pot_is_said_clearly(function, monkeypatch):
    monkeypatch.setitem(sys.modules, "ot", None)
    with pytest.raises(ConfigError, match=r'needs POT: pip install "limbeck\[ot\]"'):
        function(*clouds())
