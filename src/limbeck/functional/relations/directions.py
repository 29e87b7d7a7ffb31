"""Directions of predictions relative to each other, weighed by how they vary."""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.functional.hand_gradients import nothing_to_compare
from limbeck.functional.precision import check_positive, explained, unit_rows, without_autocast
from limbeck.functional.relations.samples import flat_pair


@explained
@without_autocast
def direction_gap(logits_s: Tensor, logits_t: Tensor, *, ridge: float = 0.1) -> Tensor:
    r"""Cosines between the predictions of a batch agree with the teacher's, by Mahalanobis' distance (SKD).

    .. math:: \frac1n \sum_i \sqrt{D_i^T (\Sigma + \lambda I)^{-1} D_i}, \qquad
        D = \hat Z_s \hat Z_s^T - \hat Z_t \hat Z_t^T

    with rows of logits at length 1, and Sigma the covariance of D's columns over its rows; the gradient runs through it
    too.

    Args:
        logits_s: student logits, ``(n, c)``.      logits_t: teacher logits, ``(n, e)``; widths may differ.
        ridge: lambda > 0, default 0.1.
    Returns: scalar >= 0, 0 for directions that agree; float32 or wider. 0 below two rows.
    Needs: pairing by row; teacher logits (or features); memory O(n^2), time O(n^3).
    Gradient: to ``logits_s`` only; at distance 0 the subgradient 0.
    Source: Jeong et al. (Streamlined KD), CVPR 2026, the direction-wise loss.  Deviation: none known.
    Raises: DataError if the numbers of rows differ; ConfigError for the ridge.
    Example:
        >>> z = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
        >>> float(direction_gap(z, 2 * z))
        0.0
    """
    check_positive("ridge", ridge)
    s, t = (unit_rows(x) for x in flat_pair(logits_s, logits_t))
    n = len(s)
    if n < 2:
        return nothing_to_compare(logits_s, s.dtype)
    gap = s @ s.T - t @ t.T
    centred = gap - gap.mean(0)
    covariance = centred.T @ centred / (n - 1) + ridge * torch.eye(n, dtype=s.dtype, device=s.device)
    whitened = torch.linalg.solve_triangular(torch.linalg.cholesky(covariance), gap.T, upper=False)
    return torch.linalg.vector_norm(whitened, dim=0).mean()
