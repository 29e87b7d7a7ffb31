"""Noise schedules by hand, and what follows from their algebra."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.errors import DataError
from limbeck.functional.diffusion.schedule import Schedule, normal_like, uniform_times

KINDS, PREDICTS = ("cosine", "linear"), ("noise", "data", "velocity")
G = torch.Generator().manual_seed(0)
X, NOISE = (torch.randn(4, 2, 3, dtype=torch.float64, generator=G) for _ in range(2))


def test_cosine_by_hand() -> None:
    """At a third of the way alpha is cos 30 degrees."""
    t = torch.full((4,), 1 / 3, dtype=torch.float64)
    found = Schedule().noised(X, NOISE, t)
    torch.testing.assert_close(found, math.sqrt(3) / 2 * X + NOISE / 2)
    torch.testing.assert_close(Schedule().target(X, NOISE, t), math.sqrt(3) / 2 * NOISE - X / 2)


def test_linear_is_the_limit_of_the_discrete_betas() -> None:
    """1000 betas from 1e-4 to 0.02: the product of (1 - beta) up to the middle."""
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    product = (1 - betas)[:500].prod().sqrt()
    alpha, sigma = Schedule("linear").coefficients(torch.tensor([0.5], dtype=torch.float64), X[:1])
    assert float(alpha) == pytest.approx(float(product), rel=0.02)
    assert float(alpha**2 + sigma**2) == pytest.approx(1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("predicts", PREDICTS)
@given(t=st.floats(0.01, 0.99))
@settings(max_examples=20, deadline=None)
def test_the_right_answer_gives_back_data_and_noise(kind: str, predicts: str, t: float) -> None:
    path, times = Schedule(kind, predicts), torch.full((4,), t, dtype=torch.float64)
    x_t = path.noised(X, NOISE, times)
    x, noise = path.parts(path.target(X, NOISE, times), x_t, times)
    torch.testing.assert_close(x, X, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(noise, NOISE, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("predicts", PREDICTS)
def test_steps_of_a_network_that_knows_stay_on_the_path_and_goals_are_reached(
    kind: str, predicts: str
) -> None:
    path = Schedule(kind, predicts)
    t, until = torch.full((4,), 0.8, dtype=torch.float64), torch.full((4,), 0.3, dtype=torch.float64)
    x_t = path.noised(X, NOISE, t)
    reached = path.ddim(x_t, path.target(X, NOISE, t), t, until)
    torch.testing.assert_close(reached, path.noised(X, NOISE, until))
    wanted = torch.randn(4, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(path.ddim(x_t, path.goal(x_t, wanted, t, until), t, until), wanted)


def test_gradcheck() -> None:
    t = torch.full((4,), 0.4, dtype=torch.float64)
    x = X.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: Schedule().ddim(x, x.sin(), t, t / 2), (x,))


def test_draws() -> None:
    times = uniform_times(1000, torch.Generator().manual_seed(1))
    assert 0 < float(times.min()) <= float(times.max()) <= 1
    stepped = uniform_times(1000, torch.Generator().manual_seed(1), steps=4)
    assert sorted(set(stepped.tolist())) == [0.25, 0.5, 0.75, 1.0]
    assert torch.equal(
        normal_like(X, torch.Generator().manual_seed(2)), normal_like(X, torch.Generator().manual_seed(2))
    )
    with pytest.raises(DataError, match="t must be"):
        Schedule().noised(X, NOISE, torch.zeros(3))
