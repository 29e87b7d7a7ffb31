"""Cluster targets against a loop, and clusters of directions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from limbeck.errors import DataError
from limbeck.functional import cluster_centres, cluster_contrast


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("target", ["nearest", "shares"])
def test_value_and_gradient_are_those_of_a_loop(target: str) -> None:
    s, t, c = drawn(0, 4, 3).requires_grad_(), drawn(1, 4, 3), drawn(2, 5, 3)
    total = torch.zeros((), dtype=torch.float64)
    for x, y in zip(s, t):
        ours = torch.stack([torch.dot(x, m) / (x.norm() * m.norm()) / 0.2 for m in c])
        theirs = [float(torch.dot(y, m) / (y.norm() * m.norm())) / 0.2 for m in c]
        shares = [math.exp(v) / sum(map(math.exp, theirs)) for v in theirs]
        if target == "nearest":
            shares = [float(v == max(theirs)) for v in theirs]
        log_p = ours - ours.exp().sum().log()
        total = total - sum(q * p for q, p in zip(shares, log_p)) / 4
    found = cluster_contrast(s, t, c, target=target, temperature=0.2)
    torch.testing.assert_close(found, total, rtol=1e-9, atol=0)
    (ours,), (theirs,) = torch.autograd.grad(found, s), torch.autograd.grad(total, s)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_the_entropy_bound_is_reached_at_equality_and_order_and_scale_do_not_matter() -> None:
    s, t, c = drawn(0, 4, 3), drawn(1, 4, 3), drawn(2, 5, 3)
    bound = -(
        (q := (torch.nn.functional.normalize(t) @ torch.nn.functional.normalize(c).T / 0.07).softmax(1))
        * q.log()
    )
    torch.testing.assert_close(cluster_contrast(t, t, c, target="shares"), bound.sum(1).mean())
    assert cluster_contrast(s, t, c, target="shares") > bound.sum(1).mean()
    back = torch.randperm(5)
    torch.testing.assert_close(cluster_contrast(3 * s, t, 2 * c[back]), cluster_contrast(s, t, c))


def test_clusters_are_found_and_a_row_is_its_own_clusters() -> None:
    means = torch.nn.functional.normalize(drawn(0, 4, 16))
    classes = torch.arange(40) % 4
    x = (means[classes] + 0.05 * drawn(1, 40, 16)) * torch.rand(40, 1).add(0.5)
    for seed in range(3):
        centres = cluster_centres(x, 4, generator=torch.Generator().manual_seed(seed))
        assert torch.allclose(centres.norm(dim=1), torch.ones(4).double())
        own = (x @ centres.T).argmax(1)
        assert all(len(own[classes == c].unique()) == 1 for c in range(4))
        assert len(own.unique()) == 4
        summed = torch.nn.functional.normalize(x)[classes == 0].sum(0)
        torch.testing.assert_close(centres[own[0]], summed / summed.norm())
    assert cluster_centres(torch.ones(3, 2), 3).isfinite().all()


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(DataError, match="at least k=3 rows"):
        cluster_centres(torch.ones(2, 2), 3)
    with pytest.raises(DataError, match=r"centres \(k, d\)"):
        cluster_contrast(torch.ones(2, 2), torch.ones(2, 2), torch.ones(2, 3))
