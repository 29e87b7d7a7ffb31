"""Losses on maps: independent formulas, properties, edges. Values of the references are in tests/golden."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch.nn import functional as F

from limbeck import functional as L
from limbeck.errors import ConfigError, DataError, UnknownNameError


def maps(n: int, seed: int, channels: int = 3) -> torch.Tensor:
    return torch.randn(n, channels, 2, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


LOSSES = {
    "at": L.attention_transfer,
    "at official": partial(L.attention_transfer, variant="official", power=4),
    "nst": L.neuron_selectivity,
}
every = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


@every
def test_zero_for_the_same_channels_in_any_order_and_above_elsewhere(loss):
    s, t = maps(4, 0), maps(4, 1, 5)
    assert abs(float(loss(s, 2 * s.flip(1)))) < 1e-12
    assert float(loss(s, t)) > 1e-4


@every
def test_gradcheck_and_nothing_to_the_teacher(loss):
    s, t = maps(2, 0).requires_grad_(), maps(2, 1, 8).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, t.detach()), s)
    assert torch.autograd.grad(loss(s, t), t, allow_unused=True) == (None,)


@every
def test_a_sum_over_halves(loss):
    s, t = maps(4, 0), maps(4, 1)
    rows = loss(s, t, reduction="none")
    assert rows.shape == (4,)
    torch.testing.assert_close(loss(s[:2], t[:2], reduction="sum"), rows[:2].sum())
    torch.testing.assert_close(loss(s, t), rows.mean())


@every
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
@pytest.mark.parametrize("n", [0, 1])
def test_edges_are_finite(loss, n, scale):
    s = (scale * maps(n, 0)).float().requires_grad_()
    value = loss(s, maps(n, 1, 2).float())
    value.backward()
    assert value.dtype == torch.float32
    assert value.isfinite()
    assert s.grad.isfinite().all()


@pytest.mark.parametrize("channels", [2, 4, 9])  # both ways to compute it
def test_selectivity_by_its_kernel(channels):
    s, t = maps(3, 0, channels), maps(3, 1, 4)
    a, b = (F.normalize(x.flatten(2), dim=2) for x in (s, t))
    kernel = [(x @ y.mT).square().mean() for x, y in ((a, a), (b, b), (a, b))]
    torch.testing.assert_close(L.neuron_selectivity(s, t), kernel[0] + kernel[1] - 2 * kernel[2])


def test_surprise_is_that_of_a_normal_law():
    mean, t, raw = maps(3, 0), maps(3, 1), torch.tensor([-1.0, 0.0, 2.0]).double().requires_grad_()
    deviation = (F.softplus(raw) + 1e-5).sqrt()[:, None, None]
    expected = -torch.distributions.Normal(mean, deviation).log_prob(t).mean() - math.log(2 * math.pi) / 2
    torch.testing.assert_close(L.variational_nll(mean, t, raw), expected)
    flat = mean[:2, :, 0, 0].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda m, r: L.variational_nll(m, t[:2, :, 0, 0], r), (flat, raw))


def test_many_to_one_is_a_hint_for_each_group():
    t = maps(3, 1)[:, :, 0, 0]
    s = maps(3, 0, 12)[:, :, 0, 0].requires_grad_()
    hints = sum(L.hint_mse(group, t) for group in s.chunk(4, 1))
    torch.testing.assert_close(L.many_to_one(s, t), hints)
    assert torch.autograd.gradcheck(lambda x: L.many_to_one(x, t), s)
    assert not L.many_to_one(t.repeat(1, 4), t).any()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda s: L.attention_transfer(s, s[:, :, :1]), DataError, "over the same positions"),
        (lambda s: L.neuron_selectivity(s[:, :, 0, 0], s), DataError, "maps must be"),
        (lambda s: L.attention_transfer(s, s, power=0), ConfigError, "power must be > 0"),
        (lambda s: L.attention_transfer(s, s, variant="code"), UnknownNameError, "unknown variant"),
        (lambda s: L.variational_nll(s, s, torch.zeros(2)), DataError, r"raw_variance \(c,\)"),
        (lambda s: L.variational_nll(s, s, torch.zeros(3), eps=0), ConfigError, "eps must be > 0"),
        (lambda s: L.many_to_one(s[:, :, 0, 0], s[:, :2, 0, 0]), DataError, r"\(n, N \* e\)"),
    ],
)  # fmt: skip
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call(maps(2, 0))
