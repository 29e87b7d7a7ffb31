"""Divergences over a vocabulary against the plain ones on whole logits."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from limbeck.errors import ConfigError, DataError, NonFiniteError, UnknownNameError
from limbeck.functional import distillation_kl, fused_linear_divergence
from limbeck.functional.response import vocabulary_head

KINDS = ("forward_kl", "reverse_kl", "jsd")
kinds = pytest.mark.parametrize("kind", KINDS)


def heads(
    tokens: int = 13, words: int = 11, seed: int = 0, dtype: torch.dtype = torch.float64
) -> list[Tensor]:
    """Hidden states and head of the student, then of the teacher."""
    g = torch.Generator().manual_seed(seed)
    shapes = ((tokens, 5), (words, 5), (tokens, 7), (words, 7))
    return [torch.randn(*shape, generator=g, dtype=torch.float64).to(dtype) for shape in shapes]


def plain(logits_s: Tensor, logits_t: Tensor, kind: str, beta: float, temperature: float) -> Tensor:
    log_q, log_p = (x.div(temperature).log_softmax(-1) for x in (logits_s, logits_t))
    p, q = log_p.exp(), log_q.exp()
    if kind == "forward_kl":
        return (p * (log_p - log_q)).sum(-1)
    if kind == "reverse_kl":
        return (q * (log_q - log_p)).sum(-1)
    log_m = (beta * p + (1 - beta) * q).log()
    return (beta * p * (log_p - log_m) + (1 - beta) * q * (log_q - log_m)).sum(-1)


@kinds
@pytest.mark.parametrize("chunk", [1, 5, "auto"])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_value_and_all_gradients(kind, chunk, temperature, reduction):
    h_s, w_s, h_t, w_t = heads()
    bias_s, bias_t = torch.randn(11).double().requires_grad_(), torch.randn(11).double()
    wanted = (h_s.requires_grad_(), w_s.requires_grad_(), bias_s)
    labels = torch.arange(13)
    labels[[2, 3, 9]] = -100
    found = fused_linear_divergence(
        h_s, w_s, h_t, w_t, kind=kind, beta=0.3, temperature=temperature, labels=labels, bias_s=bias_s,
        bias_t=bias_t, reduction=reduction, chunk=chunk,
    )  # fmt: skip
    rows = plain(h_s @ w_s.T + bias_s, h_t @ w_t.T + bias_t, kind, 0.3, temperature)[labels != -100]
    expected = rows.mean() if reduction == "mean" else rows.sum()
    torch.testing.assert_close(found, expected)
    got = torch.autograd.grad(2 * found, wanted)
    torch.testing.assert_close(got, torch.autograd.grad(2 * expected, wanted))


@kinds
def test_gradcheck(kind):
    _, w_s, h_t, w_t = heads()
    h_s = heads(seed=1)[0]
    inputs = h_s.requires_grad_(), w_s.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda h, w: fused_linear_divergence(h, w, h_t, w_t, kind=kind, chunk=5), inputs
    )


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 999), kind=st.sampled_from(KINDS), beta=st.floats(0, 1))
def test_zero_at_equality_and_never_below(seed, kind, beta):
    h_s, w_s, h_t, w_t = heads(seed=seed)
    assert abs(float(fused_linear_divergence(h_s, w_s, h_s, w_s, kind=kind, beta=beta))) < 1e-12
    assert float(fused_linear_divergence(h_s, w_s, h_t, w_t, kind=kind, beta=beta)) > -1e-12


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 999))
def test_jsd_is_symmetric_at_one_half_and_the_ends_are_the_two_kls(seed):
    h_s, w_s, h_t, w_t = heads(seed=seed)
    there = fused_linear_divergence(h_s, w_s, h_t, w_t, kind="jsd")
    torch.testing.assert_close(fused_linear_divergence(h_t, w_t, h_s, w_s, kind="jsd"), there)
    for beta, kind in ((0.0, "forward_kl"), (1.0, "reverse_kl")):
        torch.testing.assert_close(
            fused_linear_divergence(h_s, w_s, h_t, w_t, kind="jsd", beta=beta),
            fused_linear_divergence(h_s, w_s, h_t, w_t, kind=kind),
        )


def test_agrees_with_distillation_kl_but_for_the_square_of_the_temperature():
    h_s, w_s, h_t, w_t = heads()
    expected = distillation_kl(h_s @ w_s.T, h_t @ w_t.T, temperature=2.0) / 4
    torch.testing.assert_close(fused_linear_divergence(h_s, w_s, h_t, w_t, temperature=2.0), expected)


def test_leading_axes_are_tokens():
    h_s, w_s, h_t, w_t = heads(tokens=12)
    whole = fused_linear_divergence(h_s, w_s, h_t, w_t)
    shaped = h_s.reshape(3, 4, 5).requires_grad_()
    found = fused_linear_divergence(shaped, w_s, h_t.reshape(3, 4, 7), w_t)
    torch.testing.assert_close(found, whole)
    assert torch.autograd.grad(found, shaped)[0].shape == (3, 4, 5)


def test_frozen_head_or_frozen_hidden_states():
    h_s, w_s, h_t, w_t = heads()
    h_s.requires_grad_()
    only_hidden = torch.autograd.grad(fused_linear_divergence(h_s, w_s, h_t, w_t), h_s)[0]
    both = torch.autograd.grad(fused_linear_divergence(h_s, w_s.requires_grad_(), h_t, w_t), (h_s, w_s))
    torch.testing.assert_close(only_hidden, both[0])
    only_head = torch.autograd.grad(fused_linear_divergence(h_s.detach(), w_s, h_t, w_t), w_s)[0]
    torch.testing.assert_close(only_head, both[1])


@kinds
def test_finite_for_huge_logits(kind):
    h_s, w_s, h_t, w_t = heads(dtype=torch.float32)
    h_s = (1e4 * h_s).requires_grad_()
    value = fused_linear_divergence(h_s, w_s, 1e4 * h_t, w_t, kind=kind)
    assert value.isfinite()
    assert torch.autograd.grad(value, h_s)[0].isfinite().all()


@kinds
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_has_its_softmax_in_float32(kind, dtype):
    h_s, w_s, h_t, w_t = heads(dtype=dtype)
    wanted = h_s.requires_grad_(), w_s.requires_grad_()
    with torch.autocast("cpu", dtype):
        value = fused_linear_divergence(h_s, w_s, h_t, w_t, kind=kind, chunk=5)
    assert value.dtype == torch.float32
    exact = [x.detach().double() for x in (h_s, w_s, h_t, w_t)]
    exact_wanted = exact[0].requires_grad_(), exact[1].requires_grad_()
    expected = fused_linear_divergence(*exact, kind=kind)
    assert float(value.detach()) == pytest.approx(float(expected.detach()), rel=3e-2)
    found = torch.autograd.grad(value, wanted)
    for got, right in zip(found, torch.autograd.grad(expected, exact_wanted)):
        assert got.dtype == dtype
        assert torch.cosine_similarity(got.double().flatten(), right.flatten(), dim=0) > 0.999


def test_half_hidden_states_with_a_float32_head():
    h_s, w_s, h_t, w_t = heads(dtype=torch.float32)
    h_s = h_s.bfloat16().requires_grad_()
    value = fused_linear_divergence(h_s, w_s.requires_grad_(), h_t, w_t)
    to_hidden, to_head = torch.autograd.grad(value, (h_s, w_s))
    assert (to_hidden.dtype, to_head.dtype) == (torch.bfloat16, torch.float32)


@kinds
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_of_large_logits_has_the_true_gradient(kind, dtype, monkeypatch):
    """Logits of standard deviation 30: rounded to bfloat16 before the softmax, the gradient would be 6 to 9% off."""
    monkeypatch.setattr(vocabulary_head, "BLOCK_ELEMENTS", 64 * 100)  # blocks of 100 words, the last of 12
    g = torch.Generator().manual_seed(0)
    shapes = ((48, 64), (512, 64))
    h_s, w_s = (torch.randn(*shape, generator=g) for shape in shapes)
    h_t, w_t = h_s + 0.3 * torch.randn(48, 64, generator=g), w_s.clone()
    given = [(30**0.5 / 64**0.25 * x).to(dtype) for x in (h_s, w_s, h_t, w_t)]
    assert float((given[0].double() @ given[1].double().T).std()) == pytest.approx(30, rel=0.05)
    found, exact = [], []
    for tensors, gradients in ((given, found), ([x.double() for x in given], exact)):
        wanted = [x.requires_grad_() for x in tensors[:2]]
        value = fused_linear_divergence(*tensors, kind=kind, chunk=20)
        gradients += [value.detach(), *torch.autograd.grad(value, wanted)]
    for got, right in zip(found, exact, strict=True):
        assert float((got.double() - right).norm() / right.norm()) < 0.01


@kinds
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_scaled_and_capped_logits(kind, temperature):
    """Cohere multiplies its logits, Granite divides them, Gemma caps them; teacher and student each in their way."""
    h_s, w_s, h_t, w_t = heads()
    bias_s = torch.randn(11, dtype=torch.float64).requires_grad_()
    wanted = (h_s.requires_grad_(), w_s.requires_grad_(), bias_s)
    found = fused_linear_divergence(
        h_s, w_s, h_t, w_t, kind=kind, beta=0.3, temperature=temperature, bias_s=bias_s, scale_s=1.5, softcap_s=2.0,
        scale_t=0.25, softcap_t=30.0, chunk=5,
    )  # fmt: skip
    logits_s = 2.0 * torch.tanh(1.5 * (h_s @ w_s.T + bias_s) / 2.0)
    logits_t = 30.0 * torch.tanh(0.25 * (h_t @ w_t.T) / 30.0)
    expected = plain(logits_s, logits_t, kind, 0.3, temperature).mean()
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, wanted), torch.autograd.grad(expected, wanted))
    only_scale = fused_linear_divergence(h_s, w_s, h_t, w_t, kind=kind, scale_s=0.5, scale_t=2.0)
    torch.testing.assert_close(only_scale, plain(0.5 * h_s @ w_s.T, 2 * h_t @ w_t.T, kind, 0.5, 1.0).mean())


@kinds
def test_gradcheck_of_capped_logits(kind):
    h_s, w_s, h_t, w_t = heads()
    inputs = h_s.requires_grad_(), w_s.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda h, w: fused_linear_divergence(h, w, h_t, w_t, kind=kind, chunk=5, softcap_s=1.5, scale_s=0.7),
        inputs,
    )


@pytest.mark.parametrize("labels", [None, torch.full((0,), 1), torch.full((13,), -100)])
def test_no_token_counts(labels):
    h_s, w_s, h_t, w_t = heads(tokens=0 if labels is None else len(labels))
    value = fused_linear_divergence(h_s.requires_grad_(), w_s.requires_grad_(), h_t, w_t, labels=labels)
    value.backward()
    assert float(value.detach()) == 0.0
    assert w_s.grad is not None
    assert w_s.grad.eq(0).all()


def test_no_buffer_holds_all_logits(monkeypatch):
    largest = 0
    empty = Tensor.new_empty

    def watched(self, *size, **options):
        nonlocal largest
        out = empty(self, *size, **options)
        largest = max(largest, out.numel())
        return out

    monkeypatch.setattr(Tensor, "new_empty", watched)
    monkeypatch.setitem(vocabulary_head.CHUNK_ELEMENTS, "cpu", 4 * 11)
    h_s, w_s, h_t, w_t = heads(tokens=40)
    fused_linear_divergence(h_s, w_s, h_t, w_t)
    assert largest == 4 * 11


def test_second_derivative_is_refused():
    h_s, w_s, h_t, w_t = heads()
    value = fused_linear_divergence(h_s.requires_grad_(), w_s, h_t, w_t)
    first = torch.autograd.grad(value, h_s, create_graph=True)[0]
    with pytest.raises(ConfigError, match="fused_linear_divergence has no second derivative"):
        first.sum().backward()


def test_a_retained_graph_gives_the_same_gradient_again():
    h_s, w_s, h_t, w_t = heads()
    value = fused_linear_divergence(h_s.requires_grad_(), w_s, h_t, w_t)
    first = torch.autograd.grad(value, h_s, retain_graph=True)[0]
    kept = first.clone()
    torch.testing.assert_close(torch.autograd.grad(3 * value, h_s)[0], 3 * first)
    torch.testing.assert_close(first, kept)


def test_refusals():
    h_s, w_s, h_t, w_t = heads()
    with pytest.raises(DataError, match="share one vocabulary, got 11 and 9"):
        fused_linear_divergence(h_s, w_s, h_t, w_t[:9])
    with pytest.raises(DataError, match="the same tokens"):
        fused_linear_divergence(h_s, w_s, h_t[:4], w_t)
    with pytest.raises(DataError, match="heads must be"):
        fused_linear_divergence(h_s, w_t, h_t, w_t)
    with pytest.raises(ConfigError, match=r"beta must be in \[0, 1\]"):
        fused_linear_divergence(h_s, w_s, h_t, w_t, kind="jsd", beta=1.5)
    with pytest.raises(ConfigError, match="softcap must be > 0, got 0"):
        fused_linear_divergence(h_s, w_s, h_t, w_t, softcap_t=0.0)
    with pytest.raises(ConfigError, match="scale must be > 0, got -1"):
        fused_linear_divergence(h_s, w_s, h_t, w_t, scale_s=-1.0)
    with pytest.raises(ConfigError, match="tokens >= 1 or 'auto'"):
        fused_linear_divergence(h_s, w_s, h_t, w_t, chunk=0)
    with pytest.raises(UnknownNameError, match="did you mean 'forward_kl'"):
        fused_linear_divergence(h_s, w_s, h_t, w_t, kind="forward")  # type: ignore[arg-type]
    h_t[7] = torch.inf
    with pytest.raises(NonFiniteError, match="hidden_t holds NaN or Inf in row 7"):
        fused_linear_divergence(h_s, w_s, h_t, w_t, validate=True)
