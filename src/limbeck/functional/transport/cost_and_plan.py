"""Entropic transport between a student's and a teacher's features: the cost and the plan."""

from __future__ import annotations

from typing import Any, Literal, TypedDict, Unpack, cast

import torch
from torch import Tensor

from limbeck.errors import ConfigError, DataError
from limbeck.functional import costs
from limbeck.functional.costs import Cost
from limbeck.functional.hand_gradients import (
    nothing_to_compare,
    wants_gradient,
    with_both_gradients,
    with_gradient,
)
from limbeck.functional.precision import (
    check_choice,
    check_finite,
    check_positive,
    explained,
    without_autocast,
)
from limbeck.functional.transport.class_blocks import class_blocks
from limbeck.functional.transport.entropic import (
    RegScale,
    Settings,
    TransportInfo,
    Value,
    check_digits,
    in_digits,
    in_enough_digits,
    marginal,
    matrix_problem,
    named_problem,
    warn_not_converged,
)
from limbeck.functional.transport.solver.sinkhorn import extent_of
from limbeck.functional.transport.solver.unrolled import unrolled_plan
from limbeck.functional.transport.streaming import TeacherBlocks, bank_problem
from limbeck.functional.transport.within_class import within_class_problem
from limbeck.functional.warnings_once import warn_once

Found = tuple[Tensor, TransportInfo]


@explained
@without_autocast
def transport_cost(
    x_s: Tensor,
    x_t: Tensor | TeacherBlocks,
    *,
    cost: Cost = "cosine",
    reg: float = 0.1,
    reg_scale: RegScale = "absolute",
    weights_s: Tensor | None = None,
    weights_t: Tensor | None = None,
    labels_s: Tensor | None = None,
    labels_t: Tensor | None = None,
    within_class: bool = False,
    value: Value = "sharp",
    gradient: Literal["adjoint", "unrolled"] = "adjoint",
    tol: float | None = None,
    max_iter: int = 1000,
    validate: bool = False,
    return_info: bool | Literal["plan"] = False,
) -> Any:
    r"""Entropic optimal-transport cost between two clouds of features; no row needs a partner.

    .. math:: P = \arg\min_{P \in U(a, b)} \langle P, M\rangle + \varepsilon\, KL(P | a b^T), \qquad
        \text{sharp} = \langle P, M\rangle, \quad \text{dual} = \langle P, M\rangle + \varepsilon\, KL(P | a b^T)

    Args:
        x_s: student features, ``(n, d)``, any float type.
        x_t: teacher features, ``(m, d)``; n and m may differ. Or a callable that yields them in blocks of rows,
            anew at every call (``lambda: bank.blocks(8192)``), for teachers that do not fit.
        cost: ``cosine``, ``angular``, ``chordal``, ``sqeuclidean``, ``euclidean``, ``l1``, a callable
            ``(x_s, x_t) -> (n, m)`` or the matrix (see :func:`cost_matrix`).
        reg: epsilon > 0. ``reg_scale="absolute"``: in units of the cost; ``"median"``: times the median cost of
            this batch (taken as a constant), which suits unnormalised features.
        weights_s, weights_t: ``(n,)`` and ``(m,)``, >= 0, scaled to sum to one; uniform when None.
        labels_s, labels_t: class numbers; both together start the solver with the mass balanced between classes
            (the same answer, in fewer sweeps at reg <= 0.05).
        within_class: transport only between equal labels: the mean of the class-wise costs, each class at the
            student's weight. Rows whose class the other side lacks are left out, with a warning.
        value: ``sharp`` is POT's ``sinkhorn2`` (UCMKD) with its true gradient; ``dual`` is geomloss' undebiased
            cost, whose gradient holds the plan fixed, which is exact (envelope theorem), and is cheaper.
        gradient: ``adjoint`` solves for the gradient at the solution; ``unrolled`` runs exactly ``max_iter``
            sweeps and lets autograd go through them, for comparison with code that stops short (``sharp`` only).
        tol: L1 error of the column marginals at which the solver stops; None is 1e-2, where values are within
            1e-3 and gradient cosines above 0.999 of the limit (0.1 / max(n, m) where the cost spans more than 150
            reg, because there single rows matter, and 2e-4 at most from 1,000 reg on). Tests want 1e-10 with float64.
        max_iter: most sweeps; a warning, once for each calling line, says when they did not suffice.
        validate: refuse NaN and Inf, naming their rows.
        return_info: also return a :class:`TransportInfo`; ``"plan"`` puts the plan into it.
    Returns: scalar in cost units, float32 or float64, or ``(scalar, info)``. 0 (with a gradient path and a
        warning) when a side is empty or no class is shared.
    Needs: pairing none; teacher vectors; memory O(nm), O(n block) for blocks beyond 256 MB.
    Gradient: to ``x_s``, and to ``x_t`` if it asks for one (not for blocks); computed in the forward pass, so second
        derivatives are refused.
    Source: Cuturi, NeurIPS 2013, arXiv 1306.0895; gradient: implicit function theorem (Luise et al., NeurIPS
        2018, arXiv 1805.11897).    Deviation: stops at ``tol``, not after a number of sweeps.
    Raises: ConfigError for reg <= 0 or bad weights; UnknownNameError; DataError for shapes; NonFiniteError.
    Limits: n = m = 1 returns the cost. Non-finite input without ``validate`` gives NaN and a warning. Where costs
        span more than 150 reg and ``max_iter`` is too few, the gradient of ``sharp`` holds the plan fixed.
    Example:
        >>> x = torch.eye(4)
        >>> round(float(transport_cost(x, x, reg=0.01)), 4)
        0.0
    """
    check_positive("reg", reg)
    check_choice("value", value, ("sharp", "dual"))
    check_choice("gradient", gradient, ("adjoint", "unrolled"))
    check_choice("reg_scale", reg_scale, ("absolute", "median"))
    settings = Settings(reg, reg_scale, value, tol, max_iter, wants_plan=return_info == "plan")
    labels = _both_labels(labels_s, labels_t, within_class)
    if validate:
        check_finite(x_s, "x_s")
    if not isinstance(x_t, Tensor):
        _refuse_for_blocks(cost, labels is not None, gradient)
        found = bank_problem(x_s, x_t, cast(str, cost), weights_s, weights_t, settings, validate)
    else:
        if validate:
            check_finite(x_t, "x_t")
        found = _between_tensors(
            x_s, x_t, cost, (weights_s, weights_t), labels, settings, within_class, gradient
        )
    warn_not_converged(found[1], "transport_cost")
    return found if return_info else found[0]


