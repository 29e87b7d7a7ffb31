"""Cross-entropy straight from what enters the head, for vocabularies whose logits would not fit."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from limbeck.errors import DataError
from limbeck.functional.precision import widened
from limbeck.functional.response.vocabulary_head import CHUNK_ELEMENTS, LogitForm

IGNORED = -100


def head_cross_entropy(
    entered: Tensor,
    weight: Tensor,
    classes: Tensor,
    *,
    bias: Tensor | None = None,
    label_smoothing: float = 0.0,
    scale: float = 1.0,
    softcap: float | None = None,
    chunk: int | None = None,
) -> Tensor:
    r"""Cross-entropy of a linear head, a run of positions at a time in one buffer; the gradient is made
    with the value.

    Args:
        entered: what enters the head, ``(..., d)``.    weight: ``(V, d)``.    bias: ``(V,)``.
        classes: ``(...)`` int64, -100 where nothing is known.
        label_smoothing: in [0, 1).
        scale, softcap: float > 0, what a model makes of the products x with the head: softcap tanh(scale x / softcap),
            or scale x without a cap, as of ``fused_linear_divergence``.
        chunk: positions at a time; default: 32 MB of logits (512 MB on an accelerator).
    Returns: the sum over the known positions in nats, float32 or wider; 0, with a gradient path, where there is none.
    Needs: labels by position. Memory: one buffer of (chunk, V), two with a cap, and the gradients.
    Gradient: to ``entered``, ``weight``, ``bias``.
    Source: cross-entropy; gradient with the value, by chunks, as in Liger Kernel, arXiv 2410.10989.
        Deviation: none.    Limits: it cannot be differentiated twice.
    Raises: DataError for shapes that do not fit; ConfigError for scale or softcap.
    Example:
        >>> float(head_cross_entropy(torch.zeros(2, 3), torch.zeros(4, 3), torch.tensor([1, -100])))
        1.3862943649291992
    """
    if entered.shape[:-1] != classes.shape or entered.shape[-1] != weight.shape[-1]:
        raise DataError(
            f"entered {tuple(entered.shape)} must be (..., d) for classes {tuple(classes.shape)} and weight "
            f"{tuple(weight.shape)} (V, d)."
        )
    form, known = LogitForm(scale, softcap), classes != IGNORED
    rows, wanted = entered[known], classes[known]
    size = chunk or max(1, CHUNK_ELEMENTS["cpu" if entered.device.type == "cpu" else "other"] // len(weight))

    if not len(rows):
        return (rows.sum() + 0.0 * weight[0].sum()).float()
    given = (rows, weight) if bias is None else (rows, weight, bias)
    return _HeadCrossEntropy.apply(wanted, label_smoothing, size, form, *widened(*given))


class _HeadCrossEntropy(torch.autograd.Function):
    """Value and gradients of all runs, each in the same buffer: blocks of this size that come and go would leave the
    allocator with holes as large as all logits together."""

    @staticmethod
    def forward(
        ctx: Any,
        wanted: Tensor,
        smoothing: float,
        size: int,
        form: LogitForm,
        rows: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
    ) -> Tensor:
        needed = ctx.needs_input_grad[4:]
        gradients = [
            torch.zeros_like(x) if need else None
            for x, need in zip((rows, weight, bias), needed)
            if x is not None
        ]
        buffer, value = rows.new_empty(min(size, len(rows)), len(weight)), rows.new_zeros(())
        bends = None if form.softcap is None else torch.empty_like(buffer)
        for first in range(0, len(rows), size):
            part = slice(first, first + size)
            logits = torch.mm(rows[part], weight.T, out=buffer[: len(rows[part])])
            form.make(logits if bias is None else logits.add_(bias))
            bend = None if bends is None else form.bend(logits, bends[: len(logits)])
            value += _made_into_gradient(logits, wanted[part], smoothing)
            if bend is not None:
                logits.mul_(bend)
            if form.scale != 1:
                logits.mul_(form.scale)
            for place, gradient in enumerate(gradients):
                if gradient is None:
                    continue
                if place == 0:
                    torch.mm(logits, weight, out=gradient[part])
                elif place == 1:
                    gradient.addmm_(logits.T, rows[part])
                else:
                    gradient += logits.sum(0)
        ctx.save_for_backward(*gradients)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        gradients = [None if gradient is None else gradient * upstream for gradient in ctx.saved_tensors]
        return (None, None, None, None, *gradients)


def _made_into_gradient(logits: Tensor, wanted: Tensor, smoothing: float) -> Tensor:
    """The sum of the cross-entropies; ``logits (k, V)`` become its gradient to them."""
    n, index = logits.shape[-1], wanted.unsqueeze(-1)
    logits.sub_(logits.amax(-1, keepdim=True))
    right, mean = logits.gather(-1, index), logits.mean(-1, keepdim=True) if smoothing else 0.0
    total = logits.exp_().sum(-1, keepdim=True)
    value = (total.log() - (1 - smoothing) * right - smoothing * mean).sum()
    logits.div_(total)
    if smoothing:
        logits.sub_(smoothing / n)
    logits.scatter_add_(-1, index, logits.new_full(index.shape, smoothing - 1))
    return value
