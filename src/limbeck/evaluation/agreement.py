"""How near a student is to its teacher, on rows that both answered."""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.problems.metric import AGREEMENT, TEACHER_GAP


def agreement(logits_s: Tensor, log_p_t: Tensor) -> dict[str, float]:
    r"""The share of rows on which both name the same class, and the mean divergence :math:`KL(p_t \| p_s)` in nats.

    A student that gains without coming nearer to its teacher gained by something else than imitation.

    Args:
        logits_s: ``[n, C]``.    log_p_t: ``[n, C]`` log-probabilities.
    Source: Stanton et al., Does knowledge distillation really work?, NeurIPS 2021, arXiv:2106.05945, section 3.
    """
    log_p_s = logits_s.float().log_softmax(-1)
    log_p_t = log_p_t.float()
    same = (log_p_s.argmax(-1) == log_p_t.argmax(-1)).double().mean()
    p_t = log_p_t.exp()
    gap = torch.where(p_t > 0, p_t * (log_p_t - log_p_s), 0.0).sum(-1).double().mean()
    return {AGREEMENT.name: float(same), TEACHER_GAP.name: float(gap)}
