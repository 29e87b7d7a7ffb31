"""Ground costs between two clouds of features, and the way back from a gradient on the cost to the features.

Axis legend: n - student rows, m - teacher rows, d - features; leading axes, if any, number separate problems.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from limbeck.errors import ConfigError, DataError
from limbeck.functional.precision import check_choice, computing_dtype

CostName = Literal["cosine", "angular", "chordal", "sqeuclidean", "euclidean", "l1"]
Cost = CostName | Callable[[Tensor, Tensor], Tensor] | Tensor
COST_NAMES = ("cosine", "angular", "chordal", "sqeuclidean", "euclidean", "l1")
_ON_SPHERE = ("cosine", "angular", "chordal")


@dataclass(frozen=True)
class Clouds:
    """Two clouds made ready for one named cost: on the sphere, or moved to the teacher's mean.

    ``inverse_s`` and ``inverse_t`` are the inverse lengths that normalised the rows (None off the sphere); a
    zero vector has inverse 0, stays zero and takes no gradient.
    """

    cost: str
    s: Tensor
    t: Tensor
    inverse_s: Tensor | None = None
    inverse_t: Tensor | None = None

    def lengths(self) -> tuple[Tensor, Tensor]:
        """Squared lengths of the rows."""
        return (self.s * self.s).sum(-1), (self.t * self.t).sum(-1)

    def swapped(self) -> Clouds:
        return Clouds(self.cost, self.t, self.s, self.inverse_t, self.inverse_s)


def check_clouds(x_s: Tensor, x_t: Tensor) -> None:
    if x_s.dim() != 2 or x_t.dim() != 2 or x_s.shape[1] != x_t.shape[1]:
        raise DataError(
            f"student and teacher features must be (n, d) and (m, d) with one d, got {tuple(x_s.shape)} and "
            f"{tuple(x_t.shape)}; project the student to the teacher's width first"
        )


def normalised(x: Tensor) -> tuple[Tensor, Tensor]:
    """Rows on the unit sphere and their inverse lengths (0 for a zero vector, NaN where the length overflows)."""
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    # alpha=0 adds 0, or NaN for an infinite length: its inverse 0 would pass for a zero vector
    inverse = length.reciprocal().nan_to_num_(nan=torch.nan, posinf=0.0).add_(length, alpha=0)
    return x * inverse, inverse


def prepare(x_s: Tensor, x_t: Tensor, cost: str) -> Clouds:
    """The clouds in the space in which ``cost`` is a function of inner products."""
    if cost in _ON_SPHERE:
        s, inverse_s = normalised(x_s)
        t, inverse_t = normalised(x_t)
        return Clouds(cost, s, t, inverse_s, inverse_t)
    if cost == "l1":
        return Clouds(cost, x_s, x_t)
    centre = x_t.mean(-2, keepdim=True)  # |x|^2 + |y|^2 - 2xy loses digits far from the origin
    return Clouds(cost, x_s - centre, x_t - centre)


def span_bound(cost: str) -> float:
    """An upper bound of max - min of the cost, known without looking at the data."""
    if cost == "angular":
        return math.pi
    return 2.0 if cost in _ON_SPHERE else float("inf")


def offset(cost: str) -> float:
    """The constant that :func:`negative_cost` leaves out (a constant changes no plan)."""
    return 1.0 if cost == "cosine" else 0.0


def negative_cost(c: Clouds, scale: float) -> Tensor:
    """``-(cost - offset) * scale``, a new ``(..., n, m)`` tensor that the caller may overwrite."""
    if c.cost == "cosine":
        return _scaled_product(c.s, c.t, scale)
    if c.cost == "l1":
        return torch.cdist(c.s, c.t, p=1.0).mul_(-scale)
    if c.cost == "sqeuclidean":
        return _squared_distance(c).clamp_min_(0.0).mul_(-scale)
    if c.cost == "angular":
        between, across = _chords(c)
        return torch.atan2(between, across).mul_(-2 * scale)
    return _distance(c).mul_(-scale)


def _scaled_product(s: Tensor, t: Tensor, scale: float) -> Tensor:
    """``scale * s @ t^T`` with the factor inside the GEMM, which saves a pass and a buffer."""
    nothing = s.new_zeros(())
    multiply = torch.addmm if s.dim() == 2 else torch.baddbmm
    return multiply(nothing, s, t.mT, beta=0, alpha=scale)


def _squared_distance(c: Clouds) -> Tensor:
    """``|x - y|^2`` through one GEMM, up to rounding (and then perhaps below zero)."""
    length_s, length_t = c.lengths()
    square = _scaled_product(c.s, c.t, -2.0)
    return square.add_(length_s.unsqueeze(-1)).add_(length_t.unsqueeze(-2))


def _distance(c: Clouds) -> Tensor:
    """``|x - y|``, zero where rounding cannot tell: its root would be far larger than the rounding."""
    square = _squared_distance(c)
    if not square.numel():
        return square
    length_s, length_t = c.lengths()
    noise = 8 * torch.finfo(square.dtype).eps * float(length_s.max() + length_t.max())
    return torch.threshold_(square, noise, 0.0).sqrt_()


def _chords(c: Clouds) -> tuple[Tensor, Tensor]:
    """``|x - y|`` and ``|x + y|``, whose ratio is the tangent of half the angle: exact at both ends, where an arc
    cosine of the inner product loses half the digits; 90 degrees to a zero vector."""
    opposite = Clouds(c.cost, c.s, -c.t)
    return _distance(c), _distance(opposite)


def pull_back(c: Clouds, kernel: Tensor, u: Tensor, v: Tensor, *, last: bool = False) -> Tensor:
    """Gradient to the student features of ``sum(W * cost)`` for ``W = diag(u) kernel diag(v)``, never formed.

    ``kernel`` is not changed; ``last`` says that the clouds are not needed any more and may serve as buffers. One
    GEMM (``l1`` calls torch's own backward instead).
    """
    if c.cost == "l1":
        return _pull_back_l1(c, kernel * u.unsqueeze(-1) * v.unsqueeze(-2))
    if c.cost == "cosine" and c.inverse_s is not None:
        weighted = c.t.mul_(v.unsqueeze(-1)) if last else c.t * v.unsqueeze(-1)
        return _from_sphere(kernel @ weighted, u.neg(), c.s, c.inverse_s, room=weighted)
    if c.cost == "angular" and c.inverse_s is not None:
        between, across = _chords(c)
        sine = between * across / 2  # at 0 and 180 degrees the subgradient 0 is taken
        kernel = torch.where(sine > 0, kernel / sine, torch.zeros_like(kernel))
        return _from_sphere(kernel @ (c.t * v.unsqueeze(-1)), u.neg(), c.s, c.inverse_s)
    factor = 2.0
    if c.cost != "sqeuclidean":
        distance = _distance(c)
        # at distance zero the subgradient 0 is taken: nothing pulls
        kernel = torch.where(distance > 0, kernel / distance, torch.zeros_like(kernel))
        factor = 1.0
    mass = u.unsqueeze(-1) * (kernel @ v.unsqueeze(-1))
    gradient = factor * (mass * c.s - u.unsqueeze(-1) * (kernel @ (v.unsqueeze(-1) * c.t)))
    return gradient if c.inverse_s is None else _from_sphere(gradient, torch.ones_like(u), c.s, c.inverse_s)


def _from_sphere(
    gradient: Tensor, factor: Tensor, on_sphere: Tensor, inverse: Tensor, room: Tensor | None = None
) -> Tensor:
    """Back through ``x / |x|``: the radial part goes, the rest shrinks with the length; rows times ``factor``."""
    scale = factor.unsqueeze(-1) * inverse
    product = room if room is not None and room.shape == gradient.shape else torch.empty_like(gradient)
    radial = torch.mul(gradient, on_sphere, out=product).sum(-1, keepdim=True)
    return gradient.mul_(scale).addcmul_(on_sphere, radial.mul_(scale), value=-1)


def _pull_back_l1(c: Clouds, weight: Tensor) -> Tensor:
    with torch.enable_grad():
        s = c.s.detach().requires_grad_()
        distance = torch.cdist(s, c.t, p=1.0)
    return torch.autograd.grad(distance, s, weight)[0]


class _CostMatrix(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x_s: Tensor, x_t: Tensor, cost: str) -> Tensor:
        ctx.save_for_backward(x_s, x_t)
        ctx.clouds = prepare(x_s, x_t, cost)
        return negative_cost(ctx.clouds, -1.0).add_(offset(cost))

    @staticmethod
    def backward(ctx, weight: Tensor):
        c, inputs = ctx.clouds, ctx.saved_tensors
        n, m = weight.shape[-2:]
        one_s, one_t = weight.new_ones(n), weight.new_ones(m)
        to_s = to_t = None
        if ctx.needs_input_grad[0]:
            to_s = once(pull_back(c, weight, one_s, one_t), inputs[0], "cost_matrix")
        if ctx.needs_input_grad[1]:
            to_t = once(pull_back(c.swapped(), weight.mT, one_t, one_s), inputs[1], "cost_matrix")
        return to_s, to_t, None


class _Once(torch.autograd.Function):
    """Identity on a hand-computed gradient that refuses, by name, to be differentiated again."""

    @staticmethod
    def forward(ctx, gradient: Tensor, x: Tensor, name: str) -> Tensor:
        ctx.name = name
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx, _: Tensor):
        raise ConfigError(
            f"{ctx.name} has no second derivative: its gradient is computed in the forward pass and carries "
            "no graph; take first-order steps (no create_graph through this term)"
        )


def once(gradient: Tensor, x: Tensor, name: str) -> Tensor:
    """``gradient`` with respect to ``x``, to be returned from a hand-written backward.

    Under ``create_graph=True`` the result is tied to ``x`` by a node that raises when differentiated:
    silently treating it as constant would give wrong second derivatives.
    """
    return _Once.apply(gradient, x, name) if torch.is_grad_enabled() else gradient


def cost_matrix(x_s: Tensor, x_t: Tensor, cost: Cost = "cosine") -> Tensor:
    r"""All costs between student and teacher rows, ``(n, m)``; differentiable in both clouds (once).

    Args:
        x_s: student features, ``(n, d)``.      x_t: teacher features, ``(m, d)``.
        cost: ``cosine`` (1 - cosine similarity; 1 for a zero vector), ``angular`` (the angle between rows in
            radians, 0 to pi), ``chordal`` (Euclidean distance of rows on the unit sphere), ``sqeuclidean``,
            ``euclidean`` (l2), ``l1``; a callable ``(x_s, x_t) -> (n, m)``; or the matrix itself.
    Returns: ``(n, m)`` in float32, or float64 when an input is.
    Gradient: at distance zero, ``euclidean``, ``chordal`` and ``angular`` take the subgradient 0 (the last also where
        rows are opposite).
    Source: definitions.
    Raises: UnknownNameError for a wrong name; DataError for shapes that do not fit.
    Example:
        >>> cost_matrix(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]]))
        tensor([[1.]])
    """
    dtype = computing_dtype(x_s, x_t)
    if isinstance(cost, str):
        check_choice("cost", cost, COST_NAMES)
        check_clouds(x_s, x_t)
        return _CostMatrix.apply(x_s.to(dtype), x_t.to(dtype), cost)
    matrix = cost if isinstance(cost, Tensor) else cost(x_s, x_t)
    if matrix.shape != (len(x_s), len(x_t)):
        raise DataError(f"the cost matrix must be {(len(x_s), len(x_t))} (n, m), got {tuple(matrix.shape)}")
    return matrix if matrix.dtype == torch.float64 else matrix.float()
