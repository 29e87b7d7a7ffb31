"""Soft labels in the light of the true one: parts by hand, variants, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from limbeck import functional as L
from limbeck.errors import ConfigError, DataError, UnknownNameError

Y = torch.tensor([0, 3, 1, 2])


def logits(seed: int) -> torch.Tensor:
    return torch.randn(4, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_row_that_the_student_knows_counts_less():
    s, t = logits(0), logits(1)
    sure = s.clone()
    sure[0, 0] = 20.0
    soft = L.soft_cross_entropy(sure, t.softmax(1), reduction="none")
    share = L.weighted_soft_labels(sure, t, Y, temperature=1.0, reduction="none") / soft
    expected = (
        1 - (-F.cross_entropy(sure, Y, reduction="none") / F.cross_entropy(t, Y, reduction="none")).exp()
    )
    torch.testing.assert_close(share, expected)
    assert float(share[0]) < 1e-6 < float(share[1])


def test_the_weight_takes_no_gradient():
    s, t = logits(0).requires_grad_(), logits(1)
    (found,) = torch.autograd.grad(L.weighted_soft_labels(s, t, Y, temperature=1.0, reduction="sum"), s)
    soft = L.soft_cross_entropy(s, t.softmax(1), reduction="none")
    share = L.weighted_soft_labels(s, t, Y, temperature=1.0, reduction="none") / soft
    (expected,) = torch.autograd.grad((share.detach() * soft).sum(), s)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("variant", ["paper", "official"])
def test_gamma_one_is_a_cross_entropy(variant):
    s, t = logits(0), logits(1)
    found = L.enhanced_target(s, t, Y, gamma=1.0, variant=variant)
    torch.testing.assert_close(found, L.soft_cross_entropy(s, t.softmax(1)))


def test_the_paper_leaves_other_classes_as_they_are():
    s, t = logits(0), logits(1)
    p, log_q = t.softmax(1), s.log_softmax(1)
    own = p.gather(1, Y[:, None])[:, 0]
    right = log_q.gather(1, Y[:, None])[:, 0]
    rest = (p * log_q).sum(1) - own * right
    expected = -((1 + own) ** 1.4 - 1) * right - rest
    torch.testing.assert_close(L.enhanced_target(s, t, Y, gamma=1.4, reduction="none"), expected)
    official = L.enhanced_target(s, t, Y, gamma=1.4, variant="official", reduction="none")
    assert not torch.allclose(official, expected)


@pytest.mark.parametrize("loss", [L.weighted_soft_labels, L.enhanced_target])
def test_a_sure_teacher_and_a_sure_student(loss):
    sure = torch.full((4, 5), -1e4).scatter(1, Y[:, None], 1e4)
    s = sure.roll(1, 0).requires_grad_()
    value = loss(s, sure, Y)
    value.backward()
    assert value.isfinite()
    assert s.grad.isfinite().all()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda z: L.weighted_soft_labels(z, z[:, :2], Y), DataError, r"must both be \(n, c\)"),
        (lambda z: L.enhanced_target(z, z, Y + 3), DataError, r"labels must lie in \[0, 5\), got 3 to 6"),
        (lambda z: L.enhanced_target(z, z, Y, gamma=0.0), ConfigError, "gamma must be > 0"),
        (lambda z: L.enhanced_target(z, z, Y, variant="code"), UnknownNameError, "unknown variant"),
        (lambda z: L.weighted_soft_labels(z, z, Y, temperature=0.0), ConfigError, "temperature must be > 0"),
    ],
)
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call(logits(0))
