"""Attention of a student that borrows some of its teacher's queries, keys and values.

Axis legend: n - rows, l - tokens, d - width of all heads.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from limbeck.errors import DataError
from limbeck.functional.precision import Reduction, reduced, widened, without_autocast

QKV = tuple[Tensor, Tensor, Tensor]


@without_autocast
def partial_attention_gap(
    student: QKV,
    teacher: QKV,
    *,
    heads: int = 1,
    borrowed: QKV | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""What the student's attention makes of its tokens, and how its values lie, against the teacher's.

    .. math:: \frac1{l d} \big\| A(Q_t, K_t, V_t) - A(g(Q_s), g(K_s), g(V_s)) \big\|^2 + \frac1{h l^2} \Big\|
        \frac{V_t V_t^T}{\sqrt{d_h}} - \frac{V_s V_s^T}{\sqrt{d_h}} \Big\|^2, \quad
        A(Q, K, V) = \mathrm{softmax}\Big(\frac{Q K^T}{\sqrt{d_h}}\Big) V

    where g puts the teacher's numbers in the place of some of the student's, and :math:`d_h = d / h`.

    Args:
        student: queries, keys and values, each ``(n, l, d)``.      teacher: the same of the teacher, same shapes.
        heads: h >= 1, a divisor of d.
        borrowed: which numbers of queries, keys and values are the teacher's, bool of the same shapes; default none.
        reduction: ``mean`` over rows, ``sum``, or ``none`` for one value a row.
    Returns: squared units of the values, >= 0; float32 or wider. An empty batch gives 0.
    Needs: pairing by row and by token; the teacher's queries, keys and values.     Gradient: to ``student`` only, and
        not to what is borrowed.
    Source: Liu et al. (Cross-Architecture KD), ACCV 2022, arXiv 2207.05273, equations 2 to 4, from two accounts of the
        paper that quote them alike.    Deviation: means over entries in the place of sums; heads, which it leaves open.
    Raises: DataError for shapes and heads.
    Example:
        >>> x = (torch.eye(2)[None],) * 3
        >>> float(partial_attention_gap(x, x))
        0.0
    """
    shapes = {tuple(x.shape) for x in (*student, *teacher, *(borrowed or ()))}
    if len(shapes) > 1 or student[0].dim() != 3 or heads < 1 or student[0].shape[2] % heads:
        raise DataError(
            f"queries, keys and values must be (n, l, d) of one shape on both sides, with a width that {heads} heads "
            f"divide, got {', '.join(map(str, sorted(shapes)))}"
        )
    s = widened(*student)
    t = tuple(x.detach().to(s[0].dtype) for x in teacher)
    mixed = s if borrowed is None else tuple(torch.where(b, y, x) for b, x, y in zip(borrowed, s, t))
    gap = (_attended(t, heads) - _attended(mixed, heads)).square().flatten(1).mean(1)
    grams = (_gram(t[2], heads) - _gram(s[2], heads)).square().flatten(1).mean(1)
    return reduced(gap + grams, reduction)


def _cut(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(2, (heads, -1)).transpose(1, 2)


def _attended(parts: Iterable[Tensor], heads: int) -> Tensor:
    q, k, v = (_cut(x, heads) for x in parts)
    return (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v


def _gram(v: Tensor, heads: int) -> Tensor:
    v = _cut(v, heads)
    return v @ v.mT / v.shape[-1] ** 0.5
