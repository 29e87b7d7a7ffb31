"""The critic's loss by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from limbeck.errors import DataError
from limbeck.functional.relations.critic import wasserstein_critic


def test_a_linear_critic_by_hand() -> None:
    """f(x) = 3 x0 + 4 x1 has slope 5 everywhere: the penalty is (5 - 1)^2."""
    weight = torch.tensor([3.0, 4.0], requires_grad=True)
    made, real = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 1.0], [2.0, 0.0], [0.0, 0.0]])
    loss = wasserstein_critic(lambda x: x @ weight, made, real, penalty=10.0)
    assert float(loss.detach()) == pytest.approx(3.5 - 13 / 3 + 160)
    (gradient,) = torch.autograd.grad(loss, weight)
    # (0.5, 0.5) - (1, 1/3) + 10 * 2 * (5 - 1) * w / 5
    assert torch.allclose(gradient, torch.tensor([0.5 - 1 + 48, 0.5 - 1 / 3 + 64]))


def test_gradcheck() -> None:
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    made, real = (torch.randn(4, 2, dtype=torch.float64) for _ in range(2))

    def loss(w: torch.Tensor) -> torch.Tensor:
        return wasserstein_critic(
            lambda x: torch.tanh(x @ w).sum(1), made, real, generator=torch.Generator().manual_seed(1)
        )

    assert torch.autograd.gradcheck(loss, (critic[0].weight.detach().T.clone().requires_grad_(),))


def test_edges() -> None:
    assert float(wasserstein_critic(lambda x: x.sum(1), torch.zeros(0, 2), torch.ones(2, 2))) == 0
    with pytest.raises(DataError, match=r"Made samples are \[2\], real ones \[3\]"):
        wasserstein_critic(lambda x: x.sum(1), torch.zeros(1, 2), torch.ones(2, 3))
