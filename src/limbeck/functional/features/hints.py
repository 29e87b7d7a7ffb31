"""Losses between a student's features and the teacher's features of the same sample."""

from __future__ import annotations

from torch import Tensor

from limbeck.errors import DataError
from limbeck.functional.precision import Reduction, check_finite, reduced, widened


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
    if x_s.shape != x_t.shape:
        raise DataError(
            f"student and teacher features must have one shape, got {tuple(x_s.shape)} and "
            f"{tuple(x_t.shape)}; send the student's through a regressor to the teacher's width"
        )
    if validate:
        check_finite(x_s, "x_s")
        check_finite(x_t, "x_t")
    s, t = widened(x_s, x_t.detach())
    return reduced((s - t).square(), reduction)
