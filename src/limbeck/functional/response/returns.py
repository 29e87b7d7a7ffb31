"""What a sequence of tokens that the student wrote is worth to the teacher, from each token on.

Axis legend: n - rows, l - tokens.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from limbeck.errors import DataError
from limbeck.functional.precision import check_choice, check_share, widened

HIDDEN = 1e-4  # what a hidden token counts in the length, so that a row without a token divides by no zero


def discounted_returns(
    log_probs_s: Tensor,
    log_probs_t: Tensor,
    *,
    mask: Tensor | None = None,
    gamma: float = 1.0,
    by_length: bool = True,
    variant: Literal["paper", "trl"] = "paper",
) -> Tensor:
    r"""How much likelier the teacher finds what comes from each token on than the student does (MiniLLM).

    .. math:: A_t = \frac{\sum_{i \ge t} \gamma^{i - t} r_i}{\sum_{i \ge t} \gamma^{i - t}}, \qquad
        r_i = \log p(y_i) - \log q(y_i)

    The gradient of the reverse divergence of whole answers weighs the student's log-likelihood of each token by it; the
    rest of that gradient, of the token itself, is exact: ``divergence(..., kind="reverse_kl")``.

    Args:
        log_probs_s: the student's log-probabilities of the tokens, ``(n, l)``.     log_probs_t: the teacher's.
        mask: ``(n, l)``, tokens that count (not 0); default all.
        gamma: in [0, 1], default 1; 0 gives the rewards themselves.
        by_length: divide by the (discounted) number of tokens to come, so that long answers are not preferred.
        variant: ``paper`` as above; ``trl``: without ``by_length`` the discount runs from the first token of the row,
            :math:`\gamma^i`, so that late tokens are damped twice.
    Returns: ``(n, l)``, nats, detached; float32 or wider; 0 at tokens that are followed, themselves included, by none
        that counts.
    Needs: pairing by row and token.     Gradient: none, it is a weight.
    Source: Gu et al., ICLR 2024, arXiv 2306.08543, section 2.2.  Deviation: a discount, as in TRL; see ``variant``.
    Raises: DataError for shapes; ConfigError for gamma; UnknownNameError for the variant.
    Example:
        >>> discounted_returns(torch.tensor([[-1.0, -1.0]]), torch.tensor([[-2.0, -5.0]]), by_length=False)
        tensor([[-5., -4.]])
    """
    check_choice("variant", variant, ("paper", "trl"))
    check_share("gamma", gamma)
    if log_probs_s.dim() != 2 or log_probs_s.shape != log_probs_t.shape:
        raise DataError(
            f"log-probabilities must both be (n, tokens), got {tuple(log_probs_s.shape)} and {tuple(log_probs_t.shape)}"
        )
    if mask is not None and mask.shape != log_probs_s.shape:
        raise DataError(f"mask must be {tuple(log_probs_s.shape)}, got {tuple(mask.shape)}")
    s, t = widened(log_probs_s.detach(), log_probs_t.detach())
    shown = torch.ones_like(s, dtype=torch.bool) if mask is None else mask != 0
    reward = torch.where(shown, t - s, 0.0)
    if gamma == 0:
        return reward
    length = s.shape[1]
    steps = torch.arange(length, device=s.device, dtype=s.dtype)
    ahead = steps[None, :] - steps[:, None]  # (l, l): how far token i comes after token t
    power = torch.where(ahead >= 0, gamma ** ahead.clamp(min=0), 0.0)
    total = reward @ power.T
    if by_length:
        return total / (torch.where(shown, 1.0, HIDDEN).to(s.dtype) @ power.T)
    return total * gamma**steps if variant == "trl" else total
