"""Transport to class prototypes: labels, class shares, gradients."""

from __future__ import annotations

import math

import pytest
import torch

from limbeck.errors import ConfigError, DataError
from limbeck.functional import cost_matrix, prototype_transport, transport_cost

TIGHT = {"tol": 1e-11, "max_iter": 20000}


def problem(n=12, c=4, d=5):
    g = torch.Generator().manual_seed(0)
    return torch.randn(n, d, generator=g).double(), torch.randn(c, d, generator=g).double()


@pytest.mark.parametrize("value", ["sharp", "dual"])
@pytest.mark.parametrize("hold", [0.5, math.inf])
def test_gradcheck(hold, value):
    x, prototypes = problem(5, 3)
    x.requires_grad_()
    prototypes.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, p: prototype_transport(x, p, hold=hold, value=value, reg=0.3, **TIGHT)[0],
        (x, prototypes),
        atol=1e-6,
    )


def test_labels_sum_to_one_and_classes_to_their_shares():
    x, prototypes = problem()
    shares = torch.tensor([4.0, 3, 2, 1])
    cost, labels = prototype_transport(x, prototypes, class_weights=shares, **TIGHT)
    torch.testing.assert_close(labels.sum(1), torch.ones(12).double())
    torch.testing.assert_close(labels.mean(0), shares.double() / 10)
    torch.testing.assert_close(cost, transport_cost(x, prototypes, weights_t=shares, value="dual", **TIGHT))


@pytest.mark.full
def test_between_softmax_and_exact_shares():
    x, prototypes = problem()
    free = torch.softmax(-cost_matrix(x, prototypes) / 0.1, 1)
    gaps = []
    for hold in (1e-6, 0.1, 1.0, math.inf):
        labels = prototype_transport(x, prototypes, hold=hold, **TIGHT)[1]
        gaps.append(float((labels.mean(0) - 0.25).abs().sum()))
        if hold == 1e-6:
            torch.testing.assert_close(labels, free, rtol=1e-3, atol=1e-4)
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 1e-8


def test_edges():
    x, prototypes = problem()
    cost, labels = prototype_transport(x[:0], prototypes)
    assert float(cost) == 0
    assert labels.shape == (0, 4)
    with pytest.raises(ConfigError, match="at least one class"):
        prototype_transport(x, prototypes[:0])
    with pytest.raises(DataError, match="project the student"):
        prototype_transport(x, prototypes[:, :3])
    with pytest.raises(ConfigError, match="hold must be > 0"):
        prototype_transport(x, prototypes, hold=0.0)
