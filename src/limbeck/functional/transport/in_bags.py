"""Transport inside bags: each bag's student rows to its teacher rows, all bags in one solve."""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.errors import DataError
from limbeck.functional.costs import COST_NAMES, CostName, check_clouds
from limbeck.functional.hand_gradients import nothing_to_compare, wants_gradient, with_both_gradients
from limbeck.functional.precision import (
    check_choice,
    check_positive,
    computing_dtype,
    explained,
    without_autocast,
)
from limbeck.functional.transport.class_blocks import ClassBlocks, rows_by_class
from limbeck.functional.transport.entropic import Settings, Value, warn_not_converged
from limbeck.functional.transport.solver.sinkhorn import FLOOR
from limbeck.functional.transport.within_class import within_class_problem
from limbeck.functional.warnings_once import warn_once


@explained
@without_autocast
def transport_in_bags(
    x_s: Tensor,
    x_t: Tensor,
    group_s: Tensor,
    group_t: Tensor,
    *,
    cost: CostName = "cosine",
    reg: float = 0.1,
    value: Value = "sharp",
    tol: float | None = None,
    max_iter: int = 1000,
) -> Tensor:
    r"""Mean over bags of the entropic transport cost between the two sides of each.

    .. math:: \tfrac1g \sum_b \langle P_b^*, M_b\rangle

    Bags of any sizes are filled up to the largest, at no weight, and solved as one stack; above about 96 rows a bag,
    where a matrix fills the processor by itself, one after another.

    Args:
        x_s: student features, ``(n, d)``.     x_t: teacher features, ``(m, d)``.
        group_s, group_t: bag of each row, ``(n,)`` and ``(m,)`` of an integer type; rows below 0 are in no bag.
        cost, reg, value, max_iter: as in :func:`transport_cost`.
        tol: as in :func:`transport_cost`, of the mean error over the bags.
    Returns: scalar, units of the cost; 0 where there is no bag. A bag whose teacher side is empty counts with 0, and
        a warning; one without student rows does not count.
    Needs: bags; teacher vectors; memory O(g k^2) for g bags of at most k rows.
    Gradient: to ``x_s``, and to ``x_t`` if it asks for one; as of :func:`transport_cost`.
    Source: Cuturi, NeurIPS 2013, arXiv 1306.0895, in each bag.  Deviation: none.
    Raises: as :func:`transport_cost`; DataError for groups that do not fit the rows.
    Example:
        >>> x, group = torch.eye(4), torch.tensor([0, 0, 1, 1])
        >>> round(float(transport_in_bags(x, x.flip(0), group, group.flip(0), reg=0.01)), 4)
        0.0
    """
    check_positive("reg", reg)
    check_choice("cost", cost, COST_NAMES)
    check_choice("value", value, ("sharp", "dual"))
    check_clouds(x_s, x_t)
    for x, group, name in ((x_s, group_s, "group_s"), (x_t, group_t, "group_t")):
        if group.shape != (len(x),):
            raise DataError(f"{name} must have one bag per row, ({len(x)},), got {tuple(group.shape)}")
    dtype = computing_dtype(x_s, x_t)
    blocks, n_bags = _bags(group_s, group_t, dtype)
    n_both = len(blocks.mass)
    if n_both < n_bags:
        warn_once(
            f"transport_in_bags: {n_bags - n_both} of {n_bags} bags have no teacher rows and count with 0"
        )
    if not n_both:
        return nothing_to_compare(x_s, dtype)
    wants = wants_gradient(x_s), wants_gradient(x_t)
    settings = Settings(reg, value=value, tol=tol, max_iter=max_iter)
    mean, to_s, to_t, info = within_class_problem(x_s.to(dtype), x_t.to(dtype), cost, blocks, settings, wants)
    warn_not_converged(info, "transport_in_bags")
    found = with_both_gradients(mean, x_s, to_s, x_t, to_t, "transport_in_bags")
    return found if n_both == n_bags else found * (n_both / n_bags)


def _bags(group_s: Tensor, group_t: Tensor, dtype: torch.dtype) -> tuple[ClassBlocks, int]:
    """A block for each bag that has both sides, all of one mass and in each all rows of one weight; how many bags
    have student rows."""
    bags, number = torch.cat((group_s, group_t)).clamp_(min=-1).unique(return_inverse=True)
    number_s, number_t = number[: len(group_s)], number[len(group_s) :]
    sizes_s, sizes_t = (torch.bincount(x, minlength=len(bags)) for x in (number_s, number_t))
    asked = (bags >= 0) & (sizes_s > 0)
    both = (asked & (sizes_t > 0)).nonzero().flatten()
    mass = torch.full((len(both),), 1.0 / max(len(both), 1), dtype=dtype, device=both.device)
    sides = []
    for labels, sizes in ((number_s, sizes_s[both]), (number_t, sizes_t[both])):
        rows, inside = rows_by_class(labels, both) if len(both) else (labels[:0], labels[:0] > 0)
        weights = (inside * (mass / sizes).unsqueeze(-1)).clamp_min_(FLOOR)
        sides.append((rows, inside, weights))
    (rows_s, inside_s, a), (rows_t, inside_t, b) = sides
    return ClassBlocks(rows_s, rows_t, inside_s, inside_t, a, b, mass, 0), int(asked.sum())
