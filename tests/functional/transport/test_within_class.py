"""Class blocks: padded and one by one are the same transport."""

from __future__ import annotations

import pytest
import torch

from limbeck.errors import DataError
from limbeck.functional import transport_cost, transport_plan
from limbeck.functional.transport import within_class
from limbeck.functional.transport.class_blocks import class_blocks


def problem(n=40, m=30, c=4):
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(n, 6, generator=g).double(), torch.randn(m, 6, generator=g).double()
    labels = {
        "labels_s": torch.randint(c, (n,), generator=g),
        "labels_t": torch.randint(c, (m,), generator=g),
    }
    return x.requires_grad_(), y.requires_grad_(), labels


@pytest.mark.parametrize("value", ["sharp", "dual"])
@pytest.mark.parametrize("reg_scale", ["absolute", "median"])
def test_padded_and_one_by_one_agree(value, reg_scale, monkeypatch):
    x, y, labels = problem()
    found = []
    for large in (0, 10**9):
        monkeypatch.setattr(within_class, "_LARGE", large)
        got, info = transport_cost(
            x, y, **labels, within_class=True, value=value, reg_scale=reg_scale, tol=1e-11, return_info="plan"
        )
        found.append((got, *torch.autograd.grad(got, (x, y)), info.plan))
        assert info.converged
    for one, other in zip(*found):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)


def test_plan_of_blocks():
    x, y, labels = problem()
    plan = transport_plan(x, y, **labels, within_class=True)
    assert not plan[labels["labels_s"][:, None] != labels["labels_t"]].any()
    assert float(plan.sum()) == pytest.approx(1.0, rel=1e-6)


def test_masses_follow_the_student():
    labels_s, labels_t = torch.tensor([0, 0, 0, 1]), torch.tensor([1, 1, 0, 7])
    blocks = class_blocks(labels_s, labels_t, torch.full((4,), 0.25), torch.full((4,), 0.25))
    torch.testing.assert_close(blocks.mass, torch.tensor([0.75, 0.25]))
    torch.testing.assert_close(blocks.a.sum(1), blocks.mass)
    torch.testing.assert_close(blocks.b.sum(1), blocks.mass)
    assert blocks.left_out == 1


def test_missing_labels_are_refused():
    x, y, labels = problem()
    labels["labels_s"][3] = -100
    with pytest.raises(DataError, match="select the labelled rows"):
        transport_cost(x, y, **labels, within_class=True)
    transport_cost(x, y, **labels)  # as a hint for the solver, "no label" is one more group
