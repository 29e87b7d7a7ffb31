"""Losses between a student's features and the teacher's features of the same sample."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from limbeck.errors import DataError
from limbeck.functional.precision import (
    Reduction,
    check_choice,
    check_finite,
    euclidean_length,
    reduced,
    unit_rows,
    widened,
)


def hint_mse(x_s: Tensor, x_t: Tensor, *, reduction: Reduction = "mean", validate: bool = False) -> Tensor:
    r"""Squared difference of features; zero when they agree.

    .. math:: (x_s - x_t)^2

    Args:
        x_s: student features, ``(n, ...)``, after the regressor.      x_t: teacher features, same shape.
        reduction: ``mean`` over all elements (also over the width), ``sum``, or ``none`` for each element.
        validate: refuse non-finite input, naming the row.
    Returns: squared feature units, >= 0; float32 or wider. An empty batch gives 0.
    Needs: pairing by row; teacher features.     Gradient: to ``x_s`` only.
    Source: Romero et al., ICLR 2015, arXiv 1412.6550, equation 3.
    Deviation: the paper takes half the squared norm of a row; the mean over the width, as in later libraries,
        makes the weight of the term independent of it.
    Raises: DataError for different shapes.
    Example:
        >>> float(hint_mse(torch.zeros(2, 3), torch.ones(2, 3)))
        1.0
    """
    _check_one_shape(x_s, x_t)
    if validate:
        check_finite(x_s, "x_s")
        check_finite(x_t, "x_t")
    s, t = widened(x_s, x_t.detach())
    return reduced((s - t).square(), reduction)


def hint_gap(
    x_s: Tensor,
    x_t: Tensor,
    *,
    kind: Literal["cosine", "distance"] = "cosine",
    mask: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""How far a feature vector is from the teacher's, by direction or by distance; zero when they agree.

    .. math:: 1 - \frac{x_s \cdot x_t}{\|x_s\|\,\|x_t\|} \quad \text{or} \quad \|x_s - x_t\|

    Args:
        x_s: student features, ``(..., d)``, after the regressor.      x_t: teacher features, same shape.
        kind: ``cosine``, or ``distance`` (Euclidean, not squared).
        mask: ``(...)``, vectors that count (not 0); default all.
        reduction: ``mean`` over the vectors that count, ``sum``, or ``none`` (0 where the mask hides).
    Returns: in [0, 2] for ``cosine`` (1 where either side is zero), feature units for ``distance``; float32 or
        wider. No vector gives 0.
    Needs: pairing by row; teacher features.     Gradient: to ``x_s`` only; at distance 0 the subgradient 0.
    Source: definitions.  Deviation: none.
    Raises: DataError for different shapes; UnknownNameError for the kind.
    Example:
        >>> float(hint_gap(torch.tensor([[0.0, 3.0]]), torch.tensor([[4.0, 0.0]]), kind="distance"))
        5.0
    """
    _check_one_shape(x_s, x_t)
    check_choice("kind", kind, ("cosine", "distance"))
    s, t = widened(x_s, x_t.detach())
    gap = euclidean_length(s - t) if kind == "distance" else 1 - (unit_rows(s) * unit_rows(t)).sum(-1)
    if mask is None:
        return reduced(gap, reduction)
    shown = mask != 0
    return reduced(gap.where(shown, 0.0), reduction, shown.sum())


def _check_one_shape(x_s: Tensor, x_t: Tensor) -> None:
    if x_s.shape != x_t.shape:
        raise DataError(
            f"student and teacher features must have one shape, got {tuple(x_s.shape)} and "
            f"{tuple(x_t.shape)}; send the student's through a regressor to the teacher's width"
        )