class TransportOptions(TypedDict, total=False):
    """The keyword arguments that :func:`transport_plan` passes on to :func:`transport_cost`."""

    cost: Cost
    reg: float
    reg_scale: RegScale
    weights_s: Tensor | None
    weights_t: Tensor | None
    labels_s: Tensor | None
    labels_t: Tensor | None
    within_class: bool
    tol: float | None
    max_iter: int
    validate: bool


def transport_plan(x_s: Tensor, x_t: Tensor, **options: Unpack[TransportOptions]) -> Tensor:
    """The plan of :func:`transport_cost`, without gradient: which teacher rows each student row is sent to.

    Args:
        x_s: student features, ``(n, d)``.      x_t: teacher features, ``(m, d)``, a tensor.
        options: ``cost``, ``reg``, ``reg_scale``, weights, labels, ``within_class``, ``tol``, ``max_iter``,
            ``validate`` of :func:`transport_cost`.
    Returns: ``(n, m)``, >= 0; rows sum to the student weights exactly, columns to the teacher weights within
        ``tol``. Divide by its row sums for a soft assignment.
    Needs: pairing none; teacher vectors; memory O(nm).    Gradient: none.
    Source: Cuturi, NeurIPS 2013, arXiv 1306.0895.
    Raises: as :func:`transport_cost`.
    Example:
        >>> transport_plan(torch.eye(2), torch.eye(2), reg=0.01).mul(2).round()
        tensor([[1., 0.],
                [0., 1.]])
    """
    with torch.no_grad():
        _, info = transport_cost(x_s, x_t, value="dual", return_info="plan", **options)
    return cast(Tensor, info.plan)


def _between_tensors(
    x_s: Tensor,
    x_t: Tensor,
    cost: Cost,
    weights: tuple[Tensor | None, Tensor | None],
    labels: tuple[Tensor, Tensor] | None,
    s: Settings,
    within_class: bool,
    gradient: str,
) -> Found:
    dtype = costs.computing_dtype(x_s, x_t)
    if isinstance(cost, str):
        check_choice("cost", cost, costs.COST_NAMES)
        costs.check_clouds(x_s, x_t)
    n, m = len(x_s), len(x_t)
    if not n or not m:
        warn_once("transport_cost: a side has no rows, so there is nothing to transport and the cost is 0")
        return nothing_to_compare(x_s, dtype), TransportInfo(
            reg=s.reg, plan=x_s.new_zeros((n, m), dtype=dtype)
        )
    a = marginal(weights[0], n, x_s, dtype, "weights_s")
    b = marginal(weights[1], m, x_t, dtype, "weights_t")
    if gradient == "unrolled":
        return _unrolled(x_s, x_t, cost, a, b, s, within_class)
    for given, size, name in zip(labels or (), (n, m), ("labels_s", "labels_t")):
        if given.shape != (size,):
            raise DataError(f"{name} must have one label per row, ({size},), got {tuple(given.shape)}")
    if labels is not None and within_class:
        return _within_class(x_s, x_t, cost, a, b, labels, s)
    s.groups = labels
    return _solved(x_s, x_t, cost, a, b, s)


