"""A distribution over many classes as its likeliest k, and the mass of all the rest.

Axis legend: V - classes, k - those that are kept, ... - any leading axes.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from limbeck.errors import ConfigError

LOG_ZERO = -1e4  # for log 0: a float16 holds it, its exponential is 0, and 0 times it is no NaN
Rest = Literal["spread", "renormalised"]


def likeliest(logits: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """The k likeliest classes of ``logits`` ``[..., V]``, ties and all in falling order.

    Returns: their numbers ``[..., k]`` int64, natural log-probabilities ``[..., k]`` and the log of the mass of all
        others ``[...]``, in float32 (float64 for float64); for log 0, :data:`LOG_ZERO`.

    Raises: ConfigError unless 1 <= k <= V.
    """
    if not 1 <= k <= logits.shape[-1]:
        raise ConfigError(
            f"The likeliest {k} of {logits.shape[-1]} classes cannot be kept; take k from 1 to that."
        )
    whole = torch.log_softmax(logits if logits.dtype == torch.float64 else logits.float(), dim=-1)
    log_probs, ids = whole.topk(k, dim=-1)
    # summed over the others: 1 less the sum of the k would lose a small rest to rounding
    rest = whole.scatter(-1, ids, -math.inf).logsumexp(-1)
    return ids, log_probs.clamp(min=LOG_ZERO), rest.clamp(min=LOG_ZERO)


def log_rest(log_probs: Tensor) -> Tensor:
    """Log of the mass ``[...]`` that log-probabilities ``[..., k]`` leave; :data:`LOG_ZERO` where they leave none."""
    mass = log_probs.double().exp().sum(-1).clamp(max=1.0)
    return torch.log1p(-mass).clamp(min=LOG_ZERO).to(log_probs.dtype)


def dense(ids: Tensor, log_probs: Tensor, rest: Tensor, n_classes: int, how: Rest = "spread") -> Tensor:
    """All log-probabilities ``[..., V]``.

    Args:
        how: ``spread``: the others share the rest evenly; ``renormalised``: the k sum to 1 and the others have
            :data:`LOG_ZERO`.

    Raises: ConfigError for another ``how``.
    """
    if how == "spread":
        n_others = n_classes - ids.shape[-1]
        others = rest - math.log(n_others) if n_others else rest
        return others.unsqueeze(-1).repeat(*[1] * rest.dim(), n_classes).scatter(-1, ids, log_probs)
    if how != "renormalised":
        raise ConfigError(f"The rest of a distribution is 'spread' or 'renormalised' away, not {how!r}.")
    whole = log_probs.new_full((*rest.shape, n_classes), LOG_ZERO)
    return whole.scatter(-1, ids, torch.log_softmax(log_probs, dim=-1))


def binned(logits: Tensor, ids: Tensor) -> Tensor:
    """Log-probabilities ``[..., k + 1]`` that ``logits`` ``[..., V]`` give to the classes ``ids`` and, last, to all
    others together."""
    whole = torch.log_softmax(logits.float(), dim=-1)
    kept = whole.gather(-1, ids)
    if ids.shape[-1] == logits.shape[-1]:  # a sum over nothing has no gradient
        return torch.cat([kept, torch.full_like(kept[..., :1], LOG_ZERO)], dim=-1)
    rest = whole.scatter(-1, ids, -math.inf).logsumexp(-1, keepdim=True)
    return torch.cat([kept, rest], dim=-1)
