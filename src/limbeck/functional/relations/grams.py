"""Inner products inside a row: of its channels, of its tokens, and of two of its layers.

Axis legend: n - rows, c - channels, p - positions, l - tokens, d - width.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from limbeck.errors import DataError
from limbeck.functional.precision import (
    Reduction,
    check_choice,
    reduced,
    unit_grams,
    widened,
    without_autocast,
)


@without_autocast
def channel_similarity(x_s: Tensor, x_t: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    r"""Which channels of a row respond alike: rows of their similarities agree with the teacher's.

    .. math:: \frac1C \|\hat G_s - \hat G_t\|_F^2, \qquad G = X X^T \in \mathbb{R}^{C \times C}, \quad
        \hat G_i = G_i / \|G_i\|

    Args:
        x_s: student maps, ``(n, c, ...)``, with as many channels as the teacher's.
        x_t: teacher maps, ``(n, c, ...)``; their positions may differ.
        reduction: ``mean`` over rows, ``sum``, or ``none`` for one value a row.
    Returns: in [0, 4], 0 for channels that relate alike; float32 or wider. An empty batch gives 0.
    Needs: pairing by row; teacher maps.     Gradient: to ``x_s`` only.
    Source: Liu et al. (ICKD), ICCV 2021, channel correlations.
    Deviation: rows of G at length 1 and a sum over C in place of C^2, as in torchdistill, which divides by the number
        of rows twice.
    Raises: DataError for shapes.
    Example:
        >>> x = torch.tensor([[[1.0, 2.0], [2.0, 0.0]]])
        >>> float(channel_similarity(x, x.flip(2)))
        0.0
    """
    if x_s.dim() < 3 or x_t.dim() < 3 or x_s.shape[:2] != x_t.shape[:2]:
        raise DataError(
            f"maps must be (n, c, positions...) with one number of channels, got {tuple(x_s.shape)} and "
            f"{tuple(x_t.shape)}; project the student's channels first"
        )
    ours, theirs = (unit_grams(x.flatten(2)) for x in widened(x_s, x_t.detach()))
    gap = ours - theirs
    return reduced(gap.square().sum((1, 2)) / gap.shape[1], reduction)


@without_autocast
def flow_gap(
    layers_s: tuple[Tensor, Tensor],
    layers_t: tuple[Tensor, Tensor],
    *,
    between: Literal["features", "tokens"] = "features",
    mask: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Products of two layers of one network agree with those of the teacher: how a row flows through it.

    .. math:: (G_s - G_t)^2, \qquad G = \tfrac1L A^T B \in \mathbb{R}^{d \times d} \quad \text{or} \quad
        G = \tfrac1d A B^T \in \mathbb{R}^{L \times L}

    Args:
        layers_s: the student's two layers A and B, ``(n, l, d)`` each.     layers_t: the teacher's.
        between: ``features``: which features of B follow which of A, over the tokens (FSP); the widths must agree.
            ``tokens``: which tokens are alike (neuron selectivity of a sequence); widths may differ.
        mask: ``(n, l)``, tokens that count (not 0); default all. Their number takes the place of L.
        reduction: ``mean`` over the entries that count, ``sum``, or ``none`` for each entry (0 where hidden).
    Returns: >= 0, 0 for products that agree; float32 or wider. No entry gives 0.
    Needs: pairing by row (and by token for ``tokens``); teacher states at two layers.
    Gradient: to ``layers_s`` only.
    Source: Yim et al. (FSP), CVPR 2017, equations 1 and 2; Huang and Wang (NST), arXiv 1707.01219, on sequences as in
        TextBrewer, arXiv 2002.12620.
    Deviation: a mean over entries where the papers sum.
    Raises: DataError for shapes; UnknownNameError for ``between``.
    Example:
        >>> x = torch.ones(1, 2, 3)
        >>> float(flow_gap((x, x), (2 * x, x)))
        1.0
    """
    check_choice("between", between, ("features", "tokens"))
    shapes = [tuple(x.shape) for x in (*layers_s, *layers_t)]
    if any(len(shape) != 3 for shape in shapes) or len({shape[:2] for shape in shapes}) > 1:
        raise DataError(f"layers must be (n, tokens, d) of the same rows and tokens, got {shapes}")
    (a_s, b_s), (a_t, b_t) = layers_s, layers_t
    fits = (
        a_s.shape == a_t.shape and b_s.shape == b_t.shape
        if between == "features"
        else a_s.shape == b_s.shape and a_t.shape == b_t.shape
    )
    if not fits:
        raise DataError(f"the widths of these layers do not fit for between={between!r}: {shapes}")
    if mask is not None and mask.shape != a_s.shape[:2]:
        raise DataError(f"mask must be {tuple(a_s.shape[:2])}, got {tuple(mask.shape)}")
    a_s, b_s, a_t, b_t = widened(a_s, b_s, a_t.detach(), b_t.detach())
    shown = None if mask is None else (mask != 0).to(a_s.dtype)
    if between == "tokens":
        gap = (a_s @ b_s.mT / a_s.shape[2] - a_t @ b_t.mT / a_t.shape[2]).square()
        if shown is None:
            return reduced(gap, reduction)
        pairs = shown[:, :, None] * shown[:, None, :]
        return reduced(gap * pairs, reduction, pairs.sum())
    if shown is None:
        return reduced(((a_s.mT @ b_s - a_t.mT @ b_t) / max(a_s.shape[1], 1)).square(), reduction)
    n_shown = shown.sum(1).clamp(min=1)[:, None, None]
    gap = (a_s * shown[:, :, None]).mT @ b_s - (a_t * shown[:, :, None]).mT @ b_t
    return reduced((gap / n_shown).square(), reduction)
