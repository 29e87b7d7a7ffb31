"""Predictions seen as a batch: each class over the rows, and how rows and classes go together.

Axis legend: n rows, c classes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.errors import DataError
from limbeck.functional.precision import check_choice, check_positive, widened


def class_standardised_logits(logits: Tensor, *, eps: float = 1e-5) -> Tensor:
    r"""Each class's logits with mean 0 and spread 1 over the rows of the batch (the "perception" of LumiNet).

    .. math:: \frac{z_{ic} - \bar z_c}{\sqrt{v_c + \epsilon}}

    Args:
        logits: ``(n, c)``, finite; log-probabilities are not the same as the logits that they come from.
        eps: float > 0, default 1e-5, beside the variance, which divides by n.
    Returns: the same shape; float32 or wider; 0 throughout for one row, or for a class that does not vary.
    Needs: a batch of rows of several classes.     Gradient: to ``logits``; pass a teacher's detached.
    Source: Hossain et al. (LumiNet), arXiv 2310.03669, and the authors' code.  Deviation: none.
    Raises: DataError for another number of axes; ConfigError for ``eps``.
    Example:
        >>> class_standardised_logits(torch.tensor([[1.0, 5.0], [3.0, 5.0]])).round()
        tensor([[-1.,  0.],
                [ 1.,  0.]])
    """
    if logits.dim() != 2:
        raise DataError(f"logits must be (n, c), got {tuple(logits.shape)}")
    check_positive("eps", eps)
    (z,) = widened(logits)
    if not len(z):
        return z
    z = z - z.mean(0)
    return z / (z.square().mean(0) + eps).sqrt()


def prediction_products(
    logits_s: Tensor, logits_t: Tensor, *, over: str = "rows", temperature: float = 4.0
) -> Tensor:
    r"""How predictions of the rows go together, or those of the classes: squared gaps of inner products.

    .. math:: \frac1n \| P_s P_s^\top - P_t P_t^\top \|_F^2 \quad\text{or}\quad
        \frac1c \| P_s^\top P_s - P_t^\top P_t \|_F^2

    with P the softmax at the temperature, ``(n, c)``.

    Args:
        logits_s: student logits, ``(n, c)``.      logits_t: teacher logits or log-probabilities, same shape.
        over: ``rows``: rows with rows (batch level); ``classes``: classes with classes (class level).
        temperature: float > 0, default 4; softens both sides.
    Returns: scalar >= 0, 0 for equal predictions; float32 or wider. An empty batch gives 0.
    Needs: pairing by row; teacher logits.     Gradient: to ``logits_s`` only; couples the batch.
    Source: Jin, Wang, Lin (multi-level logit distillation), CVPR 2023, and the authors' code.  Deviation: none; there
        is no factor T^2, as in the authors' code.
    Raises: DataError for shapes; UnknownNameError for ``over``; ConfigError for the temperature.
    Example:
        >>> z = torch.tensor([[0.0, 9.0], [9.0, 0.0]])
        >>> float(prediction_products(z, z))
        0.0
    """
    if logits_s.shape != logits_t.shape or logits_s.dim() != 2:
        raise DataError(
            f"logits must be (n, c) on both sides, got {tuple(logits_s.shape)} and {tuple(logits_t.shape)}"
        )
    check_choice("over", over, ("rows", "classes"))
    check_positive("temperature", temperature)
    p_s, p_t = ((z / temperature).softmax(-1) for z in widened(logits_s, logits_t.detach()))
    if over == "classes":
        p_s, p_t = p_s.T, p_t.T
    return torch.sum((p_s @ p_s.T - p_t @ p_t.T).square()) / max(1, len(p_s))
