"""What a model says, without the positions that are padding and with the likeliest classes alone.

Axis legend: m rows, L positions, V classes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from limbeck.signals.output import TeacherOutput
from limbeck.signals.ragged import Ragged
from limbeck.signals.top_k import TopK


def compacted(said: TeacherOutput, mask: Tensor | None, top_k: int | None) -> TeacherOutput:
    """``said`` with rows of different lengths for its padded ones, and with TopK for logits.

    Args:
        said: features, logits and hidden states, at every position ``[m, L, ...]`` or for a whole row ``[m, ...]``.
        mask: ``[m, L]``, not 0 at the positions that count; None = leave them as they are.
        top_k: how many classes are kept; None = all. Of whole rows they become ``log_probs``, at positions ``tokens``.

    Raises: ConfigError for more than V.
    """

    def shown(value: Any) -> Any:
        fits = mask is not None and value is not None and value.dim() > 2 and value.shape[:2] == mask.shape
        return Ragged.shown(value, mask.to(value.device)) if fits and mask is not None else value

    logits = shown(said.logits)
    hidden = {name: shown(state) for name, state in said.hidden_states.items()}
    kept = replace(said, features=shown(said.features), logits=logits, hidden_states=hidden)
    if top_k is None or logits is None:
        return kept
    if isinstance(logits, Ragged):
        return replace(kept, logits=None, tokens=replace(logits, values=TopK.of(logits.values, top_k)))
    likeliest: Any = TopK.of(logits, top_k)
    name = "tokens" if logits.dim() > 2 else "log_probs"
    return replace(kept, logits=None, **{name: likeliest})
