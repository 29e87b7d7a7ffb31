"""Divergences inside torch's transforms, where no value can be asked for."""

from __future__ import annotations

import pytest
import torch

from limbeck import functional as L


@pytest.mark.parametrize("name", ["divergence", "distillation_kl"])
def test_a_gradient_for_each_row_by_vmap(name: str) -> None:
    loss, s, t = getattr(L, name), torch.randn(4, 5), torch.randn(4, 5)
    each = torch.func.vmap(torch.func.grad(lambda x, y: loss(x[None], y[None])))(s, t)
    x = s.clone().requires_grad_()
    (together,) = torch.autograd.grad(loss(x, t, reduction="sum"), x)
    torch.testing.assert_close(each, together)
