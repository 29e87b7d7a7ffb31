"""Pictures in patches, and how well hidden ones were guessed.

Axis legend: n - pictures, l - patches, k - numbers in a patch (its pixels times channels).
"""

from __future__ import annotations

from torch import Tensor

from limbeck.errors import DataError
from limbeck.functional.precision import Reduction, reduced, widened


def patches_of(pictures: Tensor, side: int) -> Tensor:
    """Square patches of pictures, row by row.

    Args:
        pictures: ``(n, channels, h, w)``.      side: of a patch, in pixels; it divides h and w.
    Returns: ``(n, l, k)``, of each patch its pixels row by row, channels last.
    Raises: DataError for shapes.
    Example:
        >>> patches_of(torch.arange(4.0).reshape(1, 1, 2, 2), 1).shape
        torch.Size([1, 4, 1])
    """
    if pictures.dim() != 4 or side < 1 or pictures.shape[2] % side or pictures.shape[3] % side:
        raise DataError(
            f"pictures must be (n, channels, h, w) of sides that {side} divides, got {tuple(pictures.shape)}"
        )
    n, channels, h, w = pictures.shape
    cut = pictures.reshape(n, channels, h // side, side, w // side, side)
    return cut.permute(0, 2, 4, 3, 5, 1).reshape(n, (h // side) * (w // side), side * side * channels)


def hidden_patch_mse(
    guessed: Tensor,
    patches: Tensor,
    hidden: Tensor,
    *,
    standardise: bool = True,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Squared difference of the patches that were hidden from what they were guessed to be (MAE).

    .. math:: \frac1{|H_i|} \sum_{l \in H_i} \frac1k \|\hat x_l - x_l\|^2

    Args:
        guessed: of the student, ``(n, l, k)``.      patches: the pictures', same shape; see :func:`patches_of`.
        hidden: ``(n, l)``, patches that were hidden (not 0).
        standardise: each true patch at mean 0 and spread 1, with 1e-6 beside the variance, which divides by k - 1;
            default True.
        reduction: ``mean`` over pictures, ``sum``, or ``none`` for one value a picture; 0 where nothing was hidden.
    Returns: >= 0; float32 or wider. An empty batch gives 0.
    Needs: pictures.     Gradient: to ``guessed`` only.
    Source: He et al. (MAE), CVPR 2022, arXiv 2111.06377, and the authors' code.
    Deviation: a mean over pictures of means over their hidden patches, which is theirs where as many are hidden of
        each.
    Raises: DataError for shapes.
    Example:
        >>> x = torch.zeros(1, 2, 4)
        >>> float(hidden_patch_mse(x + 2, x, torch.tensor([[0, 1]])))
        4.0
    """
    if guessed.shape != patches.shape or guessed.dim() != 3 or hidden.shape != guessed.shape[:2]:
        raise DataError(
            f"guessed and patches must be (n, l, k) and hidden (n, l), got {tuple(guessed.shape)}, "
            f"{tuple(patches.shape)} and {tuple(hidden.shape)}"
        )
    ours, true = widened(guessed, patches.detach())
    if standardise:
        true = true - true.mean(-1, keepdim=True)
        spread = true.square().sum(-1, keepdim=True) / max(true.shape[-1] - 1, 1)
        true = true / (spread + 1e-6).sqrt()
    counts = (hidden != 0).to(ours.dtype)
    each = ((ours - true).square().mean(-1) * counts).sum(1) / counts.sum(1).clamp(min=1)
    return reduced(each, reduction)
