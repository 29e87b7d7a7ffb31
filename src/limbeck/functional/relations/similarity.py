"""Similarity of two representations of the same samples, whatever their widths.

Rows are paired; columns need not correspond. Axis legend: n - samples, d - student width, e - teacher width.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from limbeck.errors import ConfigError, DataError
from limbeck.functional.costs import cost_matrix, normalised
from limbeck.functional.hand_gradients import nothing_to_compare
from limbeck.functional.precision import (
    check_choice,
    check_finite,
    check_positive,
    explained,
    widened,
    without_autocast,
)
from limbeck.functional.relations.spectra import nuclear_norm


def _paired(x_s: Tensor, x_t: Tensor, *, validate: bool) -> tuple[Tensor, ...]:
    if x_s.dim() != 2 or x_t.dim() != 2 or len(x_s) != len(x_t):
        raise DataError(
            f"features must be paired row by row, (n, d) and (n, e), got {tuple(x_s.shape)} and "
            f"{tuple(x_t.shape)}"
        )
    if validate:
        check_finite(x_s, "x_s")
        check_finite(x_t, "x_t")
    return widened(x_s, x_t.detach())


@explained
@without_autocast
def cka(
    x_s: Tensor,
    x_t: Tensor,
    *,
    kernel: Literal["linear", "rbf"] = "linear",
    unbiased: bool = False,
    bandwidth: float = 1.0,
    validate: bool = False,
) -> Tensor:
    r"""Centred kernel alignment; 1 when the two representations agree up to rotation and scale.

    .. math:: \frac{\mathrm{HSIC}(K, L)}{\sqrt{\mathrm{HSIC}(K, K)\, \mathrm{HSIC}(L, L)}}

    Args:
        x_s: student features, ``(n, d)``.      x_t: teacher features, ``(n, e)``; the widths may differ.
        kernel: ``linear``, or ``rbf`` with its width set on each side by the median distance.
        unbiased: the estimator without the diagonal, which does not grow with the width in small batches; n >= 4.
        bandwidth: float > 0, default 1: width of ``rbf`` in median distances (held without gradient).
        validate: refuse non-finite input, naming the row.
    Returns: scalar, a similarity in [0, 1] (unbiased: may go below 0); use ``1 - value`` as a loss; float32 or wider.
        0 where either side does not vary.
    Needs: pairing by row; teacher vectors; memory O(n^2), or O(d e) for the biased linear one with n > d, e.
    Gradient: to ``x_s`` only.
    Source: Kornblith et al., ICML 2019, arXiv 1905.00414, section 3; unbiased HSIC: Song et al., JMLR 13, 2012.
    Raises: DataError if the numbers of rows differ; ConfigError if ``unbiased`` and n < 4.
    """
    check_choice("kernel", kernel, ("linear", "rbf"))
    check_positive("bandwidth", bandwidth)
    s, t = _paired(x_s, x_t, validate=validate)
    n = len(s)
    if unbiased and 0 < n < 4:
        raise ConfigError(f"unbiased CKA needs at least 4 rows, got {n}; use unbiased=False")
    if n < 2:
        return nothing_to_compare(x_s, s.dtype)
    if kernel == "linear":
        # neither estimator sees the means; without them fewer digits are lost
        s, t = s - s.mean(0), t - t.mean(0)
        if not unbiased and n > max(s.shape[1], t.shape[1]):
            return _ratio((s.T @ t).square().sum(), _norm(s.T @ s), _norm(t.T @ t))
        k_s, k_t = s @ s.T, t @ t.T
    else:
        k_s, k_t = _rbf(s, bandwidth), _rbf(t, bandwidth)
    if unbiased:
        k_s, k_t = (_without_diagonal(k) for k in (k_s, k_t))
    else:
        k_s, k_t = (_doubly_centred(k) for k in (k_s, k_t))
    return _ratio((k_s * k_t).sum(), _norm(k_s), _norm(k_t))


def _rbf(x: Tensor, bandwidth: float) -> Tensor:
    square = cost_matrix(x, x, "sqeuclidean")
    i, j = torch.triu_indices(len(x), len(x), 1, device=x.device)
    width = square.detach()[i, j].median().sqrt() * bandwidth
    return (square / (-2.0 * torch.where(width > 0, width, 1.0).square())).exp()


def _doubly_centred(k: Tensor) -> Tensor:
    return k - k.mean(0) - k.mean(1, keepdim=True) + k.mean()


def _without_diagonal(k: Tensor) -> Tensor:
    """U-centred matrix: the inner product of two of them is the unbiased HSIC but for a factor of n alone.

    Szekely and Rizzo, Annals of Statistics 42, 2014, equation 2.4; zero diagonal, rows and columns sum to 0.
    """
    n = len(k)
    k = k - torch.diag(k.diagonal())
    row = k.sum(1) / (n - 2)
    k = k - row[:, None] - row[None, :] + k.sum() / ((n - 1) * (n - 2))
    return k - torch.diag(k.diagonal())


def _norm(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x)


def _ratio(product: Tensor, size_s: Tensor, size_t: Tensor) -> Tensor:
    scale = size_s * size_t
    constant = scale == 0  # NaN is neither: it stays NaN
    return torch.where(constant, 0.0, product / torch.where(constant, 1.0, scale))


@explained
@without_autocast
def distance_correlation(x_s: Tensor, x_t: Tensor, *, validate: bool = False) -> Tensor:
    r"""Squared distance correlation of paired features; 1 when distances are proportional, 0 when unrelated.

    .. math:: \frac{\langle A, B \rangle}{\sqrt{\langle A, A\rangle \langle B, B\rangle}}

    with A, B the doubly centred Euclidean distance matrices of the rows of each side.

    Args:
        x_s: student features, ``(n, d)``.      x_t: teacher features, ``(n, e)``; the widths may differ.
        validate: refuse non-finite input, naming the row.
    Returns: scalar in [0, 1], a similarity (use ``1 - value`` as a loss); float32 or wider. 0 where either
        side does not vary (n < 2, equal rows).
    Needs: pairing by row; teacher vectors; memory O(n^2).     Gradient: to ``x_s`` only.
    Source: Szekely, Rizzo, Bakirov, Annals of Statistics 35, 2007, definition 5 (the V-statistic), squared.
    Raises: DataError if the numbers of rows differ.
    """
    s, t = _paired(x_s, x_t, validate=validate)
    if len(s) < 2:
        return nothing_to_compare(x_s, s.dtype)
    a, b = (_doubly_centred(cost_matrix(x, x, "euclidean").fill_diagonal_(0.0)) for x in (s, t))
    return _ratio((a * b).sum(), _norm(a), _norm(b))


@explained
@without_autocast
def procrustes(
    x_s: Tensor,
    x_t: Tensor,
    *,
    kind: Literal["orthogonal", "disparity"] = "orthogonal",
    centre: bool = True,
    validate: bool = False,
) -> Tensor:
    r"""What is left between two representations after the best rotation (or reflection).

    .. math:: \min_{R^T R = I} \| X R - Y \|_F^2 = \|X\|_F^2 + \|Y\|_F^2 - 2 \|X^T Y\|_*

    Args:
        x_s: student features, ``(n, d)``.      x_t: teacher features, ``(n, e)``; the narrower side counts as padded
            with zero columns.
        kind: ``orthogonal`` as above; ``disparity`` scales both sides to norm 1 and also takes the best scale:
            ``1 - |X^T Y|_*^2``.
        centre: subtract the means first, default True (``disparity`` always does).
        validate: refuse non-finite input, naming the row.
    Returns: scalar, a distance, 0 for equal shapes up to rounding (which may fall below 0 by about 1e-6 of the
        norms); squared feature units, or for ``disparity`` in [0, 1]; float32 or wider. ``disparity`` is 1 where
        either side does not vary. 0 for an empty batch.
    Needs: pairing by row; teacher vectors; an SVD of ``(d, e)``.     Gradient: to ``x_s`` only.
    Source: Schonemann, Psychometrika 31, 1966; disparity: ``scipy.spatial.procrustes``.
    Raises: DataError if the numbers of rows differ.
    """
    check_choice("kind", kind, ("orthogonal", "disparity"))
    s, t = _paired(x_s, x_t, validate=validate)
    if not len(s):
        return nothing_to_compare(x_s, s.dtype)
    if centre or kind == "disparity":
        s, t = s - s.mean(0), t - t.mean(0)
    shared = nuclear_norm(s.T @ t, "procrustes")
    if kind == "orthogonal":
        return s.square().sum() + t.square().sum() - 2 * shared
    return 1 - _ratio(shared, _norm(s), _norm(t)).square()


@torch.no_grad()
@explained
@without_autocast
def mutual_knn(x_s: Tensor, x_t: Tensor, *, k: int = 10, validate: bool = False) -> Tensor:
    """Share of the k nearest neighbours that a sample has in both representations, averaged over samples.

    Args:
        x_s: student features, ``(n, d)``.      x_t: teacher features, ``(n, e)``; the widths may differ.
        k: 1 <= k < n, default 10; neighbours by cosine similarity, the sample itself left out.
        validate: refuse non-finite input, naming the row.
    Returns: scalar in [0, 1]; unrelated representations give about k / (n - 1); float32 or wider.
    Needs: pairing by row; teacher vectors; memory O(n^2).     Gradient: none; for diagnosis.
    Source: Huh et al., ICML 2024, arXiv 2405.07987, appendix A.  Deviation: none.
    Raises: DataError if the numbers of rows differ; ConfigError unless 1 <= k < n.
    """
    s, t = _paired(x_s, x_t, validate=validate)
    n = len(s)
    if not 1 <= k < n:
        raise ConfigError(f"k must be at least 1 and below the number of rows ({n}), got {k}")
    near_s, near_t = (_neighbours(normalised(x)[0], k) for x in (s, t))
    share = (near_s & near_t).sum().to(s.dtype) / (n * k)
    return torch.where(torch.isfinite(s).all() & torch.isfinite(t).all(), share, torch.nan)


def _neighbours(x: Tensor, k: int) -> Tensor:
    """``(n, n)`` bool: row i marks the k rows nearest to i."""
    similarity = (x @ x.T).fill_diagonal_(-torch.inf)
    near = torch.zeros(similarity.shape, dtype=torch.bool, device=x.device)
    return near.scatter_(1, similarity.topk(k, dim=1).indices, True)
