"""All bags in one solve: the mean of one transport after another, in value and gradient."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor

from limbeck.errors import DataError
from limbeck.functional import transport_cost, transport_in_bags
from limbeck.functional.transport import within_class


def ragged(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Five bags of 1 to 9 rows a side in mixed order, numbered with gaps, and rows in no bag."""
    g = torch.Generator().manual_seed(0)
    group_s = torch.tensor([7] * 4 + [2] * 9 + [40] + [3] * 2 + [11] * 5 + [-1] * 3)
    group_t = torch.tensor([7] * 6 + [2] * 2 + [40] * 3 + [3] * 8 + [11] + [-1] * 2)
    group_s, group_t = (x[torch.randperm(len(x), generator=g)] for x in (group_s, group_t))
    x_s = torch.randn(len(group_s), 5, generator=g).to(dtype)
    x_t = torch.randn(len(group_t), 5, generator=g).to(dtype)
    return x_s.requires_grad_(), x_t.requires_grad_(), group_s, group_t


def one_by_one(x_s: Tensor, x_t: Tensor, group_s: Tensor, group_t: Tensor, **options) -> Tensor:
    bags = group_s[group_s >= 0].unique()
    costs = [transport_cost(x_s[group_s == bag], x_t[group_t == bag], **options) for bag in bags]
    return torch.stack(costs).mean()


@pytest.mark.parametrize("value", ["sharp", "dual"])
@pytest.mark.parametrize("cost", ["cosine", "euclidean", "sqeuclidean", "l1"])
@pytest.mark.parametrize("large", [0, 10**9])
def test_together_is_one_after_another(cost, value, large, monkeypatch):
    monkeypatch.setattr(within_class, "_LARGE", large)
    problem = ragged()
    options = {"cost": cost, "value": value, "reg": 0.3, "tol": 1e-11}
    together, alone = transport_in_bags(*problem, **options), one_by_one(*problem, **options)
    torch.testing.assert_close(together, alone, rtol=1e-8, atol=1e-10)
    for got, wanted in zip(
        torch.autograd.grad(together, problem[:2]), torch.autograd.grad(alone, problem[:2])
    ):
        torch.testing.assert_close(got, wanted, rtol=1e-6, atol=1e-8)


def test_gradient_is_that_of_the_value():
    x_s, x_t, group_s, group_t = ragged()
    assert torch.autograd.gradcheck(
        lambda x, y: transport_in_bags(x, y, group_s, group_t, tol=1e-12), (x_s, x_t), eps=1e-5, atol=1e-6
    )


def test_default_tolerance_in_float32():
    problem, exact = ragged(torch.float32), ragged()
    got = transport_in_bags(*problem)
    wanted = one_by_one(*exact, tol=1e-11)
    assert got.dtype == torch.float32
    assert float(got.detach()) == pytest.approx(float(wanted.detach()), rel=1e-3)
    pull = torch.autograd.grad(got, problem[0])[0].double().flatten()
    exact_pull = torch.autograd.grad(wanted, exact[0])[0].flatten()
    assert float(torch.cosine_similarity(pull, exact_pull, 0)) > 0.999


def test_a_row_of_no_bag_takes_no_part():
    x_s, x_t, group_s, group_t = ragged()
    value = transport_in_bags(x_s, x_t, group_s, group_t)
    to_s, to_t = torch.autograd.grad(value, (x_s, x_t))
    assert not to_s[group_s < 0].any()
    assert not to_t[group_t < 0].any()
    assert to_s[group_s >= 0].any(1).sum() > 10


def test_a_bag_without_a_teacher_counts_with_zero():
    x_s, x_t, group_s, group_t = ragged()
    lacking = group_t != 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        got = transport_in_bags(x_s, x_t[lacking], group_s, group_t[lacking], tol=1e-11)
        wanted = one_by_one(x_s, x_t[lacking], group_s, group_t[lacking], tol=1e-11)
        nothing = transport_in_bags(x_s, x_t[:0], group_s, group_t[:0])
    torch.testing.assert_close(got, wanted, rtol=1e-8, atol=0.0)
    assert float(nothing.detach()) == 0
    assert not torch.autograd.grad(nothing, x_s)[0].any()


def test_no_bag_at_all_costs_nothing_and_can_be_stepped_on():
    x_s, x_t, group_s, group_t = ragged()
    value = transport_in_bags(x_s, x_t, torch.full_like(group_s, -1), group_t)
    assert float(value.detach()) == 0
    assert not torch.autograd.grad(value, x_s)[0].any()


def test_groups_must_fit_the_rows():
    x_s, x_t, group_s, group_t = ragged()
    with pytest.raises(DataError, match="group_t must have one bag per row"):
        transport_in_bags(x_s, x_t, group_s, group_t[1:])
