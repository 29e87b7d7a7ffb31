"""Distances between two projections into one space, where both sides are trained: row by row, or of the means.

Axis legend: n - student rows, m - teacher rows, d - width of the shared space.
"""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.errors import DataError
from limbeck.functional.precision import Reduction, check_finite, euclidean_length, reduced, widened


def pair_distance(
    z_s: Tensor, z_t: Tensor, *, reduction: Reduction = "mean", validate: bool = False
) -> Tensor:
    r"""Euclidean distance of each row from its partner; zero when they coincide.

    .. math:: \|z_s - z_t\|_2

    Args:
        z_s: student projections, ``(n, d)``.      z_t: teacher projections of the same samples, ``(n, d)``.
        reduction: ``mean`` over rows, ``sum``, or ``none`` for one value a row.
        validate: refuse non-finite input, naming the row.
    Returns: units of the projections, >= 0; float32 or wider. An empty batch gives 0.
    Needs: pairing by row.     Gradient: to both sides; 0 at rows that coincide.
    Source: ARMADA, arXiv 2603.10877, equation 5 (elementwise).  Deviation: none known.
    Raises: DataError for shapes that do not fit.
    Example:
        >>> float(pair_distance(torch.zeros(2, 2), torch.tensor([[3.0, 4.0], [0.0, 0.0]])))
        2.5
    """
    z_s, z_t = _checked(z_s, z_t, validate, paired=True)
    return reduced(euclidean_length(z_s - z_t), reduction)


def pair_cosine_gap(
    z_s: Tensor, z_t: Tensor, *, reduction: Reduction = "mean", validate: bool = False
) -> Tensor:
    r"""One minus the cosine between each row and its partner; zero when they point the same way.

    .. math:: 1 - \frac{z_s \cdot z_t}{\|z_s\| \|z_t\|} = \tfrac12 \left\| \frac{z_s}{\|z_s\|}
        - \frac{z_t}{\|z_t\|} \right\|^2

    Args:
        z_s: student projections, ``(n, d)``.      z_t: teacher projections of the same samples, ``(n, d)``.
        reduction: ``mean`` over rows, ``sum``, or ``none`` for one value a row.
        validate: refuse non-finite input, naming the row.
    Returns: in [0, 2], by the second form, which has no rounding below 0; float32 or wider. An empty batch gives 0.
    Needs: pairing by row.     Gradient: to both sides; none to a row of zeros.
    Source: none; after ARMADA, arXiv 2603.10877, whose cosine (equation 3) is of means and not normalised.
    Raises: DataError for shapes that do not fit.     Limits: a zero row counts 0.5 against any other, 0 against zero.
    Example:
        >>> float(pair_cosine_gap(torch.tensor([[1.0, 0.0]]), torch.tensor([[-2.0, 0.0]])))
        2.0
    """
    z_s, z_t = _checked(z_s, z_t, validate, paired=True)
    return reduced((_unit(z_s) - _unit(z_t)).square().sum(-1) / 2, reduction)


def mean_distance(z_s: Tensor, z_t: Tensor, *, validate: bool = False) -> Tensor:
    r"""Euclidean distance of the means of two clouds; zero when the means coincide.

    .. math:: \left\| \tfrac1n \sum_i z_s(i) - \tfrac1m \sum_j z_t(j) \right\|_2

    Args:
        z_s: student projections, ``(n, d)``.      z_t: teacher projections, ``(m, d)``; n and m may differ.
        validate: refuse non-finite input, naming the row.
    Returns: scalar, units of the projections, >= 0; float32 or wider. 0 when a side is empty.
    Needs: pairing none.     Gradient: to both sides; 0 where the means coincide.
    Source: ARMADA, arXiv 2603.10877, equation 4 (euclid).  Deviation: none known.
    Raises: DataError for shapes that do not fit.
    Example:
        >>> float(mean_distance(torch.tensor([[0.0], [2.0]]), torch.tensor([[5.0]])))
        4.0
    """
    z_s, z_t = _checked(z_s, z_t, validate, paired=False)
    if not len(z_s) or not len(z_t):
        return (z_s.sum() + z_t.sum()) * 0
    return euclidean_length(_mean(z_s) - _mean(z_t))


