"""Sinkhorn with a fixed number of sweeps and the gradient through every one of them, as autograd takes it."""

from __future__ import annotations

import torch
from torch import Tensor


def unrolled_plan(matrix: Tensor, a: Tensor, b: Tensor, reg: float, sweeps: int) -> Tensor:
    """The plan after ``sweeps`` sweeps (columns, then rows) from ones, in the log domain; differentiable."""
    logits = matrix * (-1.0 / reg)
    log_a, log_b = a.log(), b.log()
    log_u = torch.zeros_like(a)  # a constant factor drops out of the first update
    log_v = torch.zeros_like(b)
    for _ in range(sweeps):
        log_v = log_b - torch.logsumexp(logits + log_u.unsqueeze(-1), 0)
        log_u = log_a - torch.logsumexp(logits + log_v, 1)
    return (logits + log_u.unsqueeze(-1) + log_v).exp()
