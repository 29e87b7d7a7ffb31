"""A teacher of k tokens: the two ways to treat the rest, against the whole distribution, and what is refused."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck import functional as L
from limbeck.errors import ConfigError, DataError, UnknownNameError


def logits(seed: int, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def kept(z: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    found = z.log_softmax(-1).topk(k, -1)
    return found.indices, found.values


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 99), temperature=st.floats(0.5, 4), k=st.integers(1, 8))
def test_zero_at_equality_at_any_temperature(seed, temperature, k):
    t = logits(seed)
    for kind in ("forward_kl", "tv"):
        assert float(
            L.sparse_divergence(t, *kept(t, k), kind=kind, temperature=temperature)
        ) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("temperature_t", [1.0, 2.0])
def test_zero_for_values_taken_at_another_temperature(temperature_t):
    t = logits(0)
    ids, values = kept(t / temperature_t, 3)
    found = L.sparse_divergence(t, ids, values, temperature=1.5, temperature_t=temperature_t)
    assert float(found) == pytest.approx(0, abs=1e-9)


def test_distillkit_treats_the_sides_unlike():
    t = logits(0)
    assert float(L.sparse_divergence(t, *kept(t, 3), temperature=2.0, variant="distillkit")) > 1e-3


@pytest.mark.parametrize(
    ("kind", "rest"), [("forward_kl", "one_bin"), ("tv", "one_bin"), ("forward_kl", "renormalised")]
)
def test_all_kept_is_the_whole_divergence(kind, rest):
    s, t = logits(0), logits(1)
    whole = L.divergence(s, t, kind=kind, temperature=1.5)
    torch.testing.assert_close(
        L.sparse_divergence(s, *kept(t, 8), kind=kind, rest=rest, temperature=1.5), whole
    )


def test_one_bin_is_below_the_whole_divergence():
    s, t = logits(0), logits(1)  # merging outcomes can only lose
    found = [float(L.sparse_divergence(s, *kept(t, k))) for k in (1, 3, 8)]
    assert found == sorted(found)
    assert found[-1] == pytest.approx(float(L.divergence(s, t)))


def test_a_sure_teacher_that_leaves_nothing():
    s = logits(0).float().requires_grad_()
    t = logits(1, 1e3).float()
    value = L.sparse_divergence(s, *kept(t, 2))
    value.backward()
    assert value.isfinite()
    assert s.grad.isfinite().all()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda z, ids, v: L.sparse_divergence(z, ids, v[:1]), DataError, r"must be \(..., k\)"),
        (lambda z, ids, v: L.sparse_divergence(z[..., :2], ids, v), DataError, "1 to 2 tokens can be kept"),
        (lambda z, ids, v: L.sparse_divergence(z, ids, v, kind="reverse_kl"), UnknownNameError, "unknown kind"),
        (lambda z, ids, v: L.sparse_divergence(z, ids, v, rest="one"), UnknownNameError, "'one_bin'"),
        (lambda z, ids, v: L.sparse_divergence(z, ids, v, temperature_t=0), ConfigError, "temperature_t must be > 0"),
        (lambda z, ids, v: L.sparse_divergence(z, ids, v, mask=torch.ones(2)), DataError, r"mask must be \(2, 3\)"),
    ],
)  # fmt: skip
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call(logits(0), *kept(logits(1), 3))
