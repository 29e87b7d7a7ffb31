"""Every loss of transport over seven decades of features: float32 agrees with float64, and float64 with a reference."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from limbeck.functional import (
    cost_matrix,
    exact_transport_cost,
    gromov_wasserstein,
    max_sliced_wasserstein,
    prototype_transport,
    sinkhorn_divergence,
    sinkhorn_teacher_term,
    sliced_wasserstein,
    transport_cost,
    unbalanced_transport_cost,
    wasserstein_1d,
)
from limbeck.functional.transport import streaming

SCALES = st.floats(-3.0, 4.0).map(lambda exponent: 10.0**exponent)
COSTS = ("cosine", "angular", "chordal", "sqeuclidean", "euclidean", "l1")
Loss = Callable[[Tensor, Tensor], Tensor]


def clouds(scale: float, seed: int, n: int = 9, m: int = 7, d: int = 5) -> tuple[Tensor, Tensor]:
    """Rows of norm about ``scale``, the student's moved away from the teacher's; float32."""
    g = torch.Generator().manual_seed(seed)
    x, y = torch.randn(n, d, generator=g) + 0.5, torch.randn(m, d, generator=g)
    return x * (scale / d**0.5), y * (scale / d**0.5)


def graded(loss: Loss, x: Tensor, y: Tensor) -> tuple[float, Tensor, list[str]]:
    """Value, gradient in float64, and what was warned of."""
    x = x.clone().requires_grad_()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        value = loss(x, y)
    value.backward()
    assert x.grad is not None
    return value.item(), x.grad.double(), [str(w.message) for w in said]


def agree(loss: Loss, x: Tensor, y: Tensor, *, unit: float) -> None:
    """float32 gives float64's value to 1% or to 1e-5 of ``unit``, and its gradient to 10% or to next to nothing.

    (Each stops a little short, which is what the gradients of sharp plans differ by.)
    """
    value, gradient, said = graded(loss, x, y)
    expected, direction, _ = graded(loss, x.double(), y.double())
    assert math.isfinite(value), said
    assert value == pytest.approx(expected, rel=1e-2, abs=1e-5 * unit)
    assert torch.isfinite(gradient).all()
    nothing = 1e-7 * unit / float(x.norm(dim=1).mean())
    assert float((gradient - direction).norm()) <= 0.1 * float(direction.norm()) + nothing
    assert not any("NaN" in sentence for sentence in said)


def classes(x: Tensor, y: Tensor) -> dict[str, Tensor]:
    return {"labels_s": torch.arange(len(x)) % 3, "labels_t": torch.arange(len(y)) % 3}


FAMILIES: dict[str, Callable[[str], Loss]] = {
    "unbalanced": lambda cost: lambda x, y: unbalanced_transport_cost(x, y, cost=cost),
    "unbalanced sharp": lambda cost: lambda x, y: unbalanced_transport_cost(x, y, cost=cost, value="sharp"),
    "unbalanced, one side": lambda cost: (
        lambda x, y: unbalanced_transport_cost(x, y, cost=cost, marginal=(math.inf, 0.5))
    ),
    "unbalanced, no entropy": lambda cost: lambda x, y: unbalanced_transport_cost(x, y, cost=cost, reg=0),
    "transport": lambda cost: lambda x, y: transport_cost(x, y, cost=cost),
    "transport, dual": lambda cost: lambda x, y: transport_cost(x, y, cost=cost, value="dual"),
    "transport, median": lambda cost: lambda x, y: transport_cost(x, y, cost=cost, reg_scale="median"),
    # as it was given: its own rounding is no fault of the solver
    "transport, matrix": lambda cost: (
        lambda x, y: transport_cost(x, y, cost=cost_matrix(x.float(), y.float(), cost).to(x.dtype))
    ),
    "transport, blocks": lambda cost: lambda x, y: transport_cost(x, lambda: iter(y.split(3)), cost=cost),
    "transport, unrolled": lambda cost: (
        lambda x, y: transport_cost(x, y, cost=cost, gradient="unrolled", max_iter=30)
    ),
    "transport, within classes": lambda cost: (
        lambda x, y: transport_cost(x, y, cost=cost, within_class=True, **classes(x, y))
    ),
    "transport, within classes, dual": lambda cost: (
        lambda x, y: transport_cost(x, y, cost=cost, within_class=True, value="dual", **classes(x, y))
    ),
    "transport, weighted": lambda cost: (
        lambda x, y: transport_cost(x, y, cost=cost, weights_s=torch.linspace(0, 1, len(x)))
    ),
    "prototypes": lambda cost: lambda x, y: prototype_transport(x, y, cost=cost)[0],
    "prototypes, soft": lambda cost: lambda x, y: prototype_transport(x, y, cost=cost, hold=0.5)[0],
}


@pytest.mark.filterwarnings("ignore:.*has not converged")
@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=15)
@given(scale=SCALES, cost=st.sampled_from(COSTS), seed=st.integers(0, 20))
def test_float32_is_float64(family: str, scale: float, cost: Any, seed: int) -> None:
    x, y = clouds(scale, seed)
    unit = float(cost_matrix(x.double(), y.double(), cost).mean())
    if family.startswith("unbalanced"):  # what a dropped row costs
        unit = max(1.0, unit) if "one side" in family else 1.0
    agree(FAMILIES[family](cost), x, y, unit=unit)


@pytest.mark.filterwarnings("ignore:.*has not converged")
@settings(max_examples=25)
@given(scale=SCALES, p=st.sampled_from([1, 2]), seed=st.integers(0, 20))
def test_divergence(scale: float, p: int, seed: int) -> None:
    x, y = clouds(scale, seed)
    agree(lambda x, y: sinkhorn_divergence(x, y, p=p), x, y, unit=scale**p)
    cached = sinkhorn_divergence(x, y, p=p, teacher_term=sinkhorn_teacher_term(y, p=p))
    assert float(cached) == pytest.approx(
        float(sinkhorn_divergence(x, y, p=p)), rel=1e-2, abs=1e-5 * scale**p
    )


@settings(max_examples=25)
@given(scale=SCALES, seed=st.integers(0, 20), p=st.sampled_from([1, 2, 3]))
def test_lines(scale: float, seed: int, p: int) -> None:
    x, y = clouds(scale, seed)
    lines = torch.nn.functional.normalize(torch.randn(8, 5, generator=torch.Generator().manual_seed(seed)))
    agree(lambda x, y: sliced_wasserstein(x, y, p=p, projections=lines), x, y, unit=scale**p)
    agree(lambda x, y: wasserstein_1d(x, y, p=p), x, y, unit=scale**p)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_the_widest_direction_scales_with_the_clouds(scale: float) -> None:
    x, y = clouds(1.0, 3)
    values = [
        float(max_sliced_wasserstein(x * k, y * k, generator=torch.Generator().manual_seed(0))) / k**2
        for k in (1.0, scale)
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-3)


# ---- against references --------------------------------------------------------------------------------------


def unbalanced_by_logarithms(matrix: Tensor, rho: float, reg: float) -> float:
    """The optimum of the objective, by plain updates of the potentials until they stand; float64."""
    n, m = matrix.shape
    logits, log_a, log_b = -matrix / reg, -math.log(n), -math.log(m)
    price = rho / reg
    f, g = torch.zeros(n).double(), torch.zeros(m).double()
    for _ in range(5000):
        f = -price / (1 + price) * torch.logsumexp(logits + log_b + g, 1)
        g = -price / (1 + price) * torch.logsumexp(logits + log_a + f.unsqueeze(1), 0)
    mass = (logits + log_a + f.unsqueeze(1) + log_b + g).exp().sum()
    kept = torch.expm1(-f / price).mean() + torch.expm1(-g / price).mean()
    return float((-price * kept - mass + 1.0) * reg)


@settings(max_examples=20)
@given(
    scale=SCALES,
    cost=st.sampled_from(["sqeuclidean", "euclidean", "l1"]),
    seed=st.integers(0, 20),
    rho=st.sampled_from([0.3, 1.0, 20.0]),
)
@pytest.mark.full
def test_unbalanced_is_the_optimum(scale: float, cost: Any, seed: int, rho: float) -> None:
    x, y = clouds(scale, seed)
    expected = unbalanced_by_logarithms(cost_matrix(x.double(), y.double(), cost), rho, 0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for dtype in (torch.float32, torch.float64):
            got = unbalanced_transport_cost(x.to(dtype), y.to(dtype), cost=cost, marginal=rho)
            assert float(got) == pytest.approx(expected, rel=2e-3, abs=1e-6)


def test_what_is_too_far_costs_its_mass() -> None:
    """Nothing is carried: both marginals and the entropy's product are given up, 1 + 1 + 0.1, and nothing pulls."""
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(32, 384, generator=g), torch.randn(40, 384, generator=g)
    for dtype in (torch.float32, torch.float64):
        leaf = x.to(dtype).clone().requires_grad_()
        value = unbalanced_transport_cost(leaf, y.to(dtype), cost="sqeuclidean")
        value.backward()
        assert float(value) == pytest.approx(2.1, abs=1e-5)
        assert float(leaf.grad.abs().max()) < 1e-12


