"""Wasserstein distances in one dimension, and of clouds through their projections on lines.

On a line the optimal coupling joins equal quantiles, so that a sort solves it exactly, also for unequal
numbers of rows. Axis legend: n - student rows, m - teacher rows, d - features, k - lines (columns or
directions), q - pieces on which both quantile functions are constant.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from limbeck.errors import ConfigError, DataError
from limbeck.functional.costs import check_clouds
from limbeck.functional.hand_gradients import nothing_to_compare, wants_gradient, with_gradient
from limbeck.functional.precision import check_finite, computing_dtype, explained, without_autocast
from limbeck.functional.row_blocks import Blocks, rows_in_blocks
from limbeck.functional.transport.entropic import marginal

BLOCK_ROWS = 16384  # rows of a teacher tensor that are widened to float32 at a time
PIECES_AT_A_TIME = 1 << 22  # 16 MB of float32 for each temporary


@explained
@without_autocast
def wasserstein_1d(
    x_s: Tensor,
    x_t: Tensor,
    *,
    p: float = 2,
    weights_s: Tensor | None = None,
    weights_t: Tensor | None = None,
    validate: bool = False,
) -> Tensor:
    r"""Wasserstein distance between each column of both sides, to the power p, summed over columns.

    .. math:: \sum_k \int_0^1 |F_{s,k}^{-1}(q) - F_{t,k}^{-1}(q)|^p \, dq

    Args:
        x_s: student features, ``(n, d)``.      x_t: teacher features, ``(m, d)``; n and m may differ.
        p: float >= 1, default 2.
        weights_s, weights_t: ``(n,)`` and ``(m,)``, >= 0, scaled to sum to 1; default uniform.
        validate: refuse non-finite input, naming the row.
    Returns: scalar >= 0, feature units to the power p (no root); float32 or wider. 0 for an empty batch.
    Needs: pairing none; teacher vectors.     Gradient: to ``x_s`` only, the coupling held.
    Source: Peyre and Cuturi, Computational Optimal Transport, arXiv 1803.00567, remark 2.30.
    Raises: DataError for shapes that do not fit; ConfigError for p or weights.
    Example:
        >>> float(wasserstein_1d(torch.tensor([[0.0], [2.0]]), torch.tensor([[3.0], [1.0]])))
        1.0
    """
    _check(x_s, x_t, p, validate=validate)
    dtype = computing_dtype(x_s, x_t)
    if not len(x_s) or not len(x_t):
        return nothing_to_compare(x_s, dtype)
    with torch.no_grad():
        s, t = x_s.to(dtype).T.contiguous(), x_t.to(dtype).T.contiguous()
        if weights_s is None and weights_t is None:
            order, t = _order(s), _sorted(t)
            value, gradient = _uniform(s.gather(1, order), t, p)
        else:
            order, order_t = _order(s), _order(t)
            a = marginal(weights_s, len(x_s), x_s, dtype, "weights_s")[order]
            b = marginal(weights_t, len(x_t), x_t, dtype, "weights_t")[order_t]
            value, gradient = _weighted(s.gather(1, order), t.gather(1, order_t), a, b, p)
        gradient = torch.empty_like(s).scatter_(1, order, gradient).T
    wants = wants_gradient(x_s)
    return with_gradient(value.sum(), x_s, gradient if wants else None, "wasserstein_1d")


@explained
@without_autocast
def sliced_wasserstein(
    x_s: Tensor,
    x_t: Tensor | Blocks | None,
    *,
    p: float = 2,
    projections: int | Tensor = 128,
    teacher_sorted: Tensor | None = None,
    generator: torch.Generator | None = None,
    validate: bool = False,
) -> Tensor:
    r"""Mean over directions of the Wasserstein distance of the projected clouds, to the power p.

    .. math:: \frac1K \sum_k W_p^p(\theta_k^T X, \theta_k^T Y)

    Args:
        x_s: student features, ``(n, d)``.
        x_t: teacher features, ``(m, d)``, or a callable that yields them in blocks of rows; None where
            ``teacher_sorted`` stands for it.
        p: float >= 1, default 2.
        projections: number of fresh directions (orthogonal in groups of d), or unit rows ``(k, d)``. Few
            directions make a noisy gradient: at n = 512, d = 256, cosine to the full one .5 with 128,
            .76 with 256.
        teacher_sorted: ``(k, m)`` from :func:`sorted_projections` for the same ``projections``: half
            the time. Do not keep one set for a whole training, its directions would be the only ones matched:
            rotate a pool of sets.
        generator: draws the directions; the global one if None.
        validate: refuse non-finite input, naming the row.
    Returns: scalar >= 0, feature units to the power p (no root, which has no gradient at 0); float32 or
        wider. 0 for an empty batch.
    Needs: pairing none; teacher vectors; memory O(k (n + m)).
    Gradient: to ``x_s`` only, computed in the forward pass with the coupling of each direction held.
    Source: Bonneel et al., JMIV 51, 2015; orthogonal directions: Rowland et al., AISTATS 2019, arXiv
        1903.03784.
    Deviation: no root; unequal n and m are coupled exactly, not interpolated.
    Raises: DataError for shapes that do not fit; ConfigError for p or ``projections``.
    """
    _check(x_s, x_t if isinstance(x_t, Tensor) else None, p, validate=validate)
    dtype = computing_dtype(x_s)
    if not len(x_s) or (isinstance(x_t, Tensor) and not len(x_t)):
        return nothing_to_compare(x_s, dtype)
    wants = wants_gradient(x_s)
    with torch.no_grad():
        x = x_s.to(dtype)
        if isinstance(projections, Tensor):
            directions = projections.to(x)
        elif teacher_sorted is None:
            directions = projection_directions(x.shape[1], projections, generator=generator).to(x)
        else:
            raise ConfigError(
                "teacher_sorted needs the directions it was made with: projections=Tensor (k, d)"
            )
        if directions.dim() != 2 or directions.shape[1] != x.shape[1]:
            raise DataError(f"projections must be (k, {x.shape[1]}), got {tuple(directions.shape)}")
        t = _teacher_lines(x_t, teacher_sorted, directions)
        s = directions @ x.T  # (k, n), rows contiguous for the sort
        order = _order(s)
        value, gradient = _uniform(s.gather(1, order), t, p)
        to_x = None
        if wants:
            to_x = (torch.empty_like(s).scatter_(1, order, gradient) / len(s)).T @ directions
    return with_gradient(value.mean(), x_s, to_x, "sliced_wasserstein")


@torch.no_grad()
@without_autocast
def sorted_projections(
    x_t: Tensor | Blocks, projections: Tensor, *, n_quantiles: int | None = None
) -> Tensor:
    """The teacher's part of :func:`sliced_wasserstein`: its projections, sorted along each direction.

    Args:
        x_t: teacher features, ``(m, d)``, or a callable that yields them in blocks of rows.
        projections: unit rows ``(k, d)``.
        n_quantiles: keep this many mid-quantiles of each direction instead of all m values.
    Returns: ``(k, m)`` or ``(k, n_quantiles)``, ascending; float32 or wider.
    """
    projections = projections.to(computing_dtype(projections))
    if isinstance(x_t, Tensor):
        blocks = iter(x_t.split(BLOCK_ROWS))
    else:
        blocks = rows_in_blocks(x_t, projections.shape[1], projections)
    lines = [projections @ block.to(projections).T for block in blocks]
    lines_sorted = _sorted(torch.cat(lines, 1))
    m = lines_sorted.shape[1]
    if n_quantiles is None or n_quantiles >= m:
        return lines_sorted
    middle = (torch.arange(n_quantiles, device=lines_sorted.device) + 0.5) * (m / n_quantiles)
    return lines_sorted[:, middle.long()]


def projection_directions(d: int, k: int, *, generator: torch.Generator | None = None) -> Tensor:
    """Random unit rows ``(k, d)``, each uniform on the sphere, orthogonal to each other in groups of ``d``."""
    if k < 1:
        raise ConfigError(f"projections must be >= 1, got {k}")
    groups = []
    for start in range(0, k, d):
        device = "cpu" if generator is None else generator.device
        normal = torch.randn(min(d, k - start), d, generator=generator, device=device)
        if 2 * len(normal) <= d:  # then well conditioned, and this is a quarter of the time of a QR
            factor = torch.linalg.cholesky(normal @ normal.T)
            groups.append(torch.linalg.solve_triangular(factor, normal, upper=False))
        else:
            q, r = torch.linalg.qr(normal.T)
            groups.append((q * r.diagonal().sign()).T)  # the sign makes the rotation uniform
    return torch.cat(groups)


@explained
@without_autocast
def max_sliced_wasserstein(
    x_s: Tensor,
    x_t: Tensor,
    *,
    p: float = 2,
    starts: int = 8,
    steps: int = 10,
    generator: torch.Generator | None = None,
    validate: bool = False,
) -> Tensor:
    r"""Wasserstein distance to the power p along the direction in which the two clouds differ most.

    .. math:: \max_{|\theta| = 1} W_p^p(\theta^T X, \theta^T Y)

    Args:
        x_s: student features, ``(n, d)``.      x_t: teacher features, ``(m, d)``.
        p: float >= 1, default 2.
        starts: directions climbed side by side, default 8: the difference of the means and random ones.
        steps: fixed-point steps of the ascent, default 10.
        generator: draws the starts; the global one if None.
        validate: refuse non-finite input, naming the row.
    Returns: scalar >= 0, feature units to the power p; a lower bound of the maximum. 0 for an empty batch.
    Needs: pairing none; teacher vectors.     Gradient: to ``x_s`` only, direction and coupling held.
    Source: Deshpande et al., CVPR 2019, arXiv 1904.05877.  Deviation: no root; several starts.
    Raises: DataError for shapes that do not fit; ConfigError for p.
    """
    _check(x_s, x_t, p, validate=validate)
    dtype = computing_dtype(x_s, x_t)
    if not len(x_s) or not len(x_t):
        return nothing_to_compare(x_s, dtype)
    with torch.no_grad():
        x, y = x_s.to(dtype), x_t.to(dtype)
        direction = projection_directions(x.shape[1], max(starts, 1), generator=generator).to(x)
        gap = x.mean(0) - y.mean(0)
        if bool(gap.any()):
            direction[0] = gap / gap.norm()
        best, value = direction[:1], x.new_full((), -1.0)
        for _ in range(steps + 1):
            values, ascent = _along(direction, x, y, p)
            if values.max() > value:
                value, best = values.max(), direction[values.argmax()][None]
            length = ascent.norm(dim=1, keepdim=True)
            direction = torch.where(length > 0, ascent / length.clamp_min(1e-30), direction)
    return sliced_wasserstein(x_s, x_t.to(dtype), p=p, projections=best)


def _along(direction: Tensor, x: Tensor, y: Tensor, p: float) -> tuple[Tensor, Tensor]:
    """W_p^p along each direction, and its gradient to the direction."""
    s, t = direction @ x.T, direction @ y.T
    order_s, order_t = _order(s), _order(t)
    s_sorted, t_sorted = s.gather(1, order_s), t.gather(1, order_t)
    values, to_s = _uniform(s_sorted, t_sorted, p)
    _, to_t = _uniform(t_sorted, s_sorted, p)
    to_s = torch.empty_like(s).scatter_(1, order_s, to_s)
    to_t = torch.empty_like(t).scatter_(1, order_t, to_t)
    return values, to_s @ x + to_t @ y


def _check(x_s: Tensor, x_t: Tensor | None, p: float, *, validate: bool) -> None:
    if p < 1:
        raise ConfigError(f"p must be >= 1, got {p}")
    if validate:
        check_finite(x_s, "x_s")
    if x_t is not None:
        check_clouds(x_s, x_t)
        if validate:
            check_finite(x_t, "x_t")


def _teacher_lines(x_t: Tensor | Blocks | None, teacher_sorted: Tensor | None, directions: Tensor) -> Tensor:
    if teacher_sorted is None:
        if x_t is None:
            raise ConfigError(
                "give the teacher's features, or teacher_sorted=sorted_projections(x_t, projections)"
            )
        return sorted_projections(x_t, directions)
    if teacher_sorted.dim() != 2 or len(teacher_sorted) != len(directions):
        raise DataError(
            f"teacher_sorted must be (k, m) for the {len(directions)} projections, got "
            f"{tuple(teacher_sorted.shape)}"
        )
    return teacher_sorted.to(directions)


def _order(x: Tensor) -> Tensor:
    """The order that sorts each row; on a CPU numpy's sort is several times faster than torch's."""
    if x.device.type == "cpu":
        return torch.from_numpy(np.argsort(x.numpy(), axis=1))
    return x.argsort(1)


def _sorted(x: Tensor) -> Tensor:
    if x.device.type == "cpu":
        return torch.from_numpy(np.sort(x.numpy(), axis=1))
    return x.sort(1).values


def _power(gap: Tensor, p: float) -> tuple[Tensor, Tensor]:
    """``|gap|^p`` and its derivative."""
    if p == 2:
        return gap.square(), gap * 2.0
    size = gap.abs()
    return (size, gap.sign()) if p == 1 else (size.pow(p), gap.sign() * size.pow(p - 1) * p)


def _uniform(s: Tensor, t: Tensor, p: float) -> tuple[Tensor, Tensor]:
    """Cost ``(k,)`` of sorted ``s`` and ``t`` with equal weights, and its gradient to ``s``, ``(k, n)``."""
    n, m = s.shape[1], t.shape[1]
    if n == m:
        cost, slope = _power(s - t, p)
        return cost.mean(1), slope / n
    i, j, share = _pieces(n, m, s)
    values, gradient = s.new_empty(len(s)), torch.zeros_like(s)
    step = max(1, PIECES_AT_A_TIME // len(share))
    for start in range(0, len(s), step):
        lines = slice(start, start + step)
        cost, slope = _power(s[lines].index_select(1, i) - t[lines].index_select(1, j), p)
        values[lines] = cost @ share
        gradient[lines].index_add_(1, i, slope.mul_(share))
    return values, gradient


def _pieces(n: int, m: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The common refinement of n and of m equal parts of [0, 1): index in each, and length."""
    ends = torch.cat(
        (torch.arange(1, n + 1) * m, torch.arange(1, m + 1) * n)
    ).unique()  # in units of 1 / (n m)
    lengths = ends.diff(prepend=ends.new_zeros(1))
    starts = ends - lengths
    device = like.device
    return (starts // m).to(device), (starts // n).to(device), lengths.to(like) / (n * m)


def _weighted(s: Tensor, t: Tensor, a: Tensor, b: Tensor, p: float) -> tuple[Tensor, Tensor]:
    """As :func:`_uniform` for weights ``(k, n)`` and ``(k, m)`` in the order of the sorted values."""
    level_s, level_t = a.cumsum(1), b.cumsum(1)
    ends = torch.cat((level_s, level_t), 1).sort(1).values
    share = ends.diff(dim=1, prepend=ends.new_zeros(len(ends), 1))
    middle = ends - 0.5 * share
    i = torch.searchsorted(level_s, middle).clamp_(max=s.shape[1] - 1)
    j = torch.searchsorted(level_t, middle).clamp_(max=t.shape[1] - 1)
    cost, slope = _power(s.gather(1, i) - t.gather(1, j), p)
    return (cost * share).sum(1), torch.zeros_like(s).scatter_add_(1, i, slope * share)
