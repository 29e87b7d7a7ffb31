"""Transport inside bags: each bag's student rows to its teacher rows."""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.functional.costs import CostName
from limbeck.functional.transport.cost_and_plan import transport_cost


def transport_in_bags(
    x_s: Tensor, x_t: Tensor, group_s: Tensor, group_t: Tensor, *, cost: CostName = "cosine", reg: float = 0.1
) -> Tensor:
    r"""Mean over bags of the entropic transport cost between the two sides of each.

    .. math:: \tfrac1g \sum_b \langle P_b^*, M_b\rangle

    Args:
        x_s: student features, ``(n, d)``.     x_t: teacher features, ``(m, d)``.
        group_s, group_t: bag of each row, ``(n,)`` and ``(m,)``; rows below 0 are in no bag.
        cost, reg: as in :func:`transport_cost`.
    Returns: scalar, units of the cost; 0 where there is no bag.
    Needs: bags; teacher vectors.     Gradient: to ``x_s`` only.
    Source: Cuturi, NeurIPS 2013, arXiv 1306.0895, in each bag.  Deviation: none.
    """
    costs = [
        transport_cost(x_s[group_s == bag], x_t[group_t == bag], cost=cost, reg=reg)
        for bag in group_s[group_s >= 0].unique()
    ]
    return torch.stack(costs).mean() if costs else x_s.sum() * 0