def test_one_row_far_from_all_others_is_dropped() -> None:
    g = torch.Generator().manual_seed(0)
    y = torch.randn(20, 8, generator=g)
    x = y + 0.01
    x[0] += 100
    matrix = cost_matrix(x.double(), y.double(), "euclidean")
    value, gradient, said = graded(lambda x, y: unbalanced_transport_cost(x, y, cost="euclidean"), x, y)
    assert value == pytest.approx(unbalanced_by_logarithms(matrix, 1.0, 0.1), rel=1e-3)
    assert float(gradient[0].norm()) < 1e-6 * float(gradient[1:].norm())
    assert not said


@pytest.mark.filterwarnings("ignore:.*has not converged")
@settings(max_examples=20)
@given(scale=SCALES, cost=st.sampled_from(["sqeuclidean", "euclidean", "l1"]), seed=st.integers(0, 20))
def test_transport_lies_just_above_exact_transport(scale: float, cost: Any, seed: int) -> None:
    """The plan of the regularised problem costs more than the best, by reg times an entropy at most."""
    pytest.importorskip("ot")
    x, y = clouds(scale, seed)
    exact = float(exact_transport_cost(x.double(), y.double(), cost=cost))
    for value in ("sharp", "dual"):
        got = float(transport_cost(x, y, cost=cost, value=value))
        assert 0.99 * exact <= got <= 1.01 * exact + 0.1 * math.log(9 * 7)


