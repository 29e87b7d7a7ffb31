"""Partial cross attention: by its definition, what is borrowed, and what is refused."""

from __future__ import annotations

import pytest
import torch

from limbeck.errors import DataError
from limbeck.functional import partial_attention_gap


def three(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(2, 4, 6, generator=generator, dtype=torch.float64) for _ in range(3))
    return q, k, v


def test_by_its_definition_head_by_head():
    ours, theirs, borrowed = three(0), three(1), tuple(x > 0 for x in three(2))
    rows = []
    for row in range(2):
        gap = gram = 0.0
        for head in (slice(0, 3), slice(3, 6)):
            mixed = [torch.where(b, t, s)[row, :, head] for s, t, b in zip(ours, theirs, borrowed)]
            taught = [t[row, :, head] for t in theirs]
            made = [(q @ k.T / 3**0.5).softmax(1) @ v for q, k, v in (mixed, taught)]
            gap += float((made[0] - made[1]).square().sum())
            v_s, v_t = ours[2][row, :, head], theirs[2][row, :, head]
            gram += float(((v_s @ v_s.T - v_t @ v_t.T) / 3**0.5).square().sum())
        rows.append(gap / (4 * 6) + gram / (2 * 4 * 4))
    found = partial_attention_gap(ours, theirs, heads=2, borrowed=borrowed, reduction="none")
    torch.testing.assert_close(found, torch.tensor(rows, dtype=torch.float64))


def test_what_is_borrowed_learns_nothing():
    q, k, v = (x.requires_grad_() for x in three(0))
    everything, nothing = torch.ones_like(q).bool(), torch.zeros_like(q).bool()
    partial_attention_gap((q, k, v), three(1), borrowed=(everything, nothing, nothing)).backward()
    assert q.grad is not None
    assert not q.grad.any()
    assert k.grad is not None
    assert k.grad.any()


@pytest.mark.parametrize("heads", [0, 4])
def test_heads_that_do_not_divide(heads: int):
    with pytest.raises(DataError, match=f"a width that {heads} heads divide"):
        partial_attention_gap(three(0), three(1), heads=heads)


def test_other_tokens_are_refused():
    q, k, v = three(0)
    with pytest.raises(DataError, match="of one shape on both sides"):
        partial_attention_gap((q, k, v), (q[:, :3], k, v))
