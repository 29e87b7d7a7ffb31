"""Ground costs: values against definitions, gradients against finite differences."""

from __future__ import annotations

import math

import pytest
import torch

from limbeck.errors import ConfigError, DataError, UnknownNameError
from limbeck.functional import cost_matrix
from limbeck.functional.costs import COST_NAMES, once


def by_definition(x, y, cost):
    if cost in ("cosine", "angular", "chordal"):
        x, y = torch.nn.functional.normalize(x), torch.nn.functional.normalize(y)
    difference = x[:, None] - y[None]
    if cost == "cosine":
        return 1 - (x[:, None] * y[None]).sum(-1)
    if cost == "angular":
        return (x[:, None] * y[None]).sum(-1).arccos()
    if cost == "l1":
        return difference.abs().sum(-1)
    square = difference.square().sum(-1)
    return square if cost == "sqeuclidean" else square.sqrt()


@pytest.mark.parametrize("cost", COST_NAMES)
def test_value_by_definition(cost):
    x, y = torch.randn(5, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    torch.testing.assert_close(cost_matrix(x, y, cost), by_definition(x, y, cost))


@pytest.mark.parametrize("cost", COST_NAMES)
def test_gradcheck_in_both_clouds(cost):
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    y = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, y: cost_matrix(x, y, cost), (x, y))


@pytest.mark.parametrize("cost", COST_NAMES)
def test_equal_rows_and_zero_vectors_have_a_finite_gradient(cost):
    x = torch.tensor([[0.0, 0.0], [1.0, 2.0], [1.0, 2.0]], requires_grad=True)
    y = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    matrix = cost_matrix(x, y, cost)
    matrix.sum().backward()
    assert torch.isfinite(matrix).all()
    assert torch.isfinite(x.grad).all()
    assert matrix[1, 0].abs() < 1e-6  # equal rows cost nothing


def test_zero_vector_costs_one_under_cosine():
    assert float(cost_matrix(torch.zeros(1, 3), torch.ones(1, 3), "cosine")) == 1.0


def test_small_and_wide_angles_keep_their_digits():
    angles = torch.tensor([0.002, 0.01, 1.0, 3.13], dtype=torch.float64)
    x = torch.stack([angles.cos(), angles.sin()], dim=1).float() * torch.tensor([[1.0], [7.0], [0.1], [3.0]])
    found = cost_matrix(x, torch.tensor([[2.0, 0.0]]), "angular")[:, 0]
    torch.testing.assert_close(found.double(), angles, rtol=2e-2, atol=1e-4)
    assert float(cost_matrix(torch.zeros(1, 2), torch.ones(1, 2), "angular")) == pytest.approx(math.pi / 2)


def test_far_from_the_origin_squares_keep_their_digits():
    x, y = torch.randn(6, 8), torch.randn(5, 8)
    torch.testing.assert_close(
        cost_matrix(x + 1000, y + 1000, "sqeuclidean"),
        cost_matrix((x + 1000).double(), (y + 1000).double(), "sqeuclidean").float(),
        rtol=1e-4,
        atol=1e-3,
    )


def test_callable_and_matrix():
    x, y = torch.randn(3, 2), torch.randn(4, 2)
    matrix = cost_matrix(x, y, "l1")
    assert torch.equal(cost_matrix(x, y, lambda a, b: matrix), matrix)
    assert torch.equal(cost_matrix(x, y, matrix), matrix)
    with pytest.raises(DataError, match="must be"):
        cost_matrix(x, y, matrix.T)


def test_wrong_name_names_the_nearest():
    with pytest.raises(UnknownNameError, match="'euclidean'"):
        cost_matrix(torch.ones(1, 2), torch.ones(1, 2), "euclidian")


def test_widths_must_agree():
    with pytest.raises(DataError, match="project the student"):
        cost_matrix(torch.ones(1, 2), torch.ones(1, 3))


def test_second_derivative_is_refused_by_name():
    x = torch.randn(2, 2, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(cost_matrix(x, x.detach()).sum(), x, create_graph=True)
    with pytest.raises(ConfigError, match="cost_matrix has no second derivative"):
        gradient.sum().backward()


def test_once_is_free_without_create_graph():
    gradient = torch.ones(2)
    with torch.no_grad():
        assert once(gradient, torch.ones(2), "f") is gradient
