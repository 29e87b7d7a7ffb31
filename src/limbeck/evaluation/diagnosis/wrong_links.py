"""How many pairs or bags do not belong together, judged by what labels say of the rows in them.

Axis legend: n linked rows, g bags (of pairs each row is one), C classes.
"""

from __future__ import annotations

import math
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

    def is_clear(self, labels_per_class: float, confidence: float) -> bool:
        """Whether some are wrong beyond what a judge of so few labels, or a teacher that errs, might only seem to show.

        The rows of a bag share the judge's errors, which the likelihood takes to be independent, so right bags can look
        wrong in part: on av_digits with lower ends to 43% at 1 label a class, 38% at 2, 0 at 5 under a teacher that is
        right in 97%, and to 82%, 82% and 48% under one that is right in 68%. A teacher that is less sure errs more.

        Args:
            labels_per_class: of the judge.    confidence: mean largest probability of the teacher, in [0, 1].
        """
        return self.low > 0.1 + 0.55 / max(labels_per_class, 1) + 2 * (1 - confidence)


def wrong_share(predictions: Tensor, group: Tensor, proportions: Tensor) -> WrongShare:
    r"""Maximum likelihood of a mixture: a bag is its own, or any of all.

    .. math:: \sum_b \log\Big[(1 - w) \prod_{i \in b} \ell_i(b) + w \frac1g \sum_{b'} \prod_{i \in b} \ell_i(b')\Big],
        \qquad \ell_i(b) = 1 - t + t \sum_c q_i(c)\, p_b(c) / \pi(c)

    with q the judge's predictions of a row, p the teacher's of a bag, pi the mean of p, and t how far the judge is to
    be trusted, fitted with w. It asks how *many* are wrong, where a test against shuffled bags asks whether all are:
    half of them wrong passes that with z = 8. (With a matrix of confusions in place of t the fit is no longer unique.)

    Args:
        predictions: ``(n, C)``, rows sum to 1; of a judge that has not learned from the link.
        group: ``(n,)`` in [0, g).    proportions: ``(g, C)``, rows sum to 1.
    """
    q, group, p = _few(predictions.double(), group, proportions.double())
    fit = (q @ (p / p.mean(0).clamp(min=1e-6)).T).clamp(min=1e-6)  # (n, g)
    profile = torch.stack([_likelihoods(fit, group, trust) for trust in _TRUST]).max(0).values
    best = int(profile.argmax())
    near = profile >= profile[best] - _DROP
    return WrongShare(float(_SHARES[best]), float(_SHARES[near].min()), float(_SHARES[near].max()), len(p))


def _few(q: Tensor, group: Tensor, p: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """With at most 512 groups, evenly spaced."""
    kept = torch.arange(0, len(p), max(1, -(-len(p) // MOST_GROUPS)))
    place = torch.full((len(p),), -1, dtype=torch.long)
    place[kept] = torch.arange(len(kept))
    inside = place[group] >= 0
    return q[inside], place[group[inside]], p[kept]


def _likelihoods(fit: Tensor, group: Tensor, trust: float) -> Tensor:
    """Log-likelihood of each share ``(41,)``, with so much trust in the judge."""
    rows, g = (1 - trust + trust * fit).log(), fit.shape[1]
    table = rows.new_zeros(g, g).index_add_(0, group, rows)  # (bag, whose proportions)
    own, any_of_all = table.diagonal(), table.logsumexp(1) - math.log(g)
    right, wrong = (1 - _SHARES[:, None]).log(), _SHARES[:, None].log()
    return torch.logaddexp(own + right, any_of_all + wrong).sum(1)
