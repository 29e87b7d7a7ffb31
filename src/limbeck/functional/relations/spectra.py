"""Sums over singular values, with a gradient that exists where singular values repeat or vanish."""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.functional.hand_gradients import wants_gradient, with_gradient
from limbeck.functional.precision import has_finite_sum


def nuclear_norm(x: Tensor, name: str) -> Tensor:
    """Sum of the singular values of ``x``; directions without any take no gradient.

    ``name`` is the function that a refused second derivative names.
    """
    if not has_finite_sum(x):  # the decomposition would refuse it
        return x.sum() * float("nan")
    wants = wants_gradient(x)
    with torch.no_grad():
        u, values, v = torch.linalg.svd(x, full_matrices=False)
        floor = max(x.shape) * torch.finfo(x.dtype).eps * (values[0] if len(values) else 0.0)
        gradient = (u * (values > floor)) @ v if wants else None
    return with_gradient(values.sum(), x, gradient, name)
