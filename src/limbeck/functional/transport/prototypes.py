"""Transport of a student batch to class prototypes: soft labels that respect how frequent the classes are."""

from __future__ import annotations

import math

from torch import Tensor

from limbeck.errors import ConfigError
from limbeck.functional import costs
from limbeck.functional.costs import CostName
from limbeck.functional.hand_gradients import nothing_to_compare, wants_gradient, with_both_gradients
from limbeck.functional.precision import (
    check_choice,
    check_finite,
    check_positive,
    explained,
    without_autocast,
)
from limbeck.functional.transport.entropic import Settings, Value, marginal, named_problem, warn_not_converged


@explained
@without_autocast
def prototype_transport(
    x_s: Tensor,
    prototypes: Tensor,
    *,
    class_weights: Tensor | None = None,
    hold: float = math.inf,
    cost: CostName = "cosine",
    reg: float = 0.1,
    weights_s: Tensor | None = None,
    value: Value = "dual",
    tol: float = 1e-3,
    max_iter: int = 1000,
    validate: bool = False,
) -> tuple[Tensor, Tensor]:
    r"""Semi-relaxed transport of a batch to class prototypes, and the soft labels it gives.

    .. math:: \min_{P \ge 0,\; P 1 = a} \langle P, M\rangle + \varepsilon\, KL(P | a w^T) + \rho\, KL(P^T 1 | w)

    Every student row is assigned in full; the classes get about their share :math:`w` of the batch. Without the
    class term (``hold`` towards 0) this is a softmax of the cost; with it, no class can swallow the batch.

    Args:
        x_s: student features, ``(n, d)``.
        prototypes: one teacher vector for each class, ``(C, d)`` (``bank.prototypes()``).
        class_weights: expected share w of each class, ``(C,)``, >= 0, scaled to sum to one; uniform when None.
        hold: rho > 0, in cost units, of the class shares; ``math.inf`` (default) makes them exact.
        cost: ``cosine``, ``angular``, ``chordal``, ``sqeuclidean``, ``euclidean``, ``l1``.
        reg: epsilon > 0, cost units.
        weights_s: ``(n,)``, >= 0, scaled to sum to one; uniform when None.
        value: ``dual``, the whole objective, or ``sharp``, ``<P, M>``; each with its true gradient.
        tol: part of the mass that a sweep may still move.      max_iter: most sweeps.
        validate: refuse NaN and Inf, naming their rows.
    Returns: the cost (scalar) and soft labels ``(n, C)``, whose rows sum to one (no gradient).
    Needs: pairing none; teacher class vectors; memory O(nC).
    Gradient: the cost's to ``x_s``, and ``prototypes`` if they ask; no second derivative.
    Source: Asano et al., ICLR 2020, arXiv 1911.05371 (exact shares); Chizat et al., arXiv 1607.05816 (soft ones).
    Raises: ConfigError for hold or reg <= 0 and bad weights; DataError if d differs; NonFiniteError.
    Limits: an empty batch gives 0 and labels of shape (0, C).
    Example:
        >>> cost, soft = prototype_transport(torch.eye(3), torch.eye(3), reg=0.02)
        >>> soft.round()
        tensor([[1., 0., 0.],
                [0., 1., 0.],
                [0., 0., 1.]])
    """
    check_positive("hold", hold)
    check_positive("reg", reg)
    check_choice("value", value, ("sharp", "dual"))
    check_choice("cost", cost, costs.COST_NAMES)
    costs.check_clouds(x_s, prototypes)
    if validate:
        check_finite(x_s, "x_s")
        check_finite(prototypes, "prototypes")
    dtype = costs.computing_dtype(x_s, prototypes)
    if not len(prototypes):
        raise ConfigError("prototypes must hold at least one class, (C, d) with C > 0")
    if not len(x_s):
        return nothing_to_compare(x_s, dtype), x_s.new_zeros((0, len(prototypes)), dtype=dtype)
    a = marginal(weights_s, len(x_s), x_s, dtype, "weights_s")
    w = marginal(class_weights, len(prototypes), prototypes, dtype, "class_weights")
    softness = 1.0, 1.0 if math.isinf(hold) else hold / (hold + reg)
    settings = Settings(reg, value=value, tol=tol, max_iter=max_iter, softness=softness, wants_plan=True)
    wants = wants_gradient(x_s), wants_gradient(prototypes)
    found, to_s, to_t = named_problem(x_s.to(dtype), prototypes.to(dtype), cost, a, w, settings, wants)
    warn_not_converged(found.info, "prototype_transport")
    total = with_both_gradients(found.value, x_s, to_s, prototypes, to_t, "prototype_transport")
    assert found.info.plan is not None
    plan = found.info.plan
    return total, plan / plan.sum(1, keepdim=True)
