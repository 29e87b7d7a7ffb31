"""Attention maps as laws over their entries: by their definition, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from limbeck import functional as L
from limbeck.errors import DataError


def maps(seed: int) -> torch.Tensor:
    scores = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return scores.softmax(-1)


def test_by_its_definition_map_by_map():
    s, t = maps(0), maps(1)
    total = torch.zeros(()).double()
    for row in range(2):
        for head in range(3):
            ours, theirs = (x[row, head].reshape(-1).softmax(0) for x in (s, t))
            total += F.kl_div(ours.log(), theirs, reduction="sum")
    torch.testing.assert_close(L.aligned_map_kl(s, t, reduction="sum"), total)


def test_a_row_without_tokens_counts_nothing():
    s = maps(0).requires_grad_()
    mask = torch.tensor([[0, 0, 0, 0], [1, 1, 1, 1]])
    value = L.aligned_map_kl(s, maps(1), mask=mask, reduction="none")
    assert float(value[0].detach()) == 0 < float(value[1].detach())
    value.sum().backward()
    assert s.grad is not None
    assert s.grad.isfinite().all()
    assert not s.grad[0].any()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: L.aligned_map_kl(x, x[:, :2]), "mix the student's heads to the teacher's number"),
        (lambda x: L.aligned_map_kl(x, x, mask=torch.ones(2, 3)), r"mask must be \(2, 4\)"),
        (lambda x: L.aligned_map_kl(x[..., :3], x[..., :3], mask=torch.ones(2, 4)), "beside 3 keys"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(DataError, match=words):
        call(maps(0))