@pytest.mark.full
@pytest.mark.filterwarnings("ignore:.*has not converged")
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e2, 1e4])
def test_a_bank_read_in_passes(scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "DENSE_BYTES", 0)
    x, y = clouds(scale, 4, n=20, m=15)
    for cost in ("sqeuclidean", "euclidean"):
        for value in ("sharp", "dual"):
            expected = transport_cost(x.double(), y.double(), cost=cost, value=value)
            got = transport_cost(x, lambda: iter(y.split(4)), cost=cost, value=value)
            assert float(got) == pytest.approx(float(expected), rel=2e-2)


@pytest.mark.parametrize("reg", [None, 1.0])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0, 1e4])
def test_gromov_wasserstein_scales_with_the_clouds(scale: float, reg: float | None) -> None:
    """POT alone stops at once at 1e-3, and gives an empty plan (the value 0) from about 10 on under an entropy."""
    pytest.importorskip("ot")
    x, y = clouds(1.0, 5)
    expected = gromov_wasserstein(x.double(), y.double(), reg=reg)
    got = gromov_wasserstein(x * scale, y * scale, reg=None if reg is None else reg * scale**4)
    assert float(got) / scale**4 == pytest.approx(float(expected), rel=1e-4)


def test_gromov_wasserstein_with_little_entropy_is_exact() -> None:
    pytest.importorskip("ot")
    x, y = clouds(30.0, 6)
    exact = float(gromov_wasserstein(x, y))
    assert exact > 0
    assert float(gromov_wasserstein(x, y, reg=1.0)) == pytest.approx(exact, rel=0.05)


def test_twice_the_same_cloud_far_out() -> None:
    """Rows that coincide keep a value of zero, wherever they are."""
    x, _ = clouds(1e4, 7)
    assert float(sinkhorn_divergence(x, x.clone())) == pytest.approx(0.0, abs=1e-3)
    assert float(unbalanced_transport_cost(x, x.clone(), cost="sqeuclidean")) < 2.1
