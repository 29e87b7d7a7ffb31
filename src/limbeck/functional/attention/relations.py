"""How the tokens of a row relate to each other, seen by queries, keys or values: no heads or widths need to agree.

Axis legend: n - rows, l - tokens, d - student width, e - teacher width, h - relation heads.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.errors import DataError
from limbeck.functional.precision import Reduction, reduced, widened, without_autocast


@without_autocast
def token_relations(
    x_s: Tensor, x_t: Tensor, *, heads: int = 1, mask: Tensor | None = None, reduction: Reduction = "mean"
) -> Tensor:
    r"""Divergence of the student's self-attention relations from the teacher's, token by token.

    .. math:: KL\big(R_t \,\|\, R_s\big), \qquad R = \mathrm{softmax}\Big(\frac{A A^T}{\sqrt{d_h}}\Big)

    with A the queries, keys or values of a layer, cut into ``heads`` parts of :math:`d_h = d / h` numbers, whatever the
    number of heads that they were made by.

    Args:
        x_s: student queries, keys or values of all heads side by side, ``(n, l, d)``.
        x_t: those of the teacher, ``(n, l, e)``; the widths may differ.
        heads: h >= 1, a divisor of both widths.
        mask: ``(n, l)``, tokens that count (not 0); default all.
        reduction: ``mean`` over relation heads and tokens that count, ``sum``, or ``none`` for each, ``(n, h, l)`` (0
            where hidden).
    Returns: nats, >= 0 up to rounding, 0 where the relations agree (also turned by a rotation); float32 or wider. No
        token gives 0.
    Needs: pairing by row and by token; teacher states.     Gradient: to ``x_s`` only.
    Source: Wang et al. (MiniLMv2), ACL Findings 2021, arXiv 2012.15828, equations 3 to 6; of values with one head a
        number it is the value relation of MiniLM, arXiv 2002.10957, equation 6.  Deviation: none.
    Raises: DataError for shapes, and for heads that do not divide a width.
    Example:
        >>> x = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
        >>> round(float(token_relations(x, x.flip(2))), 6)
        0.0
    """
    if x_s.dim() != 3 or x_t.dim() != 3 or x_s.shape[:2] != x_t.shape[:2]:
        raise DataError(
            f"states must be (n, tokens, d) and (n, tokens, e) of the same tokens, got {tuple(x_s.shape)} and "
            f"{tuple(x_t.shape)}"
        )
    if heads < 1 or x_s.shape[2] % heads or x_t.shape[2] % heads:
        raise DataError(f"heads must divide both widths, {x_s.shape[2]} and {x_t.shape[2]}; {heads} does not")
    if mask is not None and mask.shape != x_s.shape[:2]:
        raise DataError(f"mask must be {tuple(x_s.shape[:2])}, got {tuple(mask.shape)}")
    shown = None if mask is None else (mask != 0)[:, None, :]
    log_s, log_t = (_log_relations(x, heads, shown) for x in widened(x_s, x_t.detach()))
    rows = (log_t.exp() * (log_t - log_s)).sum(-1)
    if shown is None:
        return reduced(rows, reduction)
    return reduced(rows.where(shown, 0.0), reduction, shown.sum() * heads)


def _log_relations(x: Tensor, heads: int, shown: Tensor | None) -> Tensor:
    """``(n, h, l, l)``: log-softmax over the tokens that count."""
    n, length, width = x.shape
    parts = x.reshape(n, length, heads, width // heads).transpose(1, 2)
    score = parts @ parts.mT / (width // heads) ** 0.5
    if shown is not None:
        score = score.masked_fill(~shown[:, :, None, :], torch.finfo(score.dtype).min)
    return F.log_softmax(score, -1)
