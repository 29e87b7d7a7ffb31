"""Distillation over a large vocabulary without ever holding the logits.

Tokens pass in chunks: logits of a chunk, their divergence, its gradient in the same buffer, the gradients of hidden
states and head; then the buffers serve the next chunk. No recomputation, no (T, V) tensor.

Axis legend: T - tokens (all leading axes), h - student width, k - teacher width, V - vocabulary, c - tokens of a chunk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from limbeck.errors import ConfigError, DataError
from limbeck.functional.costs import once
from limbeck.functional.hand_gradients import wants_gradient
from limbeck.functional.precision import check_choice, check_finite, check_positive, without_autocast
from limbeck.functional.relations.pair_sums import slices

Divergence = Literal["forward_kl", "reverse_kl", "jsd"]
CACHED_ELEMENTS = 1 << 16  # rows whose buffers together stay in a CPU's second-level cache
CHUNK_ELEMENTS = {"cpu": 1 << 23, "other": 1 << 27}  # logits in one buffer: 32 MB, 512 MB of float32


@without_autocast
def fused_linear_divergence(
    hidden_s: Tensor,
    weight_s: Tensor,
    hidden_t: Tensor,
    weight_t: Tensor,
    *,
    kind: Divergence = "forward_kl",
    beta: float = 0.5,
    temperature: float = 1.0,
    labels: Tensor | None = None,
    ignore_index: int = -100,
    bias_s: Tensor | None = None,
    bias_t: Tensor | None = None,
    reduction: Literal["mean", "sum"] = "mean",
    chunk: int | Literal["auto"] = "auto",
    validate: bool = False,
) -> Tensor:
    r"""Divergence between what two language-model heads predict, token by token, straight from hidden states.

    With p, q the teacher's and the student's softmax at temperature T, and m = beta p + (1 - beta) q:

    .. math:: \text{forward\_kl}: KL(p \| q) \quad \text{reverse\_kl}: KL(q \| p) \quad
        \text{jsd}: \beta\, KL(p \| m) + (1 - \beta)\, KL(q \| m)

    Args:
        hidden_s: student hidden states, ``(..., h)``.      weight_s: student head, ``(V, h)``.
        hidden_t: teacher hidden states, ``(..., k)``.      weight_t: teacher head, ``(V, k)``, same vocabulary.
        kind: ``forward_kl``, ``reverse_kl`` or ``jsd``.
        beta: in [0, 1], default 0.5, for ``jsd``; 0 and 1 stand for the forward and the reverse KL, as in GKD.
        temperature: float > 0, default 1; the value is *not* multiplied by T^2 (multiply it to keep gradients alike
            over temperatures, as :func:`distillation_kl` does).
        labels: ``(...)`` int64; tokens labelled ``ignore_index`` are left out. Default: all tokens count.
        ignore_index: default -100.
        bias_s, bias_t: ``(V,)``, of the heads; finite (mask words by a large negative number, not by -inf).
        reduction: ``mean`` over the tokens that count, or ``sum``.
        chunk: tokens at a time; ``auto`` keeps a buffer at 32 MB (512 MB on an accelerator), at least 1 token.
        validate: refuse non-finite hidden states, naming the token.
    Returns: scalar in nats, >= 0 up to rounding; float32 or wider. 0 where no token counts.
    Needs: pairing by token; hidden states and head of the teacher; one vocabulary. Memory: the gradients of
        ``hidden_s`` and ``weight_s``, and two buffers of (chunk, V).
    Gradient: to ``hidden_s``, ``weight_s`` and ``bias_s``, computed in the forward pass and handed on without a
        copy (a second backward of a retained graph computes it again).
    Source: Agarwal et al., GKD, ICLR 2024, arXiv 2306.13649; gradients in the forward pass: Hsu et al., Liger Kernel,
        arXiv 2410.10989.  Deviation: none.
    Raises: DataError for shapes that do not fit; ConfigError for beta, temperature or chunk.
    """
    check_choice("kind", kind, tuple(_KINDS))
    check_choice("reduction", reduction, ("mean", "sum"))
    check_positive("temperature", temperature)
    if not 0 <= beta <= 1:
        raise ConfigError(f"beta must be in [0, 1], got {beta}")
    _check_shapes(hidden_s, weight_s, hidden_t, weight_t, labels)
    if kind == "jsd" and beta in (0, 1):
        kind = "forward_kl" if beta == 0 else "reverse_kl"
    s, t = hidden_s.flatten(0, -2), hidden_t.detach().flatten(0, -2)
    if validate:
        check_finite(s, "hidden_s")
        check_finite(t, "hidden_t")
    counted = None if labels is None else labels.flatten() != ignore_index
    teacher = t, weight_t.detach(), None if bias_t is None else bias_t.detach()
    settings = _Settings(kind, beta, temperature, reduction, _chunk_size(chunk, weight_s))
    return _Fused.apply(s, weight_s, bias_s, teacher, counted, settings, _wanted(s, weight_s, bias_s))


@dataclass(frozen=True)
class _Settings:
    kind: str
    beta: float
    temperature: float
    reduction: str
    chunk: int


def _check_shapes(
    hidden_s: Tensor, weight_s: Tensor, hidden_t: Tensor, weight_t: Tensor, labels: Tensor | None
) -> None:
    if hidden_s.shape[:-1] != hidden_t.shape[:-1] or (
        labels is not None and labels.shape != hidden_s.shape[:-1]
    ):
        raise DataError(
            "hidden_s (..., h), hidden_t (..., k) and labels (...) must name the same tokens, got "
            f"{tuple(hidden_s.shape)}, {tuple(hidden_t.shape)}, {None if labels is None else tuple(labels.shape)}"
        )
    if weight_s.shape[1:] != hidden_s.shape[-1:] or weight_t.shape[1:] != hidden_t.shape[-1:]:
        raise DataError(
            f"heads must be (V, h) and (V, k) for hidden states of width {hidden_s.shape[-1]} and "
            f"{hidden_t.shape[-1]}, got {tuple(weight_s.shape)} and {tuple(weight_t.shape)}"
        )
    if len(weight_s) != len(weight_t):
        raise DataError(
            f"student and teacher must share one vocabulary, got {len(weight_s)} and {len(weight_t)} words; cut both "
            "heads to the words they share, in one order"
        )


def _chunk_size(chunk: int | str, weight: Tensor) -> int:
    if chunk == "auto":
        elements = CHUNK_ELEMENTS["cpu" if weight.device.type == "cpu" else "other"]
        return max(1, elements // max(len(weight), 1))
    if not isinstance(chunk, int) or chunk < 1:
        raise ConfigError(f"chunk must be a number of tokens >= 1 or 'auto', got {chunk!r}")
    return chunk


def _wanted(*inputs: Tensor | None) -> tuple[bool, ...]:
    return tuple(x is not None and wants_gradient(x) for x in inputs)


class _Head:
    """Hidden states with the linear head that turns them into logits, both in one type."""

    def __init__(self, hidden: Tensor, weight: Tensor, bias: Tensor | None) -> None:
        self.dtype = torch.promote_types(hidden.dtype, weight.dtype)
        self.hidden, self.weight = hidden.to(self.dtype), weight.to(self.dtype)
        self.bias = None if bias is None else bias.to(self.dtype)

    def of(self, tokens: Tensor) -> _Head:
        return _Head(self.hidden[tokens], self.weight, self.bias)

    def logits(self, tokens: slice, temperature: float, out: Tensor) -> Tensor:
        """Logits over the temperature, ``(c, V)``, written over ``out``."""
        out = out[: tokens.stop - tokens.start]
        if self.dtype == out.dtype:
            torch.mm(self.hidden[tokens], self.weight.T, out=out)
        else:  # half precision: products in it, softmax in float32
            out.copy_(self.hidden[tokens] @ self.weight.T)
        if self.bias is not None:
            out.add_(self.bias)
        if temperature != 1:
            out.div_(temperature)
        return out


class _Gradients:
    """Sums over chunks of the gradients that are wanted; the others stay None."""

    def __init__(self, student: _Head, wanted: tuple[bool, ...], dtype: torch.dtype) -> None:
        self.hidden = torch.empty_like(student.hidden, dtype=dtype) if wanted[0] else None
        self.weight = torch.zeros_like(student.weight, dtype=dtype) if wanted[1] else None
        self.bias = student.weight.new_zeros(len(student.weight), dtype=dtype) if wanted[2] else None

    def add(self, student: _Head, tokens: slice, slope: Tensor, scale: float) -> None:
        """``slope * scale`` is the gradient to the logits ``(c, V)`` of these tokens."""
        if self.bias is not None:
            self.bias.add_(slope.sum(0), alpha=scale)
        slope = slope.to(student.dtype)
        if self.hidden is not None:
            torch.mul(slope @ student.weight, scale, out=self.hidden[tokens])
        if self.weight is not None and student.dtype == self.weight.dtype:
            self.weight.addmm_(slope.T, student.hidden[tokens], alpha=scale)
        elif self.weight is not None:
            self.weight.add_(slope.T @ student.hidden[tokens], alpha=scale)


# Each takes log q (student), log p (teacher) and two scratch buffers, all (c, V) and all overwritten, and returns
# the divergence of each row; log q then holds its gradient with respect to the student's scaled logits. Products are
# made in a buffer that is not needed again and summed there: ``bmm`` takes ten times as long for a row by a row.


def _forward_kl(log_q: Tensor, log_p: Tensor, p: Tensor, _: Tensor, beta: float) -> Tensor:
    torch.exp(log_p, out=p)
    rows = log_p.sub_(log_q).mul_(p).sum(1)
    log_q.exp_().sub_(p)
    return rows


def _reverse_kl(log_q: Tensor, log_p: Tensor, q: Tensor, _: Tensor, beta: float) -> Tensor:
    torch.exp(log_q, out=q)
    rows = log_q.sub_(log_p).mul_(q).sum(1)
    log_q.addcmul_(q, rows.unsqueeze(1), value=-1)
    return rows


def _jsd(log_q: Tensor, log_p: Tensor, q: Tensor, log_m: Tensor, beta: float) -> Tensor:
    p = torch.exp(log_p, out=log_m)
    torch.lerp(torch.exp(log_q, out=q), p, beta, out=log_m)
    log_m.clamp_min_(torch.finfo(log_m.dtype).tiny).log_()  # where p and q both underflow they add nothing
    of_q = log_q.sub_(log_m).mul_(q).sum(1)
    log_q.addcmul_(q, of_q.unsqueeze(1), value=-1).mul_(1 - beta)
    p = torch.exp(log_p, out=q)
    return beta * log_p.sub_(log_m).mul_(p).sum(1) + (1 - beta) * of_q


_KINDS = {"forward_kl": _forward_kl, "reverse_kl": _reverse_kl, "jsd": _jsd}


def _sum_over_chunks(
    student: _Head,
    teacher: _Head,
    s: _Settings,
    scale: float,
    gradients: _Gradients | None,
    dtype: torch.dtype,
) -> Tensor:
    n, weight = len(student.hidden), student.weight
    size, group = min(s.chunk, n), min(s.chunk, n)
    if weight.device.type == "cpu":  # the passes over a few rows stay inside the cache
        group = max(1, min(size, CACHED_ELEMENTS // max(len(weight), 1)))
    logits = [weight.new_empty(size, len(weight), dtype=dtype) for _ in range(2)]
    scratch = [weight.new_empty(group, len(weight), dtype=dtype) for _ in range(2)]
    total = weight.new_zeros((), dtype=dtype)
    for tokens in slices(0, n, s.chunk):
        log_q = student.logits(tokens, s.temperature, logits[0])
        log_p = teacher.logits(tokens, s.temperature, logits[1])
        for rows in slices(0, len(log_q), group):
            q, p = (torch.log_softmax(x[rows], 1, out=x[rows]) for x in (log_q, log_p))
            total += _KINDS[s.kind](q, p, scratch[0][: len(q)], scratch[1][: len(q)], s.beta).sum()
        if gradients is not None:
            gradients.add(student, tokens, log_q, scale / s.temperature)
    return total * scale


_Inputs = tuple[Tensor, Tensor, Tensor | None]  # hidden states, weight, bias


def _computed(
    of_student: _Inputs, of_teacher: _Inputs, counted: Tensor | None, s: _Settings, wanted: tuple[bool, ...]
) -> tuple[Tensor, _Gradients | None]:
    """Value and wanted gradients over the tokens that count."""
    student, teacher = _Head(*of_student), _Head(*of_teacher)
    dtype = torch.float64 if student.dtype == torch.float64 else torch.float32
    if counted is not None:
        student, teacher = student.of(counted), teacher.of(counted)
    scale = 1.0 / max(len(student.hidden), 1) if s.reduction == "mean" else 1.0
    gradients = _Gradients(student, wanted, dtype) if any(wanted) else None
    return _sum_over_chunks(student, teacher, s, scale, gradients, dtype), gradients


class _Fused(torch.autograd.Function):
    """The sum over chunks; its gradients are ready when the value is, and are handed on without a copy."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, teacher: _Inputs, counted: Tensor | None,
        settings: _Settings, wanted: tuple[bool, ...],
    ) -> Tensor:  # fmt: skip
        value, ctx.gradients = _computed((hidden, weight, bias), teacher, counted, settings, wanted)
        ctx.save_for_backward(hidden, weight, bias)
        ctx.teacher, ctx.counted, ctx.settings, ctx.wanted = teacher, counted, settings, wanted
        return value

    @staticmethod
    def backward(ctx: Any, grad: Tensor):
        hidden, weight, bias = ctx.saved_tensors
        found, ctx.gradients = ctx.gradients, None
        if found is None:  # a second backward of a retained graph: the first took the gradients with it
            with torch.no_grad():
                inputs = hidden, weight, bias
                _, found = _computed(inputs, ctx.teacher, ctx.counted, ctx.settings, ctx.wanted)
        to_hidden = found.hidden
        if to_hidden is not None and ctx.counted is not None:
            to_hidden = to_hidden.new_zeros(hidden.shape).index_put_((ctx.counted,), to_hidden)
        gradients = ((to_hidden, hidden), (found.weight, weight), (found.bias, bias))
        del found, to_hidden
        return *(_scaled(g, x, grad) for g, x in gradients), None, None, None, None


def _scaled(gradient: Tensor | None, x: Tensor, grad: Tensor) -> Tensor | None:
    if gradient is None:
        return None
    return once(gradient.mul_(grad), x, "fused_linear_divergence").to(x.dtype)
