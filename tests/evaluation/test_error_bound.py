from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import norm, qmc

from limbeck.errors import ConfigError, DataError, NonFiniteError
from limbeck.evaluation.error_bound import bound, lipschitz, wasserstein
from limbeck.seeding import keyed_generator


def gaussian(n: int, d: int, seed: int) -> torch.Tensor:
    """Points of the standard normal, spread evenly (a random sample's own distance is not within 1%)."""
    return torch.from_numpy(qmc.MultivariateNormalQMC([0.0] * d, seed=seed).random(n))


@pytest.mark.parametrize("d", [1, 2, 3])
def test_shifted_gaussians(d: int) -> None:
    """W1 of clouds of one shape is the length of the shift."""
    shift = torch.zeros(d)
    shift[0] = 20.0
    found = wasserstein(gaussian(1024, d, 0), gaussian(1024, d, 1) + shift)
    assert found == pytest.approx(20.0, rel=0.01)


@pytest.mark.full
@pytest.mark.parametrize("scale", [0.2, 3.0])
@pytest.mark.parametrize("d", [1, 2, 8])
def test_scaled_gaussians(d: int, scale: float) -> None:
    """The best map of N(0, I) to N(0, s^2 I) is x -> s x: W1 = |s - 1| E|x|."""
    x = gaussian(1024, d, 0)
    mean_norm = math.sqrt(2) * math.gamma((d + 1) / 2) / math.gamma(d / 2)
    assert wasserstein(x, scale * x.flip(0)) == pytest.approx(abs(scale - 1) * mean_norm, rel=0.01)


def test_gaussians_of_another_mean_and_spread_on_the_line() -> None:
    """In one dimension the map is monotone, and W1 is the mean of a folded normal, |m + (s - 1) x|."""
    m, s = 0.7, 2.5
    a = m / (s - 1)
    closed = (s - 1) * (2 * norm.pdf(a) + a * (1 - 2 * norm.cdf(-a)))
    quantiles = torch.from_numpy(norm.ppf((torch.arange(1000).numpy() + 0.5) / 1000))[:, None]
    assert wasserstein(quantiles, m + s * quantiles.flip(0)) == pytest.approx(closed, rel=0.01)


def test_the_l1_metric_and_sides_of_unequal_size() -> None:
    x = gaussian(512, 2, 0)
    assert wasserstein(x, x + 3.0, "l1") == pytest.approx(6.0, rel=0.01)
    assert wasserstein(x, (x + 3.0).repeat_interleave(3, 0)) == pytest.approx(3 * math.sqrt(2), rel=0.02)


def test_lipschitz_of_a_head_is_approached_from_below() -> None:
    """Two classes, logits (0, w z): the entropy's slope is w^2 z p (1 - p), largest where its derivative vanishes."""
    w = 2.0
    z = torch.linspace(-4, 4, 801).double()[:, None]
    p = torch.sigmoid(w * z)
    true = float((w * w * z.abs() * p * (1 - p)).max())
    found = lipschitz(z, (torch.tensor([[0.0], [w]]), None))
    assert found <= true * (1 + 1e-6)
    assert found == pytest.approx(true, rel=0.01)
    assert lipschitz(torch.zeros(5, 3), (torch.eye(3), None)) == 0.0


def sides(shift: float) -> dict[str, torch.Tensor]:
    draw = keyed_generator("bound")
    labels = torch.arange(300) % 3
    z = 3 * torch.eye(3, 4)[labels]
    return {
        "features_s": z + 0.3 * torch.randn(300, 4, generator=draw) + shift,
        "logits_s": 2 * torch.eye(3)[labels] + 0.3 * torch.randn(300, 3, generator=draw),
        "labels_s": labels,
        "features_t": z + 0.3 * torch.randn(300, 4, generator=draw),
        "labels_t": labels,
    }


HEAD = (2 * torch.eye(3, 4), torch.zeros(3))


def test_both_sides_add_up_and_the_bound_holds() -> None:
    for shift in (0.0, 2.0):
        found = bound(**sides(shift), head_t=HEAD)
        assert found.right == pytest.approx(
            found.teacher_error + found.feature_alignment + found.label_alignment
        )
        assert found.feature_alignment == pytest.approx(found.lipschitz * found.distance)
        assert found.slack == pytest.approx(found.right - found.student_error)
        assert found.finite_slack == pytest.approx(found.slack + found.sampling)
        assert found.slack >= 0
    assert bound(**sides(2.0), head_t=HEAD).distance > bound(**sides(0.0), head_t=HEAD).distance + 3


def test_the_students_own_error_cancels() -> None:
    """LA = err_S - E kappa (-log p_T): another student head moves both sides alike."""
    first = bound(**sides(0.5), head_t=HEAD)
    second = bound(**{**sides(0.5), "logits_s": torch.zeros(300, 3)}, head_t=HEAD)
    assert second.student_error != pytest.approx(first.student_error)
    assert second.slack == pytest.approx(first.slack)


def test_sampling_term_and_the_better_of_two_metrics() -> None:
    found = bound(**sides(0.5), head_t=HEAD, delta=0.1)
    expected = found.lipschitz * math.sqrt(math.log(20) / 2) * 2 / math.sqrt(300)
    assert found.sampling == pytest.approx(expected)
    both = bound(**sides(0.5), head_t=HEAD, metrics=("l1", "euclidean"))
    each = [bound(**sides(0.5), head_t=HEAD, metrics=(m,)).feature_alignment for m in ("l1", "euclidean")]
    assert both.feature_alignment == pytest.approx(min(each))


def test_bad_input_is_named() -> None:
    good = sides(0.0)
    with pytest.raises(DataError, match="4 wide, the teacher's 3"):
        bound(**{**good, "features_t": good["features_t"][:, :3]}, head_t=HEAD)
    with pytest.raises(DataError, match="labelled rows of the student"):
        bound(**{**good, "labels_s": torch.full((300,), -100)}, head_t=HEAD)
    with pytest.raises(DataError, match=r"head is \(2, 4\)"):
        bound(**good, head_t=(torch.zeros(2, 4), None))
    with pytest.raises(ConfigError, match="delta=2"):
        bound(**good, head_t=HEAD, delta=2)
    with pytest.raises(NonFiniteError, match="teacher's features"):
        bound(**{**good, "features_t": good["features_t"] / 0}, head_t=HEAD)
