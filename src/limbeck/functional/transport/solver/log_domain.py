r"""The same sweeps in logarithms, for soft marginals under costs that are many times what a marginal is worth.

There the scalings under- and overflow together, at whatever shift of the kernel: a row may be as good as dropped, and
its price still counts. A sweep costs several times one of
:mod:`~limbeck.functional.transport.solver.sinkhorn`, and some 15 suffice,
since the best constant between the potentials is taken in closed form after each.
"""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.functional.transport.solver.annealing import stages
from limbeck.functional.transport.solver.relaxation import better_omega
from limbeck.functional.transport.solver.sinkhorn import Scaling, kernel_of
from limbeck.functional.transport.solver.soft_marginals import Softness, inverse_price, kept, translation

_SPAN_OF_WORTH = 30.0  # exp(-30) of a marginal is kept by a row at that distance


def needs_logs(size: float, softness: Softness) -> bool:
    """Whether the largest cost (``size``, in reg) is too many times the worth of a marginal for plain scalings."""
    return size * (1.0 - min(softness)) > _SPAN_OF_WORTH


def solve_in_logs(
    logits: Tensor, a: Tensor, b: Tensor, *, tol: float, max_iter: int, span: float, softness: Softness
) -> Scaling:
    """As :func:`~limbeck.functional.transport.solver.sinkhorn.solve`, to a tenth of ``tol``; ``logits`` are kept.

    The error is the L1 distance of both marginals from what the potentials ask for, as a part of the mass. It also
    sees what a scaling's own move does not: potentials that are off where nothing is carried.
    """
    log_a, log_b, mass = a.log(), b.log(), float(a.sum())
    f, g = _annealed(logits, log_a, log_b, softness, span)
    omega, error, errors, sweeps = 1.0, float("inf"), [], 0
    while sweeps < max_iter:
        sweeps += 1
        log_sums = torch.logsumexp(logits + (log_b + g).unsqueeze(-2), -1)
        unmet_s = _unmet(a, f, log_sums, softness[0])
        f = f + omega * (-softness[0] * log_sums - f)
        log_sums = torch.logsumexp(logits + (log_a + f).unsqueeze(-1), -2)
        error = (unmet_s + _unmet(b, g, log_sums, softness[1])) / mass
        if not error > 0.1 * tol:  # NaN ends it too
            break
        g = g + omega * (-softness[1] * log_sums - g)
        c = translation(log_a, f, log_b, g, softness)
        f, g = f + c, g - c
        errors.append(error)
        if len(errors) == 4:
            omega, errors = better_omega(omega, errors, sweeps), []
    f = -softness[0] * torch.logsumexp(logits + (log_b + g).unsqueeze(-2), -1)  # exact rows, as everywhere
    phi, psi = log_a + f, log_b + g
    ones = torch.ones_like(phi), torch.ones_like(psi)
    return Scaling(kernel_of(logits, phi, psi), *ones, phi, psi, sweeps, error, error <= tol, tol)


def _unmet(a: Tensor, f: Tensor, log_sums: Tensor, softness: float) -> float:
    """How far the plan's marginal ``a exp(f + log_sums)`` is from what ``f`` asks for, L1."""
    return float((kept(a, f, softness) - a * (f + log_sums).exp()).abs_().sum())


def _annealed(
    logits: Tensor, log_a: Tensor, log_b: Tensor, softness: Softness, span: float
) -> tuple[Tensor, Tensor]:
    """Potentials to start from: those of larger and larger regularisations backwards, from where all is smooth."""
    f, g = torch.zeros_like(log_a), torch.zeros_like(log_b)
    for heat, growth, sweeps in stages(span):
        hot = logits / heat
        soft_s, soft_t = (1.0 / (1.0 + heat * inverse_price(s)) for s in softness)
        for _ in range(sweeps):
            f = -soft_s * torch.logsumexp(hot + (log_b + g).unsqueeze(-2), -1)
            g = -soft_t * torch.logsumexp(hot + (log_a + f).unsqueeze(-1), -2)
            c = translation(log_a, f, log_b, g, (soft_s, soft_t))
            f, g = f + c, g - c
        f, g = f * growth, g * growth
    return f, g
