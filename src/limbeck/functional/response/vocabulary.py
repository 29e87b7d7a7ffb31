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
from limbeck.functional.response.vocabulary_head import HeadGradients, LogitForm, VocabularyHead, chunk_size

Divergence = Literal["forward_kl", "reverse_kl", "jsd"]
CACHED_ELEMENTS = 1 << 16  # rows whose buffers together stay in a CPU's second-level cache


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
    scale_s: float = 1.0,
    scale_t: float = 1.0,
    softcap_s: float | None = None,
    softcap_t: float | None = None,
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
        scale_s, scale_t: float > 0, what a model multiplies its logits with: Cohere's ``logit_scale``, 1 over Granite's
            ``logits_scaling``. Default 1.
        softcap_s, softcap_t: float > 0, Gemma's ``final_logit_softcapping``: logits x become c tanh(x / c), after the
            scale and before the temperature. Default: none.
        reduction: ``mean`` over the tokens that count, or ``sum``.
        chunk: tokens at a time; ``auto`` keeps a buffer at 32 MB (512 MB on an accelerator), at least 1 token.
        validate: refuse non-finite hidden states, naming the token.
    Returns: scalar in nats, >= 0 up to rounding; float32 or wider. 0 where no token counts. Products are summed in
        float32 also where hidden states and heads are of half precision.
    Needs: pairing by token; hidden states and head of the teacher; one vocabulary. Memory: the gradients of
        ``hidden_s`` and ``weight_s``, and two buffers of (chunk, V).
    Gradient: to ``hidden_s``, ``weight_s`` and ``bias_s``, computed in the forward pass and handed on without a
        copy (a second backward of a retained graph computes it again).
    Source: Agarwal et al., GKD, ICLR 2024, arXiv 2306.13649; gradients in the forward pass: Hsu et al., Liger Kernel,
        arXiv 2410.10989.  Deviation: none.
    Raises: DataError for shapes that do not fit; ConfigError for beta, temperature, scale, softcap or chunk.
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
    forms = LogitForm(scale_s, softcap_s), LogitForm(scale_t, softcap_t)
    settings = _Settings(kind, beta, temperature, reduction, chunk_size(chunk, weight_s), *forms)
    return _Fused.apply(s, weight_s, bias_s, teacher, counted, settings, _wanted(s, weight_s, bias_s))


@dataclass(frozen=True)
class _Settings:
    kind: str
    beta: float
    temperature: float
    reduction: str
    chunk: int
    form_s: LogitForm
    form_t: LogitForm


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


def _wanted(*inputs: Tensor | None) -> tuple[bool, ...]:
    return tuple(x is not None and wants_gradient(x) for x in inputs)


# Each takes the logits of student and teacher and two scratch buffers, all (c, V) and all overwritten, and returns the
# divergence of each row; the student's logits then hold its gradient with respect to them. Probabilities come of one
# fused softmax a side, and what it was divided by of the largest of them: an exponential a logit, where logarithms of
# probabilities would take two. Normalisers stay outside the sums: sum p (z_p - z_q) = KL(p||q) + lse_p - lse_q.


def _softmax(logits: Tensor, out: Tensor) -> Tensor:
    """Probabilities in ``out``; the logarithms of the sums of exponentials ``(c, 1)``, of logits that are moved to a
    largest of 0 first: a gradient near 0 is a difference of numbers as large as they are."""
    logits.sub_(logits.amax(1, keepdim=True))
    torch.softmax(logits, 1, out=out)
    return out.amax(1, keepdim=True).log_().neg_()


def _forward_kl(z_q: Tensor, z_p: Tensor, p: Tensor, q: Tensor, beta: float) -> Tensor:
    gap = _softmax(z_p, p) - _softmax(z_q, q)
    rows = z_p.sub_(z_q).mul_(p).sum(1) - gap.squeeze(1)
    torch.sub(q, p, out=z_q)
    return rows


def _reverse_kl(z_q: Tensor, z_p: Tensor, p: Tensor, q: Tensor, beta: float) -> Tensor:
    gap = _softmax(z_q, q) - _softmax(z_p, p)
    unshifted = z_q.sub_(z_p).mul_(q).sum(1, keepdim=True)
    z_q.addcmul_(q, unshifted, value=-1)
    return (unshifted - gap).squeeze(1)


def _jsd(z_q: Tensor, z_p: Tensor, p: Tensor, q: Tensor, beta: float) -> Tensor:
    lse_p, lse_q = _softmax(z_p, p), _softmax(z_q, q)
    of_p = z_p.mul_(p).sum(1, keepdim=True) - lse_p
    log_m = torch.lerp(q, p, beta, out=z_p)
    log_m.clamp_min_(torch.finfo(log_m.dtype).tiny).log_()  # where p and q both underflow they add nothing
    of_p -= p.mul_(log_m).sum(1, keepdim=True)
    of_q = z_q.sub_(log_m).mul_(q).sum(1, keepdim=True)
    z_q.addcmul_(q, of_q, value=-1).mul_(1 - beta)
    return (beta * of_p + (1 - beta) * (of_q - lse_q)).squeeze(1)


_KINDS = {"forward_kl": _forward_kl, "reverse_kl": _reverse_kl, "jsd": _jsd}


def _sum_over_chunks(
    student: VocabularyHead,
    teacher: VocabularyHead,
    s: _Settings,
    scale: float,
    gradients: HeadGradients | None,
) -> Tensor:
    n, weight = len(student.hidden), student.weight
    size, group = min(s.chunk, n), min(s.chunk, n)
    if weight.device.type == "cpu":  # the passes over a few rows stay inside the cache
        group = max(1, min(size, CACHED_ELEMENTS // max(len(weight), 1)))
    dtype = torch.promote_types(student.dtype, teacher.dtype)
    logits = [weight.new_empty(size, len(weight), dtype=dtype) for _ in range(2)]
    bent = student.form.softcap is not None
    scratch = [weight.new_empty(group, len(weight), dtype=dtype) for _ in range(3 if bent else 2)]
    total = weight.new_zeros((), dtype=dtype)
    for tokens in slices(0, n, s.chunk):
        z_q = student.logits(tokens, s.temperature, logits[0])
        z_p = teacher.logits(tokens, s.temperature, logits[1])
        for rows in slices(0, len(z_q), group):
            q, p = z_q[rows], z_p[rows]
            bend = student.bend(q, s.temperature, scratch[-1][: len(q)])
            total += _KINDS[s.kind](q, p, scratch[0][: len(q)], scratch[1][: len(q)], s.beta).sum()
            if bend is not None:
                q.mul_(bend)
        if gradients is not None:
            gradients.add(tokens, z_q, scale / s.temperature)
    return total * scale


_Inputs = tuple[Tensor, Tensor, Tensor | None]  # hidden states, weight, bias


def _computed(
    of_student: _Inputs, of_teacher: _Inputs, counted: Tensor | None, s: _Settings, wanted: tuple[bool, ...]
) -> tuple[Tensor, HeadGradients | None]:
    """Value and wanted gradients over the tokens that count."""
    student, teacher = (
        VocabularyHead(*given, form) for given, form in ((of_student, s.form_s), (of_teacher, s.form_t))
    )
    if counted is not None:
        student, teacher = student.of(counted), teacher.of(counted)
    scale = 1.0 / max(len(student.hidden), 1) if s.reduction == "mean" else 1.0
    gradients = HeadGradients(student, wanted) if any(wanted) else None
    return _sum_over_chunks(student, teacher, s, scale, gradients), gradients


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
