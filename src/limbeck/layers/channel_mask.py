"""A mask over the channels of a feature vector, which the channels decide together (MST-Distill's MaskNet)."""

from __future__ import annotations

from torch import Tensor, nn


class ChannelMask(nn.Module):
    """Shares in (0, 1) of each channel of ``[n, d]``: a token of ``hidden`` numbers for each, and attention over them.

    The tokens come from one linear layer of ``d * d * hidden`` weights.
    """

    def __init__(self, width: int, hidden: int = 16, heads: int = 2) -> None:
        super().__init__()
        self.width, self.hidden = width, hidden
        self.embed = nn.Linear(width, hidden * width)
        self.attend = nn.MultiheadAttention(hidden, heads, batch_first=True)
        self.decide = nn.Linear(hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(x).unflatten(1, (self.width, self.hidden))
        seen, _ = self.attend(tokens, tokens, tokens, need_weights=False)
        return self.decide(seen)[..., 0].sigmoid()
