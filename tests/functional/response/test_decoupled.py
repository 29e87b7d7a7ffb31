"""Decoupled, binary and correlated predictions, and what is done to logits before: independent formulas, properties,
edges. Values of the references are in tests/golden."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr

from limbeck import functional as L
from limbeck.errors import ConfigError, DataError, UnknownNameError

seeds = st.integers(0, 999)


def logits(n: int, seed: int, c: int = 5, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(n, c, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def labels_of(n: int, c: int = 5) -> torch.Tensor:
    return torch.arange(n) * 2 % c


def dkd(s, t, **settings):
    return L.decoupled_kl(s, t, labels_of(len(s), s.shape[1]), **settings)


LOSSES = {
    "dkd": dkd,
    "binary": L.binary_kl,
    "inter": L.prediction_correlation,
    "intra": partial(L.prediction_correlation, over="rows"),
}
every = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
by_row = pytest.mark.parametrize("loss", [LOSSES[name] for name in ("dkd", "binary", "inter")])


@every
@settings(deadline=None, max_examples=15)
@given(seed=seeds, temperature=st.floats(0.5, 8))
def test_zero_at_equality_and_above_elsewhere(loss, seed, temperature):
    s, t = logits(6, seed), logits(6, seed + 1000)
    assert abs(float(loss(s, s.clone(), temperature=temperature))) < 1e-9
    assert float(loss(s, t, temperature=temperature)) > 0


@every
def test_gradcheck_and_nothing_to_the_teacher(loss):
    s, t = logits(4, 0).requires_grad_(), logits(4, 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, t.detach(), temperature=2.0), s)
    assert torch.autograd.grad(loss(s, t), t, allow_unused=True) == (None,)


@by_row
def test_a_sum_over_halves(loss):
    s, t, y = logits(6, 0), logits(6, 1), labels_of(6)
    if loss is dkd:
        loss = lambda s, t, reduction, y=y: L.decoupled_kl(s, t, y[: len(s)], reduction=reduction)  # noqa: E731
    rows = loss(s, t, reduction="none")
    assert rows.shape == (6,)
    torch.testing.assert_close(loss(s[:3], t[:3], reduction="sum"), rows[:3].sum())
    torch.testing.assert_close(loss(s, t, reduction="mean"), rows.mean())


@every
def test_blind_to_the_order_of_classes(loss):
    s, t, order = logits(5, 0), logits(5, 1), torch.tensor([3, 0, 4, 1, 2])
    if loss is dkd:
        y = labels_of(5)
        found = L.decoupled_kl(s[:, order], t[:, order], order.argsort()[y])
    else:
        found = loss(s[:, order], t[:, order])
    torch.testing.assert_close(found, loss(s, t))


@every
@pytest.mark.parametrize("n", [0, 1, 2])
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
def test_edges_are_finite(loss, n, scale):
    s = logits(n, 0, scale=scale).float().requires_grad_()
    value = loss(s, logits(n, 1, scale=scale).float())
    value.backward()
    assert value.dtype == torch.float32
    assert value.isfinite()
    assert s.grad.isfinite().all()


def test_dkd_parts_are_those_of_plain_distillation():
    """KL = TCKD + (1 - p_t(y)) NCKD, equation 5 of the paper."""
    s, t, y = logits(6, 0), logits(6, 1), labels_of(6)
    sure = t.softmax(1).gather(1, y[:, None])[:, 0]
    target, rest = (
        L.decoupled_kl(s, t, y, weight_target=a, weight_rest=1 - a, temperature=1.0, reduction="none")
        for a in (1.0, 0.0)
    )
    whole = L.divergence(s, t, reduction="none")
    torch.testing.assert_close(target + (1 - sure) * rest, whole)


def test_binary_kl_of_one_output_is_a_divergence_of_two_classes():
    s, t = logits(4, 0, 1), logits(4, 1, 1)
    s2, t2 = (torch.cat([z, torch.zeros_like(z)], 1) for z in (s, t))
    torch.testing.assert_close(L.binary_kl(s, t, temperature=3.0), L.divergence(s2, t2, temperature=3.0))


def test_correlation_against_scipy():
    s, t = logits(6, 0), logits(6, 1)
    p, q = (s / 2).softmax(1), (t / 2).softmax(1)
    inter = sum(1 - pearsonr(a, b).statistic for a, b in zip(p.numpy(), q.numpy())) / 6
    intra = sum(1 - pearsonr(a, b).statistic for a, b in zip(p.T.numpy(), q.T.numpy())) / 5
    assert float(L.prediction_correlation(s, t, temperature=2.0)) == pytest.approx(4 * inter)
    assert float(L.prediction_correlation(s, t, over="rows", temperature=2.0)) == pytest.approx(4 * intra)


@settings(deadline=None, max_examples=15)
@given(seed=seeds, scale=st.floats(0.1, 50), shift=st.floats(-20, 20))
def test_standardised_logits_are_blind_to_scale_and_shift(seed, scale, shift):
    z = logits(4, seed)
    found = L.standardised_logits(z)
    torch.testing.assert_close(L.standardised_logits(scale * z + shift), found, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(L.standardised_logits(z.log_softmax(1)), found)
    torch.testing.assert_close(found.std(1), torch.ones(4).double(), rtol=1e-4, atol=1e-4)


def test_standardised_logits_by_either_count():
    z = logits(4, 0)
    whole = (z - z.mean(1, keepdim=True)) / z.std(1, unbiased=False, keepdim=True)
    torch.testing.assert_close(L.standardised_logits(z, unbiased=False, eps=0.0), whole)
    torch.testing.assert_close(L.standardised_logits(z, eps=0.0) * (5 / 4) ** 0.5, whole)


def test_standardised_logits_gradient_and_flat_rows():
    assert torch.autograd.gradcheck(L.standardised_logits, logits(3, 0).requires_grad_())
    flat = torch.ones(2, 4, requires_grad=True)
    found = L.standardised_logits(flat)
    found.square().sum().backward()
    assert not found.any()
    assert flat.grad.isfinite().all()


def test_interpolated_logits_run_from_the_student_to_the_teacher():
    s, t = logits(3, 0).requires_grad_(), logits(3, 1)
    assert torch.equal(L.interpolated_logits(s, t, 0.0), s)
    assert torch.equal(L.interpolated_logits(s, t, 1.0), t)
    half = L.interpolated_logits(s, t, 0.5)
    assert not half.requires_grad
    geometric = (
        s.detach().softmax(1) * t.softmax(1)
    ).sqrt()  # logits mix as geometric means, not as averages
    torch.testing.assert_close(half.softmax(1), geometric / geometric.sum(1, keepdim=True))


def test_interpolated_target_at_zero_pulls_nowhere():
    s, t = logits(3, 0).requires_grad_(), logits(3, 1)
    (slope,) = torch.autograd.grad(L.divergence(s, L.interpolated_logits(s, t, 0.0)), s)
    torch.testing.assert_close(slope, torch.zeros_like(slope), rtol=0, atol=1e-12)


def test_impossible_classes_are_kept_at_the_ends():
    t = torch.tensor([[0.0, -torch.inf]])
    assert torch.equal(L.interpolated_logits(torch.zeros(1, 2), t, 1.0), t)
    assert L.interpolated_logits(torch.zeros(1, 2), t, 0.0).isfinite().all()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda s: dkd(s, s[:, :2]), DataError, r"must both be \(n, c\)"),
        (lambda s: L.decoupled_kl(s, s, torch.tensor([0, 5, 1])), DataError, r"must lie in \[0, 5\), got 0 to 5"),
        (lambda s: L.decoupled_kl(s, s, torch.tensor([0, -100, 1])), DataError, "leave rows without a label out"),
        (lambda s: L.decoupled_kl(s, s, torch.zeros(2).long()), DataError, r"labels must be \(3,\)"),
        (lambda s: dkd(s, s, temperature=0.0), ConfigError, "temperature must be > 0"),
        (lambda s: L.binary_kl(s, s[:2]), DataError, r"must both be \(..., c\)"),
        (lambda s: L.prediction_correlation(s, s, over="row"), UnknownNameError, "did you mean 'rows'"),
        (lambda s: L.standardised_logits(s[:, :1]), DataError, "one class cannot be standardised"),
        (lambda s: L.interpolated_logits(s, s, 1.5), ConfigError, r"share must lie in \[0, 1\]"),
        (lambda s: L.interpolated_logits(s, s[:2], 0.5), DataError, "must have one shape"),
    ],
)  # fmt: skip
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call(logits(3, 0))
