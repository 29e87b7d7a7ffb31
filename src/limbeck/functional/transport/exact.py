"""Exact transport and Gromov-Wasserstein by POT's network simplex, behind our costs and gradients."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from limbeck.errors import ConfigError
from limbeck.functional import costs
from limbeck.functional.costs import Cost, CostName, cost_matrix
from limbeck.functional.hand_gradients import nothing_to_compare
from limbeck.functional.precision import (
    can_widen,
    check_choice,
    check_finite,
    check_positive,
    explained,
    without_autocast,
)
from limbeck.functional.transport.entropic import marginal
from limbeck.functional.transport.solver.sinkhorn import solve
from limbeck.functional.warnings_once import warn_once


@explained
@without_autocast
def exact_transport_cost(
    x_s: Tensor,
    x_t: Tensor,
    *,
    cost: Cost = "cosine",
    weights_s: Tensor | None = None,
    weights_t: Tensor | None = None,
    max_iter: int = 1_000_000,
    validate: bool = False,
) -> Tensor:
    r"""Exact optimal-transport cost, :math:`\min_{P \in U(a, b)} \langle P, M\rangle`.

    Args:
        x_s: student features, ``(n, d)``.      x_t: teacher features, ``(m, d)``.
        cost: as in :func:`transport_cost`.
        weights_s, weights_t: ``(n,)``, ``(m,)``, >= 0, scaled to sum to one; uniform when None.
        max_iter: most pivots of the simplex.      validate: refuse NaN and Inf, naming their rows.
    Returns: scalar in cost units, float32 or float64.
    Needs: pairing none; teacher vectors; memory O(nm); POT (``pip install "limbeck[ot]"``); solved on the CPU.
    Gradient: to both clouds with the plan held fixed, which is exact where the plan is unique.
    Source: Bonneel et al., SIGGRAPH Asia 2011, as in POT (Flamary et al., JMLR 2021).
    Raises: ConfigError when POT is missing or the solver fails; DataError for shapes; NonFiniteError.
    Limits: time grows about as n^2.4. An empty side gives 0 and a warning.
    Example:
        >>> x = torch.tensor([[0.0], [1.0]])
        >>> float(exact_transport_cost(x, x + 2.0, cost="sqeuclidean"))
        4.0
    """
    ot = _pot("exact_transport_cost")
    if validate:
        check_finite(x_s, "x_s")
        check_finite(x_t, "x_t")
    dtype = costs.computing_dtype(x_s, x_t)
    if not len(x_s) or not len(x_t):
        warn_once("exact_transport_cost: a side has no rows, so the cost is taken as 0")
        return nothing_to_compare(x_s, dtype)
    matrix = cost_matrix(x_s, x_t, cost)
    a = marginal(weights_s, len(x_s), x_s, torch.float64, "weights_s")
    b = marginal(weights_t, len(x_t), x_t, torch.float64, "weights_t")
    if not bool(torch.isfinite(matrix.detach()).all()):  # POT would go on with it
        return matrix.sum() * float("nan")
    numbers = matrix.detach().cpu().double().numpy()
    plan, log = ot.emd(a.cpu().numpy(), b.cpu().numpy(), numbers, numItermax=max_iter, log=True)
    if log["warning"]:
        raise ConfigError(
            f"the exact solver stopped: {log['warning']}; raise max_iter or validate the features"
        )
    return (torch.from_numpy(plan).to(matrix) * matrix).sum()


@explained
@without_autocast
def gromov_wasserstein(
    x_s: Tensor,
    x_t: Tensor,
    *,
    cost: CostName = "sqeuclidean",
    reg: float | None = None,
    weights_s: Tensor | None = None,
    weights_t: Tensor | None = None,
    max_iter: int = 1000,
    validate: bool = False,
) -> Tensor:
    r"""Gromov-Wasserstein discrepancy: how well the distances inside two clouds can be matched.

    .. math:: \min_{P \in U(a, b)} \sum_{ijkl} (C^s_{ik} - C^t_{jl})^2 P_{ij} P_{kl}

    The two clouds need no common space, so the widths may differ.

    Args:
        x_s: student features, ``(n, d)``.      x_t: teacher features, ``(m, e)``.
        cost: named cost inside each cloud.
        reg: None for the exact inner problems, or an entropic regularisation > 0 for them.
        weights_s, weights_t: ``(n,)``, ``(m,)``, >= 0, scaled to sum to one; uniform when None.
        max_iter: most outer steps.      validate: refuse NaN and Inf, naming their rows.
    Returns: scalar in cost units squared, float32 or float64; >= 0 up to rounding.
    Needs: pairing none; teacher vectors; memory O(n^2 + m^2 + nm); POT (``pip install "limbeck[ot]"``).
    Gradient: to both clouds with the plan held fixed.
    Source: Peyre et al., ICML 2016, as in POT.    Deviation: costs are scaled to 1 inside, since POT's tolerances are
        absolute; the entropic problems are solved by our solver.
    Raises: ConfigError when POT is missing or reg <= 0; NonFiniteError.
    Limits: the problem is not convex: the plan, and with it the value, is a local minimum.
    Example:
        >>> x = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 3.0]])
        >>> abs(float(gromov_wasserstein(x, x @ torch.tensor([[0.0, 1.0], [1.0, 0.0]])))) < 1e-4
        True
    """
    ot = _pot("gromov_wasserstein")
    check_choice("cost", cost, costs.COST_NAMES)
    if validate:
        check_finite(x_s, "x_s")
        check_finite(x_t, "x_t")
    if not len(x_s) or not len(x_t):
        warn_once("gromov_wasserstein: a side has no rows, so the value is taken as 0")
        return nothing_to_compare(x_s, costs.computing_dtype(x_s, x_t))
    if reg is not None:
        check_positive("reg", reg)
    dtype = costs.computing_dtype(x_s, x_t)
    wide = torch.float64 if can_widen(x_s) else dtype  # the value is a difference of nearly equal sums
    inside_s, inside_t = (cost_matrix(x, x, cost) for x in (x_s.to(wide), x_t.to(wide)))
    largest = float(torch.maximum(inside_s.detach().max(), inside_t.detach().max().to(x_s.device)))
    if not largest < math.inf:
        return (inside_s.sum() * float("nan")).to(dtype)
    scale = largest if largest > 0 else 1.0  # POT's tolerances are absolute
    a = marginal(weights_s, len(x_s), x_s, torch.float64, "weights_s").cpu()
    b = marginal(weights_t, len(x_t), x_t, torch.float64, "weights_t").cpu()
    scaled_s, scaled_t = ((t.detach() / scale).cpu().double() for t in (inside_s, inside_t))
    if reg is None:
        arrays = [t.numpy() for t in (scaled_s, scaled_t, a, b)]
        found = ot.gromov.gromov_wasserstein(*arrays, "square_loss", max_iter=max_iter)
        plan = torch.from_numpy(found)
    else:
        plan = _entropic_plan(scaled_s, scaled_t, a, b, reg / scale**2, max_iter)
    plan = plan.to(inside_s)
    rows, columns = plan.sum(1), plan.sum(0)
    own = rows @ inside_s.square() @ rows + columns @ inside_t.to(plan).square() @ columns
    return (own - 2.0 * ((inside_s @ plan @ inside_t.to(plan).T) * plan).sum()).to(dtype)


def _entropic_plan(
    inside_s: Tensor, inside_t: Tensor, a: Tensor, b: Tensor, reg: float, max_iter: int
) -> Tensor:
    """Steps of the projected gradient of Peyre et al., each an entropic problem; float64.

    As POT's, but with our solver: POT's plain scaling gives an empty plan where reg is far below the costs.
    """
    plan, moved, steps = a.unsqueeze(1) * b, math.inf, 0
    while steps < max_iter and moved > 1e-5:  # of a plan whose error is squared in the value
        logits = (inside_s @ plan @ inside_t) * (4.0 / reg)
        new = solve(logits, a, b, tol=1e-9, max_iter=1000, keep_logits=False).plan()
        plan, moved, steps = new, float((new - plan).norm() / new.norm()), steps + 1
    if moved > 1e-5:
        warn_once(
            f"gromov_wasserstein has not converged: the plan still moves by {moved:.2g} after {steps} steps at reg "
            f"{reg:.3g} (times the largest cost squared); raise reg or max_iter"
        )
    return plan


def _pot(name: str) -> Any:
    try:
        import ot
    except ImportError as error:
        raise ConfigError(f'{name} needs POT: pip install "limbeck[ot]"') from error
    return ot
