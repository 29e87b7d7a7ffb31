"""How likely a student holds tokens, a run of positions at a time: the logits of all positions are never made.

Axis legend: n rows, L positions of a row, T positions that count, d width, V tokens of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.functional.precision import widened, without_autocast
from limbeck.functional.response.vocabulary_head import CHUNK_ELEMENTS, LogitForm
from limbeck.functional.response.vocabulary_loss import head_cross_entropy
from limbeck.problems.base import Shown
from limbeck.signals.output import Head


def plain_head(out: Shown, vocabulary: int) -> tuple[Tensor, Head, LogitForm] | None:
    """What enters the student's head, ``[n, L, d]``, the head cut to the first ``vocabulary`` tokens (0 = all), and
    what the model makes of its products; None where that is more than a scale and a cap, or the logits have been made.
    """
    entered = getattr(out, "entered_plainly", None)
    if entered is None:
        return None
    weight, bias = out.head
    n = vocabulary or len(weight)
    return entered, (weight[:n], None if bias is None else bias[:n]), out.form


def logits_at(out: Shown, where: Tensor, vocabulary: int) -> Tensor:
    """Logits ``[T, V]`` where ``where [n, L]`` is true; tokens beyond the vocabulary (0 = all) are cut off."""
    plain = plain_head(out, vocabulary)
    if plain is None:
        return out.logits[where][:, : vocabulary or None]
    entered, head, form = plain
    return head_logits(entered[where], *head, form)


@without_autocast
def head_logits(states: Tensor, weight: Tensor, bias: Tensor | None, form: LogitForm | None = None) -> Tensor:
    """``[T, V]`` of states ``[T, d]``, never rounded to half precision: near 100 bfloat16 has steps of 0.5."""
    products = F.linear(*widened(*(part for part in (states, weight, bias) if part is not None)))
    return products if form is None else form.of(products)


def token_cross_entropy(
    out: Shown, where: Tensor, wanted: Tensor, vocabulary: int, smoothing: float = 0.0
) -> Tensor:
    """Sum of the cross-entropies at the positions ``where [n, L]``, whose tokens are ``wanted [T]``; 0, with a gradient
    path, where there is none."""
    plain = plain_head(out, vocabulary)
    if plain is not None:
        entered, (weight, bias), form = plain
        return head_cross_entropy(
            entered[where],
            weight,
            wanted,
            bias=bias,
            label_smoothing=smoothing,
            scale=form.scale,
            softcap=form.softcap,
        )
    (logits,) = widened(logits_at(out, where, vocabulary))
    return F.cross_entropy(logits, wanted, label_smoothing=smoothing, reduction="sum")


@torch.no_grad()
def token_log_likelihoods(out: Shown, where: Tensor, wanted: Tensor, vocabulary: int) -> Tensor:
    """``[T]`` log-probability of each wanted token, without gradient."""
    found = [
        F.log_softmax(logits, -1).gather(-1, tokens[:, None]).squeeze(-1)
        for logits, tokens in _runs(out, where, wanted, vocabulary)
    ]
    return torch.cat(found) if found else torch.zeros(0, device=wanted.device)


def _runs(out: Shown, where: Tensor, wanted: Tensor, vocabulary: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Widened logits of some positions at a time, with their tokens."""
    plain = plain_head(out, vocabulary)
    if plain is None:
        if len(wanted):
            yield widened(logits_at(out, where, vocabulary))[0], wanted
        return
    entered, (weight, bias), form = plain
    rows = entered[where]
    size = max(1, CHUNK_ELEMENTS["cpu" if rows.device.type == "cpu" else "other"] // len(weight))
    for first in range(0, len(rows), size):
        part = slice(first, first + size)
        yield head_logits(rows[part], weight, bias, form), wanted[part]


def summed_by_row(values: Tensor, where: Tensor) -> Tensor:
    """``[n]`` sums over each row of values ``[T]`` at the positions ``where [n, L]``."""
    whole = values.new_zeros(where.shape).masked_scatter_(where, values)
    return whole.sum(-1)
