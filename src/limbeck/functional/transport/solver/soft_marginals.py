r"""Marginals that are held by a price: what the potentials say of them where no mass moves any more.

For a side held by ``rho KL`` the dual is ``-rho <a, exp(-f / rho) - 1>``: at the solution the plan has row sums
``a exp(-f / rho)``. All is in units of reg, and rho is given as the softness ``rho / (rho + reg)``.

Adding a constant to one potential and taking it from the other changes no plan, only these prices. The best constant
has a closed form; the sweeps find it slowly, and where next to nothing is carried not at all.
Source: Sejourne et al., Faster unbalanced optimal transport, AISTATS 2022, arXiv 2201.00730.
"""

from __future__ import annotations

import torch
from torch import Tensor

Softness = tuple[float, float]


def is_soft(softness: Softness) -> bool:
    return softness != (1.0, 1.0)


def inverse_price(softness: float) -> float:
    """``reg / rho`` of a side; 0 for a hard marginal."""
    return (1.0 - softness) / softness


def kept(a: Tensor, f: Tensor, softness: float) -> Tensor:
    """The marginal that a potential asks for, ``a exp(-f / rho)``; ``a`` itself where it is hard."""
    return a if softness == 1.0 else torch.exp(f * -inverse_price(softness)).mul_(a)


def translation(log_a: Tensor, f: Tensor, log_b: Tensor, g: Tensor, softness: Softness) -> Tensor:
    """The constant ``c`` for which ``f + c`` and ``g - c`` are best, ``(..., 1)``; one side must be soft."""
    per_s, per_t = inverse_price(softness[0]), inverse_price(softness[1])
    log_kept_s = torch.logsumexp(log_a - f * per_s, -1, keepdim=True)
    log_kept_t = torch.logsumexp(log_b - g * per_t, -1, keepdim=True)
    return (log_kept_s - log_kept_t) / (per_s + per_t)
