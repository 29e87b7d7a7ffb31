"""Returns of written tokens: loops over what is to come, variants, the gradient that they stand for."""

from __future__ import annotations

import itertools

import pytest
import torch

from limbeck import functional as L
from limbeck.errors import ConfigError, DataError

MASK = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])


def log_probs(seed: int) -> torch.Tensor:
    return -torch.rand(2, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("gamma", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("by_length", [True, False])
def test_by_a_loop(gamma, by_length):
    s, t = log_probs(0), log_probs(1)
    found = L.discounted_returns(s, t, mask=MASK, gamma=gamma, by_length=by_length)
    reward = (t - s) * MASK
    for row, step in itertools.product(range(2), range(4)):
        power = [gamma ** (i - step) for i in range(step, 4)]
        total = sum(w * float(reward[row, i]) for w, i in zip(power, range(step, 4)))
        if by_length and gamma:
            total /= sum(w * (1.0 if MASK[row, i] else 1e-4) for w, i in zip(power, range(step, 4)))
        assert float(found[row, step]) == pytest.approx(total, abs=1e-12)


def test_trl_damps_late_tokens_twice():
    s, t = log_probs(0), log_probs(1)
    plain, trl = (
        L.discounted_returns(s, t, gamma=0.5, by_length=False, variant=variant)
        for variant in ("paper", "trl")
    )
    torch.testing.assert_close(trl, plain * 0.5 ** torch.arange(4).double())


def test_it_gives_the_gradient_of_a_reverse_divergence():
    """A model of two tokens over three words, small enough to be counted out: policy gradient with the returns and the
    exact part of each token is the gradient of KL(q || p) of whole sentences."""
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(3, generator=generator, dtype=torch.float64, requires_grad=True)
    second = torch.randn(3, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    teacher = [
        torch.randn(*x.shape, generator=generator, dtype=torch.float64).log_softmax(-1)
        for x in (first, second)
    ]
    q1, q2 = first.log_softmax(-1), second.log_softmax(-1)
    whole = L.divergence(first, teacher[0], kind="reverse_kl") + sum(
        q1[a].exp() * L.divergence(second[a], teacher[1][a], kind="reverse_kl") for a in range(3)
    )
    expected = torch.autograd.grad(whole, (first, second), retain_graph=True)

    surrogate = torch.zeros(()).double()
    for a, b in itertools.product(range(3), range(3)):
        ours = torch.stack([q1[a], q2[a, b]])[None]
        theirs = torch.stack([teacher[0][a], teacher[1][a, b]])[None]
        later = L.discounted_returns(ours, theirs, by_length=False)[0, 1:]  # from the next token on
        step = L.divergence(first, teacher[0], kind="reverse_kl") + L.divergence(
            second[a], teacher[1][a], kind="reverse_kl"
        )
        surrogate = surrogate + ours.sum().exp().detach() * (step - later[0] * ours[0, 0])
    found = torch.autograd.grad(surrogate, (first, second))
    for ours, theirs in zip(found, expected):
        torch.testing.assert_close(ours, theirs)


def test_bad_input():
    with pytest.raises(DataError, match=r"must both be \(n, tokens\)"):
        L.discounted_returns(log_probs(0), log_probs(0)[:, :2])
    with pytest.raises(DataError, match=r"mask must be \(2, 4\)"):
        L.discounted_returns(log_probs(0), log_probs(0), mask=MASK[:, :2])
    with pytest.raises(ConfigError, match="gamma must lie"):
        L.discounted_returns(log_probs(0), log_probs(0), gamma=1.5)


def test_it_is_a_weight():
    s = log_probs(0).requires_grad_()
    assert not L.discounted_returns(s, log_probs(1)).requires_grad
