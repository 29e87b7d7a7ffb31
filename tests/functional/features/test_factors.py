"""Directions of features and their larger part: independent formulas, variants, and what is refused."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import norm

from limbeck import functional as L
from limbeck.errors import ConfigError, DataError, UnknownNameError


def maps(seed: int, n: int = 3) -> torch.Tensor:
    return torch.randn(n, 2, 3, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
def test_the_norm_of_a_row_and_not_of_an_element(p):
    s, t = maps(0), maps(1)
    a, b = (x.flatten(1) / x.flatten(1).norm(dim=1, keepdim=True) for x in (s, t))
    expected = (a - b).abs().pow(p).sum(1).pow(1 / p)
    torch.testing.assert_close(L.normalised_gap(s, t, p=p, reduction="none"), expected)
    other = L.normalised_gap(s, t, p=p, variant="torchdistill", reduction="none")
    torch.testing.assert_close(other, expected / (12 if p == 1 else 1))


def test_blind_to_the_size_of_either_side():
    s, t = maps(0), maps(1)
    torch.testing.assert_close(L.normalised_gap(1e20 * s, 3 * t), L.normalised_gap(s, t))


def test_what_the_relu_drops_is_not_learned():
    margin = torch.tensor([-1.0])
    s = torch.tensor([[[-3.0, -1.5, 0.5, 2.0]]])
    for theirs, expected in ((-2.0, [0, 0, 1.5**2, 9]), (-0.5, [0, 0, 1, 6.25]), (1.0, [16, 6.25, 0.25, 1])):
        found = [
            float(L.partial_squares(x.reshape(1, 1), torch.tensor([[theirs]]), margin)) for x in s.flatten()
        ]
        assert found == pytest.approx(expected)


def test_margin_is_the_mean_below_zero():
    mean, deviation = (
        torch.tensor([-1.0, 0.5, 2.0, 4.0]).double(),
        torch.tensor([2.0, -1.0, 1.0, 1.0]).double(),
    )
    found = L.margin_of_normal(mean, deviation)
    for got, mu, sigma in zip(found.tolist(), mean.tolist(), deviation.abs().tolist()):
        below = norm.cdf(-mu / sigma)
        expected = norm.expect(lambda x: x, loc=mu, scale=sigma, ub=0) / below if below > 1e-3 else -3 * sigma
        assert got == pytest.approx(expected, rel=1e-6)
    assert L.margin_of_normal(torch.zeros(1), torch.zeros(1)).isfinite().all()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda s: L.normalised_gap(s, s[:, :1]), DataError, "send the student's through a translator"),
        (lambda s: L.normalised_gap(s, s, p=0.5), ConfigError, "must be at least 1, got 0.5 and 2.0"),
        (lambda s: L.normalised_gap(s, s, variant="code"), UnknownNameError, "unknown variant"),
        (lambda s: L.partial_squares(s, s, torch.zeros(3)), DataError, r"margin \(c,\)"),
    ],
)
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call(maps(0))
