"""How many pairs or bags do not belong together, judged by what labels say of the rows in them.

Axis legend: n linked rows, g bags (of pairs each row is one), C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

MOST_GROUPS = 512
_SHARES = torch.linspace(0, 1, 41, dtype=torch.float64)
_TRUST = (0.1, 0.2, 0.35, 0.5, 0.7, 0.85, 0.95)  # in the judge, in place of the mean over all rows
_DROP = 1.92  # half the 95% quantile of chi-squared with one degree of freedom


@dataclass(frozen=True)
class WrongShare:
    """Share of the pairs or bags that are somebody else's, in [0, 1], and its 95% interval; [0, 1] = cannot be told."""

    share: float
    low: float
    high: float
    n: int


def wrong_share(predictions: Tensor, group: Tensor, proportions: Tensor) -> WrongShare:
    r"""Maximum likelihood of a mixture: a bag is its own, or any of the others.

    .. math:: \sum_b \log\Big[(1 - w) \prod_{i \in b} \ell_i(b) + w \frac1g \sum_{b'} \prod_{i \in b} \ell_i(b')\Big],
        \qquad \ell_i(b) = 1 - t + t \sum_c q_i(c)\, p_b(c) / \pi(c)

    with q the judge's predictions of a row, p the teacher's of a bag, pi the mean of p, and t how far the judge is to
    be trusted, fitted with w. A likelihood of how *many* are wrong, where a test against shuffled bags asks whether all
    are: half of them wrong passes such a test with z = 8.

    Args:
        predictions: ``(n, C)``, rows sum to 1; of a judge that has not learned from the link.
        group: ``(n,)`` in [0, g).    proportions: ``(g, C)``, rows sum to 1.
    """
    q, p = predictions.double(), proportions.double()
    keep = (
        torch.arange(len(p)) if len(p) <= MOST_GROUPS else torch.arange(0, len(p), -(-len(p) // MOST_GROUPS))
    )
    place = torch.full((len(p),), -1, dtype=torch.long)
    place[keep] = torch.arange(len(keep))
    inside = place[group] >= 0
    q, group, p = q[inside], place[group[inside]], p[keep]
    prior = p.mean(0).clamp(min=1e-6)
    fit = (q @ (p / prior).T).clamp(min=1e-6)  # (n, g)
    tables = []
    for trust in _TRUST:
        rows = (1 - trust + trust * fit).log()
        table = rows.new_zeros(len(p), len(p)).index_add_(0, group, rows)  # (bag, whose proportions)
        own, others = table.diagonal(), table.logsumexp(1) - torch.log(torch.tensor(float(len(p))))
        tables.append(
            torch.logaddexp(own + (1 - _SHARES[:, None]).log(), others + _SHARES[:, None].log()).sum(1)
        )
    profile = torch.stack(tables).max(0).values
    best = int(profile.argmax())
    near = profile >= profile[best] - _DROP
    return WrongShare(float(_SHARES[best]), float(_SHARES[near].min()), float(_SHARES[near].max()), len(p))
