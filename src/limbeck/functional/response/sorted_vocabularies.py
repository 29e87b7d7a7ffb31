"""Predictions over two vocabularies that share no token: compared by their sorted probabilities alone.

Axis legend: n - rows, u - student positions, w - teacher positions, V and W - vocabularies.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.errors import DataError
from limbeck.functional.precision import Reduction, check_choice, check_positive, reduced, widened


def sorted_l1(
    logits_s: Tensor,
    logits_t: Tensor,
    *,
    mask_s: Tensor | None = None,
    mask_t: Tensor | None = None,
    temperature: float = 1.0,
    temperature_t: float | None = None,
    over_tokens: Literal["sum", "mean"] = "sum",
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Sorted probabilities agree, token by token; what the tokens are does not matter (ULD).

    .. math:: \sum_u \sum_i \big| p_s^{(i)}(u) - p_t^{(i)}(u) \big|

    with :math:`p^{(i)}` the i-th largest probability, 0 beyond the smaller vocabulary: a Wasserstein distance whose
    transport costs the same between any two tokens. The first position of the student that counts is compared with the
    first of the teacher that counts, and so on, up to the shorter answer.

    Args:
        logits_s: student logits at the positions that predict its answer, ``(n, u, V)``.
        logits_t: teacher logits or log-probabilities at those that predict its own, ``(n, w, W)``.
        mask_s: ``(n, u)``, positions that count (not 0); default all.     mask_t: ``(n, w)``, of the teacher.
        temperature: > 0, default 1, of the student.     temperature_t: of the teacher; default that of the student.
        over_tokens: ``sum`` (the paper), or ``mean``, as its code and others have it.
        reduction: ``mean`` over rows, ``sum``, or ``none`` for one value a row.
    Returns: in [0, 2] a token, 0 where the sorted probabilities agree; float32 or wider. A row without a token counts
        0; an empty batch gives 0.
    Needs: pairing by row; teacher logits.     Gradient: to ``logits_s`` only.
    Source: Boizard et al., TMLR 2025, arXiv 2402.12030, equations 5 and 6.  Deviation: see ``over_tokens``.
    Raises: DataError for shapes; ConfigError for temperatures; UnknownNameError.     Limits: it says nothing of *which*
        token; a shuffled teacher teaches most of it, so judge it beside one.
    Example:
        >>> z = torch.tensor([[[0.0, 3.0]]])
        >>> float(sorted_l1(z, z.flip(2)))
        0.0
    """
    check_choice("over_tokens", over_tokens, ("sum", "mean"))
    check_positive("temperature", temperature)
    temperature_t = temperature if temperature_t is None else temperature_t
    check_positive("temperature_t", temperature_t)
    if logits_s.dim() != 3 or logits_t.dim() != 3 or len(logits_s) != len(logits_t):
        raise DataError(
            f"logits must be (n, u, V) and (n, w, W) of the same rows, got {tuple(logits_s.shape)} and "
            f"{tuple(logits_t.shape)}"
        )
    s, t = widened(logits_s, logits_t.detach())
    place_s, shown_s = _answer(s, mask_s, "mask_s")
    place_t, shown_t = _answer(t, mask_t, "mask_t")
    length = min(s.shape[1], t.shape[1])
    shown = shown_s[:, :length] & shown_t[:, :length]
    rows, tokens = shown.nonzero(as_tuple=True)  # softmax and sort only what counts
    ours = (s[rows, place_s[rows, tokens]] / temperature).softmax(-1).sort(-1, descending=True).values
    theirs = (t[rows, place_t[rows, tokens]] / temperature_t).softmax(-1).sort(-1, descending=True).values
    missing = ours.shape[1] - theirs.shape[1]
    gap = (F.pad(ours, (0, max(-missing, 0))) - F.pad(theirs, (0, max(missing, 0)))).abs().sum(-1)
    if over_tokens == "mean":
        gap = gap / shown.sum(1).clamp(min=1)[rows]
    return reduced(gap.new_zeros(len(s)).index_add(0, rows, gap) + 0 * s.flatten(1).sum(1), reduction)


def _answer(x: Tensor, mask: Tensor | None, name: str) -> tuple[Tensor, Tensor]:
    """Positions ``(n, u)`` in which those that count come first, in their order, and whether each counts."""
    if mask is None:
        mask = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
    if mask.shape != x.shape[:2]:
        raise DataError(f"{name} must be {tuple(x.shape[:2])}, got {tuple(mask.shape)}")
    hidden = mask == 0
    place = hidden.to(torch.uint8).argsort(dim=1, stable=True)
    return place, ~hidden.gather(1, place)
