"""What a student shows of a batch."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class StudentOutput:
    """Student outputs for ``n`` rows.

    Args:
        features: ``[n, d]``, the input of the head, before dropout; one row per row of logits
            (multiple choice: their mean over the choices).
        logits: ``[n, C]``; multiple choice: ``[n, K]``, one for each choice.
        hidden_states: module path to its output ``[n, ...]``, for the layers that a method asked for.
    """

    features: Tensor
    logits: Tensor
    hidden_states: dict[str, Tensor] = field(default_factory=dict)

    def rows(self, index: Tensor | slice) -> StudentOutput:
        """The outputs of some rows."""
        return StudentOutput(
            self.features[index],
            self.logits[index],
            {name: value[index] for name, value in self.hidden_states.items()},
        )