def mean_cosine_gap(z_s: Tensor, z_t: Tensor, *, validate: bool = False) -> Tensor:
    r"""One minus the cosine between the means of two clouds; zero when they point the same way.

    .. math:: 1 - \frac{\bar z_s \cdot \bar z_t}{\|\bar z_s\| \|\bar z_t\|}

    Args:
        z_s: student projections, ``(n, d)``.      z_t: teacher projections, ``(m, d)``; n and m may differ.
        validate: refuse non-finite input, naming the row.
    Returns: scalar in [0, 2]; float32 or wider. 0 when a side is empty.
    Needs: pairing none.     Gradient: to both sides; none to a mean of zeros.
    Source: ARMADA, arXiv 2603.10877, equation 3.  Deviation: the means are brought to unit length, since a plain
        inner product has no lower bound (:func:`mean_product_gap`).
    Raises: DataError for shapes that do not fit.     Limits: a mean of zeros counts 0.5.
    Example:
        >>> float(mean_cosine_gap(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 3.0], [0.0, 1.0]])))
        1.0
    """
    z_s, z_t = _checked(z_s, z_t, validate, paired=False)
    if not len(z_s) or not len(z_t):
        return (z_s.sum() + z_t.sum()) * 0
    return (_unit(_mean(z_s)) - _unit(_mean(z_t))).square().sum() / 2


def mean_product_gap(z_s: Tensor, z_t: Tensor, *, validate: bool = False) -> Tensor:
    r"""One minus the inner product of the means of two clouds; it has no least value.

    .. math:: 1 - \Big\langle \tfrac1n \sum_i z_s(i), \tfrac1m \sum_j z_t(j) \Big\rangle

    Args:
        z_s: student projections, ``(n, d)``.      z_t: teacher projections, ``(m, d)``; n and m may differ.
        validate: refuse non-finite input, naming the row.
    Returns: scalar, squared units of the projections, less one; float32 or wider. 0 when a side is empty.
    Needs: pairing none.     Gradient: to both sides; to each student row minus the teacher's mean over n, however long
        the student's rows already are.
    Source: ARMADA, arXiv 2603.10877, equation 3.  Deviation: none known.
    Raises: DataError for shapes that do not fit.     Limits: descent makes the student's rows longer for ever; see
        :func:`mean_cosine_gap`.
    Example:
        >>> float(mean_product_gap(torch.tensor([[1.0, 0.0]]), torch.tensor([[4.0, 3.0], [2.0, 1.0]])))
        -2.0
    """
    z_s, z_t = _checked(z_s, z_t, validate, paired=False)
    if not len(z_s) or not len(z_t):
        return (z_s.sum() + z_t.sum()) * 0
    return 1 - (_mean(z_s) * _mean(z_t)).sum()


def _checked(z_s: Tensor, z_t: Tensor, validate: bool, *, paired: bool) -> tuple[Tensor, ...]:
    fits = z_s.shape == z_t.shape if paired else z_s.shape[1:] == z_t.shape[1:]
    if z_s.ndim != 2 or not fits:
        wanted = "one shape (n, d)" if paired else "shapes (n, d) and (m, d)"
        raise DataError(f"projections must have {wanted}, got {tuple(z_s.shape)} and {tuple(z_t.shape)}")
    if validate:
        check_finite(z_s, "z_s")
        check_finite(z_t, "z_t")
    return widened(z_s, z_t)


def _mean(z: Tensor) -> Tensor:
    return (z / len(z)).sum(0)  # divided first: the sum of huge numbers overflows


def _unit(x: Tensor) -> Tensor:
    """Rows at unit length; rows shorter than the smallest safe square (1e-19 in float32), whose slope would be beyond
    all bounds, become zero and take no gradient."""
    length = euclidean_length(x).unsqueeze(-1)
    has_direction = ~(length <= torch.finfo(x.dtype).tiny ** 0.5)  # NaN has, and stays NaN
    return torch.where(has_direction, x / torch.where(has_direction, length, 1.0), 0.0)
