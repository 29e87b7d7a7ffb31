"""What is done to logits before they are compared: a composable step each, in front of any divergence.

Axis legend: n - rows or positions (any leading axes), c - classes or tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.errors import DataError
from limbeck.functional.precision import check_share, widened


def standardised_logits(logits: Tensor, *, eps: float = 1e-7, unbiased: bool = True) -> Tensor:
    r"""Logits of each row with mean 0 and spread 1, so that only their order and proportions are compared.

    .. math:: \frac{z - \bar z}{\sigma(z) + \epsilon}

    Args:
        logits: ``(..., c)``, finite; log-probabilities give the same as the logits that they come from.
        eps: float >= 0, default 1e-7, beside the spread.
        unbiased: divide the sum of squares by c - 1 (the authors' code) and not by c (their equation); default True.
    Returns: the same shape; float32 or wider; 0 for a row that does not vary.
    Needs: nothing.     Gradient: to ``logits``; pass a teacher's detached.
    Source: Sun et al., CVPR 2024, arXiv 2403.01427, algorithm 1.  Deviation: see ``unbiased``; the two differ by a
        temperature of sqrt(c / (c - 1)).
    Raises: DataError for a single class.
    Example:
        >>> standardised_logits(torch.tensor([[1.0, 3.0]]), unbiased=False)
        tensor([[-1.0000,  1.0000]])
    """
    if logits.shape[-1] < 2:
        raise DataError(f"logits of one class cannot be standardised, got {tuple(logits.shape)}")
    (z,) = widened(logits)
    z = z - z.mean(-1, keepdim=True)
    square = z.square().sum(-1, keepdim=True) / (z.shape[-1] - int(unbiased))
    constant = square == 0  # the root has no slope there
    return z / (torch.where(constant, 1.0, square).sqrt() + eps)


def interpolated_logits(logits_s: Tensor, logits_t: Tensor, share: float) -> Tensor:
    r"""A target between the student's own prediction and the teacher's: their logits mixed, not probabilities.

    .. math:: (1 - t)\, \mathrm{sg}(z_s) + t\, z_t

    Args:
        logits_s: student logits, ``(..., c)``.     logits_t: teacher logits or log-probabilities, same shape.
        share: t in [0, 1]; 0 is the student's own prediction (which pulls nowhere), 1 the teacher's.
    Returns: logits of the target, the same shape, detached; float32 or wider.
    Needs: pairing by row; teacher logits.     Gradient: none, it is a target.
    Source: Shing et al. (TAID), ICLR 2025, arXiv 2501.16937, equation of the intermediate distribution.
    Raises: DataError for different shapes; ConfigError for the share.
    Example:
        >>> interpolated_logits(torch.tensor([[0.0, 4.0]]), torch.tensor([[4.0, 0.0]]), 0.25)
        tensor([[1., 3.]])
    """
    if logits_s.shape != logits_t.shape:
        raise DataError(
            f"logits_s and logits_t must have one shape, got {tuple(logits_s.shape)} and {tuple(logits_t.shape)}"
        )
    check_share("share", share)
    s, t = widened(logits_s.detach(), logits_t.detach())
    if share in (0.0, 1.0):  # 0 times -inf is no number
        return t if share else s
    return (1 - share) * s + share * t
