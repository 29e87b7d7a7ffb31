"""What a loss says of a result that is not finite: the true cause, whoever is to blame."""

from __future__ import annotations

import math
import warnings

import pytest
import torch

from limbeck.errors import ConfigError
from limbeck.functional import cost_matrix, mean_cosine_gap, pair_cosine_gap, transport_cost
from limbeck.functional.precision import euclidean_length, explained, has_finite_sum


def clouds() -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    return torch.randn(6, 4, generator=g), torch.randn(5, 4, generator=g)


def said(loss, *args, **options) -> str:
    with pytest.warns(RuntimeWarning) as caught:
        value = loss(*args, **options)
    assert torch.isnan(value)
    (warning,) = caught
    return str(warning.message)


def test_features_that_hold_nan():
    x, y = clouds()
    x[2, 0] = math.nan
    assert "transport_cost: the result is NaN, the features hold NaN or Inf" in said(transport_cost, x, y)


def test_a_cost_matrix_that_holds_nan():
    x, y = clouds()
    matrix = cost_matrix(x, y)
    matrix[0, 0] = math.inf
    assert "the cost matrix holds NaN or Inf" in said(transport_cost, x, y, cost=matrix)


def test_blocks_that_hold_nan():
    x, y = clouds()
    y[4, 0] = math.nan
    assert "what a callable gave holds NaN or Inf" in said(transport_cost, x, lambda: iter(y.split(2)))


def test_lengths_that_overflow():
    x, y = clouds()
    words = said(transport_cost, x * 1e25, y)
    assert "grow beyond float32" in words
    assert "hold NaN" not in words
    assert math.isfinite(transport_cost(x.double() * 1e25, y.double()))


def test_large_features_are_no_error():
    x, y = clouds()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value = transport_cost(x * 1e4, y * 1e4, cost="sqeuclidean")
    assert math.isfinite(value)


def test_an_infinite_weight_is_refused():
    x, y = clouds()
    w = torch.ones(6)
    w[1] = math.inf
    with pytest.raises(ConfigError, match="weights_s must be >= 0, finite and not all zero"):
        transport_cost(x, y, weights_s=w)


def test_a_result_beyond_its_type_is_nan():
    @explained
    def squared(x: torch.Tensor) -> tuple[torch.Tensor, str]:
        return x.square().sum(), "kept"

    with pytest.warns(
        RuntimeWarning, match=r"squared: the result is NaN, .* \(the largest that came in is 1e\+20\)"
    ):
        value, other = squared(torch.full((2,), 1e20))
    assert torch.isnan(value)
    assert other == "kept"


@pytest.mark.parametrize("loss", [pair_cosine_gap, mean_cosine_gap])
def test_nan_is_no_zero_vector(loss):
    x, _ = clouds()
    bad = x.clone()
    bad[1, 1] = math.nan
    assert torch.isnan(loss(bad, x))
    assert torch.isnan(loss(x, bad))


def test_lengths_neither_overflow_nor_vanish():
    x = torch.tensor([[3e30, 4e30], [3e-30, 4e-30], [0.0, 0.0]], requires_grad=True)
    length = euclidean_length(x)
    torch.testing.assert_close(length.detach(), torch.tensor([5e30, 5e-30, 0.0]))
    length.sum().backward()
    assert torch.isfinite(x.grad).all()


def test_a_finite_sum():
    assert has_finite_sum(torch.ones(3))
    assert not has_finite_sum(torch.tensor([1.0, math.nan]))
    assert not has_finite_sum(torch.tensor([math.inf]))
