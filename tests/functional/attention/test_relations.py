"""Relations between tokens: by their definition, what they are blind to, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from limbeck import functional as L
from limbeck.errors import DataError


def states(seed: int, width: int = 6) -> torch.Tensor:
    return torch.randn(2, 4, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_by_their_definition_with_heads_split_anew():
    s, t = states(0, 6), states(1, 12)
    total = torch.zeros(()).double()
    for row in range(2):
        for head in range(3):
            a, b = s[row, :, 2 * head : 2 * head + 2], t[row, :, 4 * head : 4 * head + 4]
            ours, theirs = ((x @ x.T / x.shape[1] ** 0.5).softmax(1) for x in (a, b))
            total += F.kl_div(ours.log(), theirs, reduction="sum")
    torch.testing.assert_close(L.token_relations(s, t, heads=3), total / (2 * 3 * 4))


def test_blind_to_a_rotation_inside_a_head():
    s, t = states(0), states(1)
    turn = torch.linalg.qr(states(2, 3)[0, :3]).Q
    turned = (s.reshape(2, 4, 2, 3) @ turn).flatten(2)
    torch.testing.assert_close(L.token_relations(turned, t, heads=2), L.token_relations(s, t, heads=2))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: L.token_relations(x, x[:, :2]), "of the same tokens"),
        (lambda x: L.token_relations(x, x, heads=4), "heads must divide both widths, 6 and 6; 4 does not"),
        (lambda x: L.token_relations(x, x, heads=0), "heads must divide"),
        (lambda x: L.token_relations(x, x, mask=torch.ones(2, 3)), r"mask must be \(2, 4\)"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(DataError, match=words):
        call(states(0))
