"""Against the authors' formulas, written as loops in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from limbeck.errors import ConfigError, DataError, UnknownNameError
from limbeck.functional import (
    binary_kl_norm,
    class_standardised_logits,
    divergence,
    prediction_products,
)


def logits(seed: int, n: int = 5, c: int = 4, scale: float = 2.0) -> Tensor:
    return scale * torch.randn(n, c, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def softmax(z: np.ndarray) -> np.ndarray:
    p = np.exp(z - z.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


def test_perception_by_class_and_its_divergence() -> None:
    ours, theirs, tau = logits(0), logits(1), 3.0
    seen = []
    for z in (ours.numpy(), theirs.numpy()):
        seen.append(
            np.stack([(z[:, c] - z[:, c].mean()) / np.sqrt(z[:, c].var() + 1e-5) for c in range(4)], axis=1)
        )
    assert np.allclose(class_standardised_logits(ours).numpy(), seen[0], rtol=1e-10)
    p_s, p_t = (softmax(z / tau) for z in seen)
    wanted = np.mean([sum(t * np.log(t / s) for s, t in zip(*row)) for row in zip(p_s, p_t)])
    found = (
        divergence(class_standardised_logits(ours), class_standardised_logits(theirs), temperature=tau)
        / tau**2
    )
    assert float(found) == pytest.approx(wanted, rel=1e-9)
    assert gradcheck(class_standardised_logits, (ours.requires_grad_(),))


def test_perception_of_few_rows() -> None:
    assert not class_standardised_logits(logits(0, n=1)).any()
    assert class_standardised_logits(logits(0, n=0)).shape == (0, 4)
    assert not class_standardised_logits(torch.ones(3, 2)).any()
    with pytest.raises(DataError, match=r"logits must be \(n, c\)"):
        class_standardised_logits(torch.ones(3))


@pytest.mark.parametrize("over", ["rows", "classes"])
def test_products_of_predictions(over: str) -> None:
    ours, theirs, t = logits(2), logits(3), 2.5
    p_s, p_t = (softmax(z.numpy() / t) for z in (ours, theirs))
    if over == "classes":
        p_s, p_t = p_s.T, p_t.T
    k = len(p_s)
    wanted = sum((p_s[i] @ p_s[j] - p_t[i] @ p_t[j]) ** 2 for i in range(k) for j in range(k)) / k
    assert float(prediction_products(ours, theirs, over=over, temperature=t)) == pytest.approx(
        wanted, rel=1e-10
    )
    assert gradcheck(lambda z: prediction_products(z, theirs, over=over), (ours.requires_grad_(),))
    assert float(prediction_products(theirs, theirs, over=over)) == 0
    assert float(prediction_products(logits(0, n=0), logits(0, n=0), over=over)) == 0


def test_wrong_products() -> None:
    with pytest.raises(DataError, match="on both sides"):
        prediction_products(logits(0), logits(0, n=3))
    with pytest.raises(UnknownNameError):
        prediction_products(logits(0), logits(1), over="columns")
    with pytest.raises(ConfigError):
        prediction_products(logits(0), logits(1), temperature=0.0)


def test_the_difference_of_logits_as_a_yes_or_no() -> None:
    ours, theirs, t = logits(4), logits(5), 2.0
    total = 0.0
    for s, z in zip(ours.flatten().tolist(), theirs.flatten().tolist()):
        p = 1 / (1 + np.exp(-(s - z) / t))
        total += 0.5 * np.log(0.5 / p) + 0.5 * np.log(0.5 / (1 - p))
    wanted = t**2 * total / len(ours)
    assert float(binary_kl_norm(ours, theirs, temperature=t)) == pytest.approx(wanted, rel=1e-10)
    assert float(binary_kl_norm(theirs, theirs)) == pytest.approx(0, abs=1e-12)
    assert gradcheck(lambda z: binary_kl_norm(z, theirs, reduction="none"), (ours.requires_grad_(),))
    far = torch.tensor([[1e4, 0.0]], requires_grad=True)
    value = binary_kl_norm(far, torch.tensor([[-1e4, 0.0]]))
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(far.grad).all()
