"""No function is left out: each is a loss by rows (``kinds``), one that couples rows (here), or says why neither.

For losses that couple rows: nothing to the teacher, zero at equality, finite at the edges, float32 of half precision.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch
from functional.kinds import KINDS
from levels import some_of
from torch import Tensor
from torch.nn import functional as F

import limbeck.functional
from limbeck import functional as L

D = 6


@dataclass(frozen=True)
class Coupled:
    """A loss of two batches of rows, ``(n, 6)`` each; the ``least`` rows that it takes; whether it is 0 at equality."""

    loss: Callable[[Tensor, Tensor], Tensor]
    zero: bool = True
    least: int = 0
    both: bool = False


def queue(s: Tensor, t: Tensor) -> Tensor:
    return L.info_nce(s, t, queue=torch.eye(D, dtype=t.dtype), symmetric=True)


def memory(s: Tensor, t: Tensor) -> Tensor:
    """Features on the unit sphere, as CRD has them."""
    s, t = F.normalize(s, dim=1), F.normalize(t, dim=1)
    index = torch.arange(len(t))[:, None] + torch.arange(2)
    return L.noise_contrast(s, torch.cat([t, t[:1]]), index)


def whole_memory(s: Tensor, t: Tensor) -> Tensor:
    s, t = F.normalize(s, dim=1), F.normalize(t, dim=1)
    return L.noise_contrast_all(s, t, t.flip(0))


def structure(s: Tensor, t: Tensor, over: str) -> Tensor:
    """Embeddings of three labels, two numbers each, all there."""
    e_s, e_t = (x.reshape(len(x), 3, 2) for x in (s, t))
    return L.label_structure(e_s, e_t, torch.ones(len(s), 3, dtype=torch.bool), over=over)


def bags(s: Tensor, t: Tensor) -> Tensor:
    group = torch.arange(len(s)) // 2
    return L.transport_in_bags(s, t, group, group)


COUPLED = {
    "info_nce": Coupled(L.info_nce, zero=False),
    "info_nce queue": Coupled(queue, zero=False),
    "noise_contrast": Coupled(memory, zero=False, least=1),
    "noise_contrast_all": Coupled(whole_memory, zero=False),
    "rkd_distance": Coupled(L.rkd_distance),
    "rkd_angle": Coupled(L.rkd_angle),
    "similarity_preserving": Coupled(L.similarity_preserving),
    "similarity_preserving l1": Coupled(partial(L.similarity_preserving, norm="l1")),
    "correlation_congruence": Coupled(L.correlation_congruence),
    "pkt": Coupled(L.pkt),
    "pkt official": Coupled(partial(L.pkt, variant="official")),
    "direction_gap": Coupled(L.direction_gap),
    "prediction_products": Coupled(L.prediction_products),
    "prediction_products classes": Coupled(partial(L.prediction_products, over="classes")),
    "prediction_correlation": Coupled(partial(L.prediction_correlation, over="rows")),
    "sinkd": Coupled(lambda s, t: L.sinkd(s, t.detach()), zero=False),
    "label_structure": Coupled(partial(structure, over="rows")),
    "label_structure classes": Coupled(partial(structure, over="classes")),
    "mean_distance": Coupled(L.mean_distance, both=True),
    "mean_cosine_gap": Coupled(L.mean_cosine_gap, both=True),
    "mean_product_gap": Coupled(L.mean_product_gap, zero=False, both=True),
    "mmd": Coupled(partial(L.mmd, unbiased=False)),
    "coral": Coupled(L.coral),
    "moment_matching": Coupled(L.moment_matching),
    "central_moment_discrepancy": Coupled(L.central_moment_discrepancy),
    "mean_cov_bures": Coupled(L.mean_cov_bures),
    "cka": Coupled(lambda s, t: 1 - L.cka(s, t)),
    "distance_correlation": Coupled(lambda s, t: 1 - L.distance_correlation(s, t)),
    "procrustes": Coupled(L.procrustes),
    "transport_cost": Coupled(L.transport_cost, zero=False, least=1, both=True),
    "transport_in_bags": Coupled(bags, zero=False, both=True),
    "exact_transport_cost": Coupled(L.exact_transport_cost, least=1, both=True),
    "unbalanced_transport_cost": Coupled(L.unbalanced_transport_cost, zero=False, least=1, both=True),
    "sinkhorn_divergence": Coupled(L.sinkhorn_divergence, least=1, both=True),
    "gromov_wasserstein": Coupled(L.gromov_wasserstein, least=1, both=True),
    "sliced_wasserstein": Coupled(
        lambda s, t: L.sliced_wasserstein(s, t, generator=torch.Generator().manual_seed(0)), least=1
    ),
    "max_sliced_wasserstein": Coupled(
        lambda s, t: L.max_sliced_wasserstein(s, t, generator=torch.Generator().manual_seed(0)), least=1
    ),
    "wasserstein_1d": Coupled(lambda s, t: L.wasserstein_1d(s[:, :1], t[:, :1]), least=1),
    "prototype_transport": Coupled(
        lambda s, t: L.prototype_transport(s, t)[0], zero=False, least=1, both=True
    ),
}
NO_LOSS = {
    **dict.fromkeys(
        ("activation_map", "class_standardised_logits", "interpolated_logits", "standardised_logits", "patches_of",
         "right_singular_vectors", "cost_matrix"),
        "a step in front of a loss",
    ),
    **dict.fromkeys(
        ("kendall_tau", "mutual_knn", "median_bandwidth", "discounted_returns"), "says something without a gradient"
    ),
    **dict.fromkeys(
        ("cluster_centres", "margin_of_normal", "mmd_teacher_term", "sinkhorn_teacher_term", "sorted_projections",
         "projection_directions",
         "assignment_in_bags", "balanced_assignment", "transport_plan"),
        "a part that does not depend on a student's gradient, or has its own tests of what it returns",
    ),
    **dict.fromkeys(("dual_contrast", "bag_proportion_kl"), "has no teacher's side of its own shape"),
    "bures_wasserstein": "of means and covariances; `mean_cov_bures` takes them of rows",
    "fused_linear_divergence": "of states and heads; tests/functional/response/test_vocabulary_loss.py",
    "TransportInfo": "a record",
}  # fmt: skip
every = pytest.mark.parametrize("kind", COUPLED.values(), ids=COUPLED)


def named() -> set[str]:
    """All names of the room."""
    face = Path(limbeck.functional.__file__).with_suffix(".pyi").read_text()
    return {line.rpartition(" as ")[2] for line in face.splitlines() if " as " in line}


def rows(n: int, seed: int, scale: float = 1.0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(n, D, generator=generator, dtype=torch.float64)).to(dtype)


def test_no_function_is_left_out() -> None:
    tested = {name.partition(" ")[0] for name in (*KINDS, *COUPLED)}
    assert not tested & NO_LOSS.keys()
    assert named() == tested | NO_LOSS.keys()


@every
def test_nothing_reaches_the_teacher_and_equality_is_zero(kind: Coupled) -> None:
    s, t = rows(5, 0).requires_grad_(), rows(5, 1).requires_grad_()
    value = kind.loss(s, t)
    to_s, to_t = torch.autograd.grad(value, (s, t), allow_unused=True)
    assert to_s is not None
    assert to_s.abs().max() > 0
    assert (to_t is not None) == kind.both
    assert float(value) > 1e-4
    if kind.zero:
        assert abs(float(kind.loss(t.detach().clone(), t.detach()))) < 1e-6


@every
@pytest.mark.parametrize(
    ("n", "scale"),
    some_of([(n, scale) for n in (0, 1, 2, 4) for scale in (0.0, 1.0, 1e4)], (1, 1.0), (2, 0.0), (4, 1e4)),
)  # fmt: skip
def test_edges_are_finite(kind: Coupled, n: int, scale: float) -> None:
    if n < kind.least:
        return
    s = rows(n, 0, scale, torch.float32).requires_grad_()
    value = kind.loss(s, rows(n, 1, scale, torch.float32))
    assert value.dtype == torch.float32
    assert value.isfinite()
    if value.requires_grad:
        value.backward()
        assert s.grad is not None
        assert s.grad.isfinite().all()


@every
def test_equal_sides_have_a_finite_gradient(kind: Coupled) -> None:
    t = rows(4, 0, dtype=torch.float32)
    s = t.clone().requires_grad_()
    kind.loss(s, t).backward()
    assert s.grad is not None
    assert s.grad.isfinite().all()


@every
def test_half_precision_is_widened(kind: Coupled) -> None:
    s, t = (rows(4, seed, dtype=torch.bfloat16) for seed in (0, 1))
    s.requires_grad_()
    value = kind.loss(s, t)
    value.backward()
    assert value.dtype == torch.float32
    assert s.grad is not None
    assert s.grad.dtype == torch.bfloat16
