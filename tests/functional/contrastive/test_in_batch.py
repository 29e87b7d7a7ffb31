"""Contrast between student and teacher: independent formulas, properties, edges. CRD's values are in tests/golden."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from limbeck import functional as L
from limbeck.errors import ConfigError, DataError


def cloud(n: int, seed: int, d: int = 4) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("symmetric", [False, True])
def test_info_nce_by_its_sums(symmetric):
    s, t = cloud(5, 0), cloud(5, 1)
    score = (F.cosine_similarity(s[:, None], t[None], -1) / 0.2).exp()
    rows = -(score.diagonal() / score.sum(1)).log()
    if symmetric:
        rows = (rows - (score.diagonal() / score.sum(0)).log()) / 2
    found = L.info_nce(s, t, temperature=0.2, symmetric=symmetric, reduction="none")
    torch.testing.assert_close(found, rows)


def test_info_nce_gradcheck_and_nothing_to_the_teacher():
    s, t = cloud(4, 0).requires_grad_(), cloud(4, 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: L.info_nce(x, t.detach(), temperature=0.5), s)
    assert torch.autograd.grad(L.info_nce(s, t), t, allow_unused=True) == (None,)


def test_info_nce_between_its_ends():
    one = torch.eye(4)
    assert float(L.info_nce(one, one, temperature=0.01)) == pytest.approx(0, abs=1e-6)
    assert float(L.info_nce(one, torch.ones(4, 4))) == pytest.approx(math.log(4), rel=1e-5)
    assert float(L.info_nce(one[:1], one[:1])) == 0


def test_rows_of_one_number_are_no_negatives():
    s, t = cloud(4, 0), cloud(4, 1)
    found = L.info_nce(s, t, same=torch.tensor([0, 0, 1, 2]), reduction="none")
    torch.testing.assert_close(found[0], L.info_nce(s[[0, 2, 3]], t[[0, 2, 3]], reduction="none")[0])
    assert not L.info_nce(s, t, same=torch.zeros(4).long()).any()


@pytest.mark.parametrize("n", [0, 1, 2])
@pytest.mark.parametrize("scale", [0.0, 1e4])
def test_edges_are_finite(n, scale):
    s = (scale * cloud(n, 0)).float().requires_grad_()
    value = L.info_nce(s, cloud(n, 1).float(), symmetric=True)
    value.backward()
    assert value.isfinite()
    assert s.grad.isfinite().all()


def test_noise_contrast_finds_the_own_row():
    memory = F.normalize(cloud(20, 0), dim=1)
    index = torch.tensor([[3, 5, 7], [4, 5, 6]])
    own, other = memory[[3, 4]], memory[[5, 5]]
    near, far = (L.noise_contrast(x, memory, index, normaliser=20.0) for x in (own, other))
    assert 0 < float(near) < float(far)


def test_noise_contrast_gradcheck_and_halves():
    memory, x = F.normalize(cloud(9, 0), dim=1), cloud(2, 1).requires_grad_()
    index = torch.tensor([[3, 5, 7], [4, 5, 6]])
    assert torch.autograd.gradcheck(
        lambda x: L.noise_contrast(x, memory, index, temperature=1.0, normaliser=9.0), x
    )
    rows = L.noise_contrast(x, memory, index, temperature=1.0, normaliser=9.0, reduction="none")
    alone = L.noise_contrast(x[:1], memory, index[:1], temperature=1.0, normaliser=9.0)
    torch.testing.assert_close(rows[0], alone)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda s: L.info_nce(s, s[:, :2]), DataError, "in one space"),
        (lambda s: L.info_nce(s, s, same=torch.zeros(2)), DataError, r"same must be \(3,\)"),
        (lambda s: L.info_nce(s, s, temperature=0), ConfigError, "temperature must be > 0"),
        (lambda s: L.noise_contrast(s, s, torch.zeros(2, 2).long()), DataError, "do not fit"),
    ],
)  # fmt: skip
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call(cloud(3, 0))


def test_a_queue_adds_negatives():
    generator = torch.Generator().manual_seed(0)
    s, t, queue = (torch.randn(n, 4, generator=generator, dtype=torch.float64) for n in (3, 3, 5))
    same = torch.zeros(3, 5, dtype=torch.bool)
    same[1, 2] = True
    unit = [torch.nn.functional.normalize(x, dim=1) for x in (s, t, queue)]
    score = unit[0] @ torch.cat(unit[1:]).T / 0.5
    score[1, 3 + 2] = -torch.inf
    expected = (score.logsumexp(1) - score.diagonal()).mean()
    found = L.info_nce(s, t, temperature=0.5, queue=queue, same_in_queue=same)
    torch.testing.assert_close(found, expected)
    with pytest.raises(DataError, match=r"queue must be \(q, 4\)"):
        L.info_nce(s, t, queue=queue[:, :2])
