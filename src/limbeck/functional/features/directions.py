"""Direction and length of a feature vector against the mean of its class."""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.errors import DataError
from limbeck.functional.precision import Reduction, euclidean_length, reduced, unit_rows, widened


def norm_and_direction(x_s: Tensor, x_t: Tensor, centres: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    r"""Towards the teacher's mean of the row's class, and no shorter than the teacher's own feature.

    .. math:: 1 - \frac{\langle x_s, c / \|c\| \rangle}{\max(\|x_s\|, \|x_t\|)}

    Args:
        x_s: student features, ``(n, d)``, after a projector.      x_t: teacher features of the same samples, ``(n,
        d)``. centres: ``(n, d)``, the teacher's mean feature of each row's class.
        reduction: ``mean`` over rows, ``sum``, or ``none`` for one value a row.
    Returns: in [0, 2]; 0 where the student's feature points to the mean and is at least as long as the teacher's; 1
        where one of the lengths it divides by is 0; float32 or wider. An empty batch gives 0.
    Needs: pairing by row; teacher features; a class for each row.     Gradient: to ``x_s`` only.
    Source: Wang et al. (KD++, norm and direction), arXiv 2305.17007, and the authors' code.
    Deviation: none in value; a student's length beyond the teacher's keeps the slope of a cosine, as in theirs.
    Raises: DataError for different shapes.
    Example:
        >>> one = torch.tensor([[2.0, 0.0]])
        >>> float(norm_and_direction(one, one, one)), float(norm_and_direction(one / 2, one, one))
        (0.0, 0.5)
    """
    if not x_s.shape == x_t.shape == centres.shape or x_s.dim() != 2:
        raise DataError(
            "features and class means must be (n, d) with one n and one d, got "
            f"{tuple(x_s.shape)}, {tuple(x_t.shape)} and {tuple(centres.shape)}"
        )
    s, t, c = widened(x_s, x_t.detach(), centres.detach())
    along = (s * unit_rows(c)).sum(-1)
    length = torch.maximum(euclidean_length(s), euclidean_length(t))
    return reduced(1 - along / torch.where(length > 0, length, 1.0), reduction)
