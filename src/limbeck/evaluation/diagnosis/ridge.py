"""Ridge regression with a weight for each row, its strength chosen by leaving rows out one by one.

Axis legend: n rows, d features, k outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Candidate strengths, times the mean of the weighted Gram matrix's diagonal.
STRENGTHS: tuple[float, ...] = tuple(10.0 ** (e / 2) for e in range(-8, 5))


@dataclass(frozen=True)
class Ridge:
    """A fitted linear map: ``strength`` is in units of the mean diagonal of the weighted Gram matrix."""

    weight: Tensor  # (d, k)
    offset: Tensor  # (k,)
    strength: float

    def __call__(self, features: Tensor) -> Tensor:
        """Scores ``(n, k)`` of features ``(n, d)``."""
        return features.to(self.weight.dtype) @ self.weight + self.offset


def ridge(
    features: Tensor,
    targets: Tensor,
    weights: Tensor | None = None,
    *,
    strength: float | None = None,
    judged: Tensor | None = None,
) -> Ridge:
    r"""Least squares with a penalty on the slopes, none on the offset.

    .. math:: \min_{B, b} \sum_i w_i \lVert f_i B + b - t_i \rVert^2 + r \lVert B \rVert^2

    Args:
        features: ``(n, d)``.    targets: ``(n, k)``.    weights: ``(n,)`` >= 0; default 1 each.
        strength: r in units of the mean diagonal; None = the one of :data:`STRENGTHS` with the least squared error of
            rows that are left out one by one (in closed form: one decomposition serves all).
        judged: ``(n,)`` bool, rows whose error chooses the strength; default all.

    Returns: the map, float64.
    """
    x, t = features.double(), targets.double()
    w = torch.ones(len(x), dtype=torch.float64) if weights is None else weights.double()
    w = w / w.sum().clamp(min=1e-300)
    centre, level = w @ x, w @ t
    root = w.sqrt().unsqueeze(1)
    u, s, v = torch.linalg.svd(root * (x - centre), full_matrices=False)  # (n, q), (q,), (q, d)
    unit = float(s.square().sum()) / max(x.shape[1], 1) or 1.0
    projected = u.T @ (root * (t - level))  # (q, k)
    if strength is None:
        strength = _best_strength(x, t, w, (u, s, projected), unit, judged)
    weight = v.T @ ((s / (s.square() + strength * unit)).unsqueeze(1) * projected)
    return Ridge(weight, level - centre @ weight, strength)


def _best_strength(
    x: Tensor,
    t: Tensor,
    w: Tensor,
    parts: tuple[Tensor, Tensor, Tensor],
    unit: float,
    judged: Tensor | None,
) -> float:
    """The strength whose leave-one-out squared error is least; the larger one at a tie."""
    u, s, projected = parts
    chosen = (w > 0) if judged is None else judged & (w > 0)
    root = w.sqrt().clamp(min=1e-150).unsqueeze(1)
    level = w @ t
    best, least = STRENGTHS[-1], float("inf")
    for strength in reversed(STRENGTHS):
        shrink = s.square() / (s.square() + strength * unit)
        fitted = level + (u @ (shrink.unsqueeze(1) * projected)) / root
        leverage = (u.square() @ shrink) + w
        error = (t - fitted).square().sum(1) / (1 - leverage).clamp(min=1e-6).square()
        total = float(error[chosen].sum())
        if total < least:
            best, least = strength, total
    return best


def standardised(fitted_on: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
    """Columns of all at mean 0 and deviation 1 of the first, constant columns at 0."""
    mean, spread = fitted_on.double().mean(0), fitted_on.double().std(0, correction=0)
    scale = torch.where(spread > 1e-6 * (1 + mean.abs()), spread, torch.inf)
    return tuple((rows.double() - mean) / scale for rows in (fitted_on, *others))


def folds(n: int, k: int, labels: Tensor | None = None) -> list[Tensor]:
    """Row numbers cut into at most ``k`` parts; with ``labels (n,)`` each class is dealt out in turn."""
    order = torch.arange(n) if labels is None else torch.argsort(labels, stable=True)
    return [order[i::k] for i in range(min(k, n))]


def cross_fitted(predict: Callable[[Tensor], Tensor], n: int, k: int, labels: Tensor | None = None) -> Tensor:
    """``(n, ...)`` predictions of each row by ``predict(kept rows)``, which must not have seen it.

    Args:
        predict: bool mask ``(n,)`` of the rows to learn from, to predictions of all n rows.
    """
    found: list[tuple[Tensor, Tensor]] = []
    for part in folds(n, k, labels):
        kept = torch.ones(n, dtype=torch.bool)
        kept[part] = False
        found.append((part, predict(kept)[part]))
    rows: Sequence[Tensor] = [part for part, _ in found]
    out = torch.cat([value for _, value in found])
    return out[torch.argsort(torch.cat(list(rows)))]