def _solved(x_s: Tensor, x_t: Tensor, cost: Cost, a: Tensor, b: Tensor, s: Settings) -> Found:
    """Value with its gradients attached."""
    if not isinstance(cost, str):
        matrix = costs.cost_matrix(x_s, x_t, cost)
        found, to_matrix = matrix_problem(matrix.detach(), a, b, s)
        return with_gradient(
            found.value, matrix, to_matrix if wants_gradient(matrix) else None, "transport_cost"
        ), found.info
    wants = wants_gradient(x_s), wants_gradient(x_t)
    found, to_s, to_t = named_problem(x_s.to(a.dtype), x_t.to(a.dtype), cost, a, b, s, wants)
    return with_both_gradients(found.value, x_s, to_s, x_t, to_t, "transport_cost"), found.info


def _within_class(
    x_s: Tensor, x_t: Tensor, cost: Cost, a: Tensor, b: Tensor, labels: tuple[Tensor, Tensor], s: Settings
) -> Found:
    if not isinstance(cost, str):
        raise ConfigError("within_class needs a named cost, which is computed class by class")
    blocks = class_blocks(*labels, a, b)
    n, m = len(a), len(b)
    if blocks is None:
        warn_once("transport_cost: student and teacher share no class, so within_class costs 0")
        return nothing_to_compare(x_s, a.dtype), TransportInfo(reg=s.reg, plan=a.new_zeros((n, m)))
    if blocks.left_out:
        warn_once(
            f"transport_cost: {blocks.left_out} rows are of a class that one side lacks; within_class leaves them out"
        )
    wants = wants_gradient(x_s), wants_gradient(x_t)
    value, to_s, to_t, info = within_class_problem(x_s.to(a.dtype), x_t.to(a.dtype), cost, blocks, s, wants)
    return with_both_gradients(value, x_s, to_s, x_t, to_t, "transport_cost"), info


def _unrolled(
    x_s: Tensor, x_t: Tensor, cost: Cost, a: Tensor, b: Tensor, s: Settings, within_class: bool
) -> Found:
    if s.value != "sharp" or s.reg_scale != "absolute" or within_class:
        raise ConfigError(
            "gradient='unrolled' serves value='sharp', reg_scale='absolute' and within_class=False"
        )

    def problem(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        matrix = costs.cost_matrix(x_s.to(dtype), x_t.to(dtype), cost).to(dtype)
        low, high = extent_of(matrix.detach())
        check_digits(-high / s.reg, -low / s.reg, matrix)
        return matrix, unrolled_plan(matrix, in_digits(a, dtype), in_digits(b, dtype), s.reg, s.max_iter)

    matrix, plan = in_enough_digits(problem, a.dtype)
    error = float((plan.detach().sum(0) - b).abs().sum())
    # stopping short is what was asked for, so it is no reason for a warning
    info = TransportInfo(s.max_iter, error, True, s.reg, plan.detach().to(a.dtype) if s.wants_plan else None)
    return (plan * matrix).sum().to(a.dtype), info


def _both_labels(
    labels_s: Tensor | None, labels_t: Tensor | None, needed: bool
) -> tuple[Tensor, Tensor] | None:
    if (labels_s is None) != (labels_t is None) or (needed and labels_s is None):
        raise ConfigError("labels_s and labels_t must be given together, and within_class needs both")
    return None if labels_s is None or labels_t is None else (labels_s, labels_t)


def _refuse_for_blocks(cost: Cost, has_labels: bool, gradient: str) -> None:
    if not isinstance(cost, str) or has_labels or gradient != "adjoint":
        raise ConfigError(
            "a teacher in blocks takes a named cost, no labels and gradient='adjoint'; give a tensor otherwise"
        )
    check_choice("cost", cost, costs.COST_NAMES)
