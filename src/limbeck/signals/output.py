"""What a teacher says about a batch of inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from limbeck.errors import MissingSignalError

Head = tuple[Tensor, Tensor | None]  # the classifier: weight [C, D], bias [C]
AccessLevel = Literal["weights", "logits", "features", "text"]
SIGNALS = ("features", "logits", "log_probs", "hidden_states", "prediction", "text")

# The access level that a teacher must offer for each signal, for the sentence that refuses a method.
ACCESS_OF_SIGNAL: dict[str, AccessLevel] = {
    "features": "features",
    "hidden_states": "weights",
    "logits": "logits",
    "log_probs": "logits",
    "prediction": "features",
    "head": "weights",
    "text": "text",
}


@dataclass
class TeacherOutput:
    """What a teacher says about ``m`` inputs; missing is missing (``None``), never a placeholder.

    Args:
        features: ``[m, D]``, the teacher's representation.
        logits: ``[m, C]``, before softmax.
        log_probs: ``[m, C]``, when only probabilities exist; natural logarithm, rows log-sum to 0. Never
            stored as float16 probabilities, which underflow.
        hidden_states: layer name to ``[m, ...]``.
        prediction: ``[m, ...]``, of a teacher that classifies nothing: a denoised sample, boxes.
        text: ``m`` strings (rationales, captions, answers).
        labels: ``[m]`` int64, the ground truth where known, -100 = unknown.
        keys: ``m`` identifiers, all ``str`` or all ``int``.
        head: the teacher's classifier as ``(weight [C, D], bias [C] or None)``.
        inputs: samples (column to rows) that a live teacher has yet to be asked about; then nothing else is there.
        counts: what happened to how many of the rows (``truncated``: inputs that were cut); a bank notes the sums.
    """

    features: Tensor | None = None
    logits: Tensor | None = None
    log_probs: Tensor | None = None
    hidden_states: dict[str, Tensor] = field(default_factory=dict)
    prediction: Tensor | None = None
    text: list[str] | None = None
    labels: Tensor | None = None
    keys: Sequence[Any] | None = None
    head: Head | None = None
    inputs: dict[str, Any] | None = None
    counts: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        whole = (
            self.features,
            self.logits,
            self.log_probs,
            self.prediction,
            self.labels,
            self.text,
            self.keys,
        )
        for value in whole:
            if value is not None:
                return len(value)
        columns = self.hidden_states or self.inputs or {}
        return len(next(iter(columns.values()))) if columns else 0

    @property
    def signals(self) -> frozenset[str]:
        """Names of the signals that are present (``logits`` includes ``log_probs``: one gives the other)."""
        present = {name for name in (*SIGNALS, "labels", "head") if getattr(self, name) is not None}
        if not self.hidden_states:
            present.discard("hidden_states")
        return frozenset(present)

    def __getitem__(self, name: str) -> Any:
        """A signal by name.

        Raises: MissingSignalError naming what there is.
        """
        value = getattr(self, name) if name in SIGNALS or name == "head" else None
        if value is None or (name == "hidden_states" and not value):
            have = ", ".join(sorted(self.signals)) or "nothing"
            raise MissingSignalError(
                f"The teacher said no {name!r} here, only {have}; name it in the method's needs."
            )
        return value

    def rows(self, index: Tensor) -> TeacherOutput:
        """The given rows (numbers, or a mask ``[m]``)."""
        picked = self.map_tensors(lambda value: value[index])
        if self.text is None:
            return picked
        numbers = torch.arange(len(self.text))[index.cpu()].tolist()
        return replace(picked, text=[self.text[i] for i in numbers])

    def map_tensors(self, fn: Callable[[Tensor], Tensor]) -> TeacherOutput:
        """A copy with ``fn`` applied to every tensor (a move to a device, a cast, a selection of rows)."""

        def apply(value: Tensor | None) -> Tensor | None:
            return None if value is None else fn(value)

        return replace(
            self,
            features=apply(self.features),
            logits=apply(self.logits),
            log_probs=apply(self.log_probs),
            hidden_states={name: fn(value) for name, value in self.hidden_states.items()},
            prediction=apply(self.prediction),
            labels=apply(self.labels),
        )

    def log_predictions(self) -> Tensor:
        """Log-probabilities ``[m, C]`` in float32, of the logits or of the stored log-probabilities."""
        values = self.logits if self.logits is not None else self["log_probs"]
        return torch.log_softmax(values.float(), dim=-1)
