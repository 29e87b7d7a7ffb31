"""Kernels, moments and similarities over seven decades of features: float32 agrees with float64, and with their scaling
laws."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from limbeck.functional import (
    bures_wasserstein,
    central_moment_discrepancy,
    cka,
    coral,
    distance_correlation,
    mean_cov_bures,
    median_bandwidth,
    mmd,
    mmd_teacher_term,
    moment_matching,
    mutual_knn,
    procrustes,
    warnings_once,
)

SCALES = st.floats(-3.0, 4.0).map(lambda exponent: 10.0**exponent)
KERNELS = st.sampled_from(["rbf", "energy", "laplacian", "imq"])
Loss = Callable[[Tensor, Tensor], Tensor]


def clouds(scale: float, seed: int, n: int = 12, m: int = 12, d: int = 4) -> tuple[Tensor, Tensor]:
    """Rows of norm about ``scale``; float32."""
    g = torch.Generator().manual_seed(seed)
    x, y = torch.randn(n, d, generator=g) + 0.5, torch.randn(m, d, generator=g)
    return x * (scale / d**0.5), y * (scale / d**0.5)


def from_moments(x: Tensor, y: Tensor) -> Tensor:
    return bures_wasserstein(x.mean(0), torch.cov(x.T), y.mean(0), torch.cov(y.T))


# name: (loss, how its value grows with the features)
LOSSES: dict[str, tuple[Loss, float]] = {
    "coral": (coral, 4),
    "mean_cov_bures": (mean_cov_bures, 2),
    "mean_cov_bures, root": (lambda x, y: mean_cov_bures(x, y, squared=False), 1),
    "bures_wasserstein": (from_moments, 2),
    "cka": (cka, 0),
    "cka, unbiased": (lambda x, y: cka(x, y, unbiased=True), 0),
    "cka, rbf": (lambda x, y: cka(x, y, kernel="rbf"), 0),
    "distance_correlation": (distance_correlation, 0),
    "procrustes": (procrustes, 2),
    "procrustes, disparity": (lambda x, y: procrustes(x, y, kind="disparity"), 0),
    "mmd, rbf": (mmd, 0),
    "mmd, laplacian": (lambda x, y: mmd(x, y, kernel="laplacian"), 0),
    "mmd, imq": (lambda x, y: mmd(x, y, kernel="imq"), 0),
    "mmd, energy": (lambda x, y: mmd(x, y, kernel="energy"), 1),
}


def graded(loss: Loss, x: Tensor, y: Tensor) -> tuple[float, Tensor]:
    x = x.clone().requires_grad_()
    value = loss(x, y)
    value.backward()
    assert x.grad is not None
    return value.item(), x.grad.double()


@pytest.mark.parametrize("name", LOSSES)
@settings(max_examples=15)
@given(scale=SCALES, seed=st.integers(0, 20))
def test_the_scaling_law(name: str, scale: float, seed: int) -> None:
    """``f(s x, s y) = s^k f(x, y)``, gradient included, from float64 at scale 1 to float32 at any."""
    loss, power = LOSSES[name]
    value, gradient = graded(loss, *clouds(scale, seed))
    expected, direction = graded(loss, *(x.double() for x in clouds(1.0, seed)))
    assert value / scale**power == pytest.approx(expected, rel=1e-3, abs=1e-5)
    assert float((gradient / scale ** (power - 1) - direction).norm()) < 1e-3 * float(direction.norm()) + 1e-5


@settings(max_examples=60)
@given(scale=SCALES, kernel=KERNELS, width=st.sampled_from([0.1, 1.0, 10.0]), seed=st.integers(0, 20))
def test_a_fixed_bandwidth(scale: float, kernel: str, width: float, seed: int) -> None:
    """Also where it is thousands of times wider, or narrower, than the clouds."""
    x, y = clouds(scale, seed, m=9)
    options = {"kernel": kernel, "bandwidth": width, "unbiased": False}

    def loss(x: Tensor, y: Tensor) -> Tensor:
        return mmd(x, y, **options)

    value, gradient = graded(loss, x, y)
    expected, direction = graded(loss, x.double(), y.double())
    unit = scale if kernel == "energy" else min(1.0, scale / width)
    assert value == pytest.approx(expected, rel=5e-3, abs=1e-6 * unit)
    assert float((gradient - direction).norm()) < 1e-2 * float(direction.norm()) + 1e-7 * unit / scale
    cached = mmd(x, y, teacher_term=mmd_teacher_term(y, **options), **options)
    assert float(cached) == pytest.approx(value, rel=5e-3, abs=1e-6 * unit)


@settings(max_examples=30)
@given(scale=SCALES, order=st.integers(1, 6), seed=st.integers(0, 20))
def test_moments(scale: float, order: int, seed: int) -> None:
    """The fifth power of 1e4 fits float32, its square does not."""
    x, y = clouds(scale, seed)
    for loss in (moment_matching, central_moment_discrepancy):
        value, gradient = graded(lambda x, y: loss(x, y, order=order), x, y)  # noqa: B023
        expected, direction = graded(lambda x, y: loss(x, y, order=order), x.double(), y.double())  # noqa: B023
        assert value == pytest.approx(expected, rel=1e-3)
        assert float((gradient - direction).norm()) < 1e-3 * float(direction.norm())


def test_a_median_whose_square_overflows() -> None:
    x, y = clouds(1.0, 0)
    assert median_bandwidth(x * 1e30, y * 1e30) == pytest.approx(1e30 * median_bandwidth(x, y), rel=1e-4)
    assert float(mmd(x * 1e25, y * 1e25)) == pytest.approx(float(mmd(x, y)), rel=1e-3)


@pytest.mark.parametrize("name", [*LOSSES, "moments", "central moments", "neighbours"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_bad_row_is_never_a_number(name: str, bad: float) -> None:
    more = {"moments": moment_matching, "central moments": central_moment_discrepancy}
    more["neighbours"] = lambda x, y: mutual_knn(x, y, k=3)
    loss = more[name] if name in more else LOSSES[name][0]
    x, y = clouds(1.0, 1)
    x[3, 1] = bad
    for pair in ((x, y), (y, x)):
        warnings_once._given.clear()  # or this line would be told but once
        with pytest.warns(RuntimeWarning, match="the result is NaN, the features hold NaN or Inf"):
            assert math.isnan(loss(*pair))


@pytest.mark.parametrize("loss", [coral, lambda x, y: moment_matching(x, y, order=9)])
def test_overflow_is_called_overflow(loss: Loss) -> None:
    x, y = clouds(1e15, 1)
    with pytest.warns(
        RuntimeWarning, match=r"grow beyond float32 .* scale the features down, or pass float64"
    ):
        assert math.isnan(loss(x, y))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert math.isfinite(loss(x.double(), y.double()))
