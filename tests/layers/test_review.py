"""Fusion of stages: sizes, the way from deep to shallow, and what trains."""

from __future__ import annotations

import pytest
import torch

from limbeck.layers import Review


def made() -> tuple[Review, list[torch.Tensor]]:
    torch.manual_seed(0)
    maps = [torch.randn(3, c, s, s, requires_grad=True) for c, s in ((4, 8), (5, 4), (6, 2))]
    return Review([4, 5, 6], [7, 8, 9], d_middle=3), maps


def test_every_stage_in_the_shape_of_the_teachers():
    review, maps = made()
    sizes = [(4, 6), (4, 4), (1, 2)]
    found = review(maps, sizes)
    assert [tuple(x.shape) for x in found] == [(3, 7, 4, 6), (3, 8, 4, 4), (3, 9, 1, 2)]


def test_shallow_outputs_see_deeper_maps_and_not_the_reverse():
    review, maps = made()
    found = review(maps, [x.shape[2:] for x in maps])
    reached = []
    for out in found:
        weighted = (out * torch.randn_like(out)).sum()  # the plain sum of a batch normalisation is constant
        slopes = torch.autograd.grad(weighted, maps, retain_graph=True, allow_unused=True)
        reached.append([slope is not None and bool(slope.any()) for slope in slopes])
    assert reached == [[True, True, True], [False, True, True], [False, False, True]]


@pytest.mark.parametrize("n", [0, 1])
def test_a_place_alone_and_no_row(n):
    """A batch normalisation refuses a batch of one value."""
    review, maps = made()
    small = [x[:n, :, :1, :1] for x in maps]
    found = review(small, [(1, 1)] * 3)
    torch.stack([x.sum() for x in found]).sum().backward()
    assert all(x.isfinite().all() for x in found)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in review.parameters())
