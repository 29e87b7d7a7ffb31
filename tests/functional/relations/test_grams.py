"""Inner products inside a row: independent formulas, what they are blind to, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from limbeck import functional as L
from limbeck.errors import DataError, UnknownNameError


def rows(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_channels_by_their_definition_and_blind_to_a_rotation_of_positions():
    s, t = rows(0, 3, 4, 5), rows(1, 3, 4, 2, 3)
    grams = [F.normalize(x.flatten(2) @ x.flatten(2).mT, dim=2) for x in (s, t)]
    expected = (grams[0] - grams[1]).square().sum((1, 2)) / 4
    torch.testing.assert_close(L.channel_similarity(s, t, reduction="none"), expected)
    turn = torch.linalg.qr(rows(2, 5, 5)).Q
    torch.testing.assert_close(L.channel_similarity(s @ turn, t), L.channel_similarity(s, t))
    torch.testing.assert_close(L.channel_similarity(1e30 * s, t), L.channel_similarity(s, t))


@pytest.mark.parametrize("between", ["features", "tokens"])
def test_flow_of_shown_tokens_alone(between):
    ours, theirs = ((rows(i, 2, 4, 3), rows(i + 1, 2, 4, 3)) for i in (0, 2))
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]])
    found = L.flow_gap(ours, theirs, between=between, mask=mask, reduction="sum")
    cut = [tuple(x[:1, :2] for x in pair) for pair in (ours, theirs)]
    whole = [tuple(x[1:] for x in pair) for pair in (ours, theirs)]
    expected = sum(L.flow_gap(*pair, between=between, reduction="sum") for pair in (cut, whole))
    torch.testing.assert_close(found, expected)


def test_flow_of_widths_that_differ():
    a, b = rows(0, 2, 4, 3), rows(1, 2, 4, 7)
    assert L.flow_gap((a, a), (b, b), between="tokens").isfinite()
    with pytest.raises(DataError, match="do not fit for between='features'"):
        L.flow_gap((a, a), (b, b))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: L.channel_similarity(x, x[:, :2]), DataError, "project the student's channels"),
        (lambda x: L.flow_gap((x, x), (x, x[:, :2])), DataError, "of the same rows and tokens"),
        (lambda x: L.flow_gap((x, x), (x, x), between="rows"), UnknownNameError, "unknown between"),
        (lambda x: L.flow_gap((x, x), (x, x), mask=torch.ones(2, 2)), DataError, r"mask must be \(2, 4\)"),
    ],
)
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call(rows(0, 2, 4, 3))
