"""Maximum mean discrepancy: two clouds compared through the distances between all their rows.

Axis legend: n - student rows, m - teacher rows, d - features.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from limbeck.errors import ConfigError
from limbeck.functional.costs import check_clouds, cost_matrix
from limbeck.functional.hand_gradients import nothing_to_compare, wants_gradient, with_gradient
from limbeck.functional.precision import (
    can_widen,
    check_choice,
    check_finite,
    check_positive,
    computing_dtype,
    explained,
    narrowed,
    widened,
    without_autocast,
)
from limbeck.functional.relations.pair_sums import PROFILES, Pairs, Profile, Side, slices
from limbeck.functional.row_blocks import Blocks, leading_block, rows_in_blocks
from limbeck.functional.transport.entropic import marginal

Kernel = Literal["rbf", "energy", "laplacian", "imq"]
Bandwidth = Literal["median"] | float | Sequence[float]

BLOCK_ROWS = 16384  # rows of a teacher tensor that are widened to float32 at a time
MEDIAN_ROWS = 128
# Radius of the clouds in bandwidths that float32 serves: beyond, squared distances lose the digits that the kernel
# reads; below, all kernels are 1 and the value is their rounding.
_FLOAT32 = 0.03, 10.0
_SQUARES = 1e-15, 1e15  # distances whose squares float32 holds


@explained
@without_autocast
def mmd(
    x_s: Tensor,
    x_t: Tensor | Blocks,
    *,
    kernel: Kernel = "rbf",
    bandwidth: Bandwidth = "median",
    unbiased: bool = True,
    weights_s: Tensor | None = None,
    weights_t: Tensor | None = None,
    teacher_term: float | None = None,
    validate: bool = False,
) -> Tensor:
    r"""Squared maximum mean discrepancy between two clouds of features.

    .. math:: \mathrm{MMD}^2 = E\,k(x, x') + E\,k(y, y') - 2\,E\,k(x, y)

    Args:
        x_s: student features, ``(n, d)``.
        x_t: teacher features, ``(m, d)``, or a callable that yields them in blocks of rows, anew at each call
            (``lambda: bank.blocks(8192)``).
        kernel: with r the Euclidean distance and s the bandwidth: ``rbf`` exp(-r^2 / 2 s^2), ``laplacian``
            exp(-r / s), ``imq`` (1 + r^2 / s^2)^(-1/2), ``energy`` -r, which has no bandwidth and makes the
            value the energy distance 2 E|x - y| - E|x - x'| - E|y - y'|.
        bandwidth: number > 0 in feature units, a list of them (their kernels are summed), or ``median``
            (:func:`median_bandwidth` of this batch, without gradient).
        unbiased: leave out pairs of a row with itself; the estimate may then go below 0. With ``False`` it is
            >= 0, and 0 for equal clouds, but biased upward in small batches.
        weights_s, weights_t: ``(n,)`` and ``(m,)``, >= 0, scaled to sum to 1; default uniform.
        teacher_term: cached :func:`mmd_teacher_term`, in place of E k(y, y'), which is O(m^2 d) at each call;
            0.0 leaves that constant out, which changes the value and not the gradient. Needed where ``x_t`` is a
            callable.
        validate: refuse non-finite input, naming the row.
    Returns: scalar, in units of the kernel; float32 or wider. 0 for an empty batch.
    Needs: pairing none; teacher vectors; memory O((n + m) d) and one tile, never (n, m).
    Gradient: to ``x_s`` only, computed in the forward pass; at distance 0 the subgradient 0.
    Source: Gretton et al., JMLR 13, 2012, lemma 6; energy: Szekely and Rizzo, 2013.  Deviation: none.
    Raises: DataError for shapes that do not fit; ConfigError for the bandwidth; UnknownNameError for the
        kernel.
    Limits: with ``unbiased`` and n = 1 the term E k(x, x') is 0.
    Example:
        >>> round(float(mmd(torch.zeros(3, 2), torch.ones(5, 2), kernel="energy")), 4)  # 2 * sqrt(2)
        2.8284
    """
    _check(x_s, x_t, teacher_term, weights_t, validate=validate)
    dtype = computing_dtype(x_s, *([x_t] if isinstance(x_t, Tensor) else []))
    if not len(x_s) or (isinstance(x_t, Tensor) and not len(x_t)):
        return nothing_to_compare(x_s, dtype)
    follows = bandwidth == "median" and kernel != "energy"
    if follows and isinstance(x_t, Tensor) and teacher_term is None:
        bandwidth = median_bandwidth(x_s, x_t)
    profile = _profile(kernel, bandwidth)
    wide = _digits(profile, x_s, *([x_t] if isinstance(x_t, Tensor) else []), follows=follows)
    a = None if weights_s is None else marginal(weights_s, len(x_s), x_s, wide, "weights_s")
    b = _teacher_weights(weights_t, x_t, wide)
    if teacher_term is None:
        teacher_term = _teacher_term(x_t, b, profile, wide, unbiased=unbiased)
    x = x_s.detach().to(wide)
    blocks = _blocks(x_t, b, x, width=x.shape[1], validate=validate)
    value, gradient = _mmd(x, a, blocks, profile, unbiased=unbiased, wants=wants_gradient(x_s))
    return with_gradient((value + teacher_term).to(dtype), x_s, narrowed(gradient, dtype), "mmd")


def mmd_teacher_term(
    x_t: Tensor | Blocks,
    *,
    kernel: Kernel = "rbf",
    bandwidth: float | Sequence[float] = 1.0,
    unbiased: bool = True,
    weights_t: Tensor | None = None,
) -> float:
    """The part of :func:`mmd` that only the teacher has a say in: the mean kernel over pairs of its rows.

    Args: as for :func:`mmd`; the bandwidth is a number, since the median would depend on the student.
    Returns: a number, to be passed as ``teacher_term``.
    Needs: time O(m^2 d); a callable is asked for its blocks once more for each block; memory O(two blocks).
    Raises: as :func:`mmd`.
    """
    profile = _profile(kernel, bandwidth)
    wide = _digits(profile, x_t if isinstance(x_t, Tensor) else leading_block(x_t))
    b = _teacher_weights(weights_t, x_t, wide)
    return _teacher_term(x_t, b, profile, wide, unbiased=unbiased)


@torch.no_grad()
@without_autocast
def median_bandwidth(x_s: Tensor, x_t: Tensor) -> float:
    """Median Euclidean distance over the pairs of at most 128 evenly spaced rows of each cloud; never 0.

    Args:
        x_s, x_t: features, ``(n, d)`` and ``(m, d)``.
    Source: Gretton et al., JMLR 13, 2012, section 8.  Deviation: the subsample; 1 where all rows coincide.
    """
    pooled = torch.cat([_evenly_spaced(x) for x in widened(x_s.detach(), x_t.detach())])
    largest = float(pooled.abs().max()) or 1.0  # whose square may overflow
    pooled = pooled / largest
    distance = cost_matrix(pooled, pooled, "euclidean")
    i, j = torch.triu_indices(len(pooled), len(pooled), 1, device=pooled.device)
    distance = distance[i, j]
    distance = distance[distance > 0]
    return float(distance.median()) * largest if len(distance) else 1.0


@torch.no_grad()
@without_autocast
def _digits(profile: Profile, *clouds: Tensor, follows: bool = False) -> torch.dtype:
    """The type to compute in, from the radius of the pooled clouds (128 evenly spaced rows of each).

    A bandwidth that ``follows`` the clouds is about their radius; ``energy`` has none.
    """
    dtype = computing_dtype(*clouds)
    if profile.kernel == "energy" or not can_widen(clouds[0]):
        return dtype
    if follows:
        return dtype if _SQUARES[0] <= min(profile.widths) <= _SQUARES[1] else torch.float64
    pooled = torch.cat([_evenly_spaced(x.detach()).to(dtype) for x in clouds])
    radius = float((pooled - pooled.mean(0)).norm(dim=1).max()) / min(profile.widths)
    return dtype if _FLOAT32[0] <= radius <= _FLOAT32[1] else torch.float64


def _evenly_spaced(x: Tensor) -> Tensor:
    n = min(len(x), MEDIAN_ROWS)
    return x[torch.arange(n, device=x.device) * len(x) // max(n, 1)]


def _profile(kernel: str, bandwidth: Bandwidth) -> Profile:
    check_choice("kernel", kernel, tuple(PROFILES))
    if kernel == "energy":
        return Profile(kernel, (1.0,))
    if isinstance(bandwidth, str):
        if bandwidth != "median":
            raise ConfigError(f"bandwidth must be a number, a list of numbers or 'median', got {bandwidth!r}")
        raise ConfigError(
            "bandwidth='median' looks at student and teacher rows together: where the teacher is a callable "
            "or its term is cached, give a number, for example median_bandwidth(x_s, x_t) of a first batch"
        )
    widths = tuple(float(w) for w in (bandwidth if isinstance(bandwidth, Sequence) else (bandwidth,)))
    if not widths:
        raise ConfigError("the list of bandwidths is empty")
    for width in widths:
        check_positive("bandwidth", width)
    return Profile(kernel, widths)


def _check(
    x_s: Tensor,
    x_t: Tensor | Blocks,
    teacher_term: float | None,
    weights_t: Tensor | None,
    *,
    validate: bool,
) -> None:
    if validate:
        check_finite(x_s, "x_s")
    if isinstance(x_t, Tensor):
        check_clouds(x_s, x_t)
        if validate:
            check_finite(x_t, "x_t")
    elif teacher_term is None or weights_t is not None:
        raise ConfigError(
            "with a teacher that yields blocks, pass teacher_term=mmd_teacher_term(...), computed once "
            "(or 0.0: the gradient is the same), and no weights_t"
        )


def _teacher_weights(weights: Tensor | None, x_t: Tensor | Blocks, dtype: torch.dtype) -> Tensor | None:
    if weights is None:
        return None
    if not isinstance(x_t, Tensor):
        raise ConfigError("weights_t needs the teacher's features as one tensor")
    return marginal(weights, len(x_t), x_t, dtype, "weights_t")


def _blocks(
    x_t: Tensor | Blocks, weights: Tensor | None, like: Tensor, *, width: int, validate: bool = False
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """The teacher's rows, a block at a time and only then widened, with their weights."""
    if isinstance(x_t, Tensor):
        for rows in slices(0, len(x_t), BLOCK_ROWS):
            yield x_t[rows].detach().to(like), None if weights is None else weights[rows]
        return
    for block in rows_in_blocks(x_t, width, like, validate=validate):
        yield block, None


def _share(mass: float, square_mass: float, unbiased: bool) -> float:
    """The weight of the pairs in a self sum; a single row has no pair, and its empty sum is divided by 1."""
    share = mass * mass - square_mass if unbiased else mass * mass
    return share if share > 1e-6 * mass * mass else 1.0


@torch.no_grad()
@without_autocast
def _teacher_term(
    x_t: Tensor | Blocks, b: Tensor | None, profile: Profile, dtype: torch.dtype, *, unbiased: bool
) -> float:
    first = x_t if isinstance(x_t, Tensor) else leading_block(x_t)
    like, width = first.new_empty(0, dtype=dtype), first.shape[-1]
    total = mass = square_mass = 0.0
    for i, (block, weights) in enumerate(_blocks(x_t, b, like, width=width)):
        pairs, centre = Pairs(profile, block), block.mean(0)
        side = Side(block, weights, centre)
        total += float(pairs.within(side).total)
        mass, square_mass = mass + side.mass, square_mass + side.square_mass
        if isinstance(x_t, Tensor) and len(x_t) <= BLOCK_ROWS:
            break
        for j, (other, other_weights) in enumerate(_blocks(x_t, b, like, width=width)):
            if j > i:
                total += 2.0 * float(pairs.between(side, Side(other, other_weights, centre)).total)
    lost = profile.at_zero * square_mass if unbiased else 0.0
    return (total - lost) / _share(mass, square_mass, unbiased)


@torch.no_grad()
def _mmd(
    x: Tensor,
    a: Tensor | None,
    teacher: Iterable[tuple[Tensor, Tensor | None]],
    profile: Profile,
    *,
    unbiased: bool,
    wants: bool,
) -> tuple[Tensor, Tensor | None]:
    """Value, but for the teacher's own pairs, and gradient: the student's own pairs, then each block."""
    pairs, own = Pairs(profile, x, wants), Side(x, a, x.mean(0))
    share = _share(own.mass, own.square_mass, unbiased)
    within = pairs.within(own)
    lost = profile.at_zero * own.square_mass if unbiased else 0.0
    cross, mass_t, gradient_t, centre = x.new_zeros(()), 0.0, torch.zeros_like(x), None
    for block, b in teacher:
        centre = block.mean(0) if centre is None else centre
        s, t = Side(x, a, centre), Side(block, b, centre)
        between = pairs.between(s, t)
        cross, mass_t = cross + between.total, mass_t + t.mass
        if wants:
            gradient_t += between.gradient(s)
    scale = 2.0 / (own.mass * mass_t)
    value = (within.total - lost) / share - scale * cross
    if not wants:
        return value, None
    # the student's own pairs pull at both ends
    return value, within.gradient(own).mul_(2.0 / share).sub_(gradient_t.mul_(scale))
