"""Relations between the samples of a batch: independent formulas, invariances, edges. Values of the references are in
tests/golden."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from limbeck import functional as L
from limbeck.errors import ConfigError, DataError, UnknownNameError
from limbeck.functional.relations import angles

RELATIONS = {
    "rkd distance": L.rkd_distance,
    "rkd angle": L.rkd_angle,
    "sp": L.similarity_preserving,
    "sp l1": partial(L.similarity_preserving, norm="l1"),
    "cc": L.correlation_congruence,
    "cc bilinear": partial(L.correlation_congruence, kernel="bilinear"),
    "pkt": L.pkt,
    "pkt official": partial(L.pkt, variant="official"),
}
relations = pytest.mark.parametrize("relation", RELATIONS.values(), ids=RELATIONS)
seeds = st.integers(0, 999)


def cloud(n: int, seed: int, d: int = 4) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotated(x: torch.Tensor, seed: int) -> torch.Tensor:
    return x @ torch.linalg.qr(cloud(x.shape[1], seed, x.shape[1])).Q


@relations
@settings(deadline=None, max_examples=15)
@given(seed=seeds)
def test_zero_up_to_a_rotation_and_above_elsewhere(relation, seed):
    s, t = cloud(6, seed), cloud(6, seed + 1000)
    assert abs(float(relation(s, rotated(s, seed)))) < 1e-9
    assert float(relation(s, t)) > 1e-6


@relations
def test_blind_to_a_common_order_and_to_how_features_are_laid_out(relation):
    s, t, order = cloud(6, 0), cloud(6, 1, 7), torch.randperm(6)
    torch.testing.assert_close(relation(s[order], t[order]), relation(s, t))
    torch.testing.assert_close(relation(s.reshape(6, 2, 2), t), relation(s, t))


@relations
def test_gradcheck_and_nothing_to_the_teacher(relation):
    s, t = cloud(5, 0).requires_grad_(), cloud(5, 1, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: relation(x, t.detach()), s)
    assert torch.autograd.grad(relation(s, t), t, allow_unused=True) == (None,)


@relations
@pytest.mark.parametrize("x", [torch.zeros(0, 3), torch.ones(1, 3), torch.eye(2, 3), torch.ones(4, 3),
                               torch.zeros(4, 3), 1e4 * torch.eye(3)])  # fmt: skip
def test_edges_are_finite(relation, x):
    """No row, one, two, equal rows, zero rows, large ones."""
    s = x.clone().requires_grad_()
    value = relation(s, torch.randn(len(x), 5, generator=torch.Generator().manual_seed(0)))
    value.backward()
    assert value.dtype == torch.float32
    assert value.isfinite()
    assert s.grad.isfinite().all()


@pytest.mark.parametrize("relation", [L.rkd_distance, L.rkd_angle, L.similarity_preserving, L.pkt])
def test_blind_to_scale(relation):
    s, t = cloud(6, 0), cloud(6, 1)
    torch.testing.assert_close(relation(1e3 * s, t), relation(s, 1e-3 * t))


@pytest.mark.parametrize("relation", [L.rkd_distance, L.rkd_angle])
def test_blind_to_a_shift(relation):
    s, t = cloud(6, 0), cloud(6, 1)
    torch.testing.assert_close(relation(s + 5, t - 3), relation(s, t))


def test_angles_are_those_of_all_triples_however_they_are_cut(monkeypatch):
    s, t = cloud(7, 0).requires_grad_(), cloud(7, 1, 3)

    def cosines(x):
        edges = F.normalize(x[None, :] - x[:, None], dim=2)
        return edges @ edges.mT

    naive = F.smooth_l1_loss(cosines(s), cosines(t))
    (expected,) = torch.autograd.grad(naive, s)
    for elements in (1, 100, 10**6):  # one corner at a time, two, all
        monkeypatch.setattr(angles, "BLOCK_ELEMENTS", elements)
        value = L.rkd_angle(s, t)
        torch.testing.assert_close(value, naive)
        torch.testing.assert_close(torch.autograd.grad(value, s)[0], expected)


def test_angles_keep_their_digits_far_from_the_origin():
    s, t = cloud(8, 0).float(), cloud(8, 1).float()
    torch.testing.assert_close(L.rkd_angle(s + 100, t), L.rkd_angle(s, t), rtol=1e-3, atol=1e-6)


def test_no_tensor_of_all_triples():
    n = 160
    s, t = cloud(n, 0, 8).float().requires_grad_(), cloud(n, 1, 8).float()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x):
        L.rkd_angle(s, t).backward()
    assert max(kept) <= angles.BLOCK_ELEMENTS < n**3


def test_congruence_at_a_high_order_is_that_of_gaussian_kernels():
    s, t = (F.normalize(cloud(5, seed), dim=1) for seed in (0, 1))
    kernels = [torch.exp(-0.4 * torch.cdist(x, x).square()) for x in (s, t)]
    found = L.correlation_congruence(s, t, gamma=0.4, order=30)
    torch.testing.assert_close(found, (kernels[0] - kernels[1]).square().mean())


@pytest.mark.parametrize("variant", ["paper", "official"])
def test_pkt_by_its_sums(variant):
    s, t = cloud(5, 0), cloud(5, 1, 3)
    total = 0.0
    for i in range(5):
        others = [j for j in range(5) if variant == "official" or j != i]
        q, p = (torch.stack([(F.cosine_similarity(x[i], x[j], 0) + 1) / 2 for j in others]) for x in (s, t))
        q, p = q / q.sum(), p / p.sum()
        total += float((p * (p / q).log()).sum())
    expected = total / (5 if variant == "paper" else 25)
    assert float(L.pkt(s, t, variant=variant)) == pytest.approx(expected, rel=1e-6)


@relations
def test_unpaired_rows_are_refused(relation):
    with pytest.raises(DataError, match="paired row by row"):
        relation(cloud(3, 0), cloud(4, 0))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda s: L.similarity_preserving(s, s, norm="L2"), UnknownNameError, "did you mean 'l2'"),
        (lambda s: L.correlation_congruence(s, s, gamma=0.0), ConfigError, "gamma must be > 0"),
        (lambda s: L.correlation_congruence(s, s, order=0), ConfigError, "order must be at least 1"),
        (lambda s: L.correlation_congruence(s, s[:, :2], kernel="consecutive"), DataError, "needs one width"),
        (lambda s: L.pkt(s, s, variant="code"), UnknownNameError, "unknown variant"),
    ],
)  # fmt: skip
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call(cloud(3, 0))
