"""What a teacher says about a batch of inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from limbeck.errors import DataError, MissingSignalError
from limbeck.functional.response.vocabulary_head import LogitForm
from limbeck.signals.ragged import Ragged, mapped, rows_of
from limbeck.signals.tensors import tensor_of
from limbeck.signals.top_k import TopK

Head = tuple[Tensor, Tensor | None]  # the classifier: weight [C, D], bias [C]
AccessLevel = Literal["weights", "logits", "features", "text"]
# boxes in absolute or relative units, as the problem has them: x0, y0, x1, y1
BOXES = ("boxes", "box_labels", "box_scores")
SIGNALS = ("features", "logits", "log_probs", "tokens", *BOXES, "hidden_states", "prediction", "text")
# a tensor, a Ragged or a TopK each
_NUMBERS = tuple(name for name in SIGNALS if name not in ("hidden_states", "text"))

# The access level that a teacher must offer for each signal, for the sentence that refuses a method.
ACCESS_OF_SIGNAL: dict[str, AccessLevel] = {
    "features": "features",
    "hidden_states": "weights",
    "logits": "logits",
    "log_probs": "logits",
    "tokens": "logits",
    "boxes": "logits",
    "box_labels": "logits",
    "box_scores": "logits",
    "prediction": "features",
    "head": "weights",
    "text": "text",
}


@dataclass
class TeacherOutput:
    """What a teacher says about ``m`` inputs; missing is missing (``None``), never a placeholder.

    Numbers are tensors, or a :class:`~limbeck.signals.Ragged` where rows have different lengths (token states of
    texts, say); ``log_probs`` over many classes may be a :class:`~limbeck.signals.TopK`.

    Args:
        features: ``[m, D]``, the teacher's representation.
        logits: ``[m, C]``, before softmax.
        log_probs: ``[m, C]``, when only probabilities exist; natural logarithm, rows log-sum to 0. Never
            stored as float16 probabilities, which underflow.
        tokens: a Ragged of :class:`~limbeck.signals.TopK` (or a TopK ``[m, L, k]``): what a language model holds likely
            at each token of a text.
        boxes: ``[l_i, 4]`` a row (or ``[m, A, 4]``): x0, y0, x1, y1.    box_labels: ``[l_i]``, class numbers.
        box_scores: ``[l_i]``, or ``[l_i, C]``.
        hidden_states: layer name to ``[m, ...]``.
        prediction: ``[m, ...]``, of a teacher that classifies nothing: a denoised sample, a vector.
        text: ``m`` strings (rationales, captions, answers).
        labels: ``[m]`` int64, the ground truth where known, -100 = unknown.
        keys: ``m`` identifiers, all ``str`` or all ``int``.
        head: the teacher's classifier as ``(weight [C, D], bias [C] or None)``.
        form: what a language model makes of its head's products (a scale, a cap); None = nothing.
        inputs: samples (column to rows) that a live teacher has yet to be asked about; then nothing else is there.
        counts: what happened to how many of the rows (``truncated``: inputs that were cut); a bank notes the sums.
    """

    features: Tensor | None = None
    logits: Tensor | None = None
    log_probs: Tensor | None = None
    tokens: TopK | Ragged | None = None
    boxes: Tensor | Ragged | None = None
    box_labels: Tensor | Ragged | None = None
    box_scores: Tensor | Ragged | None = None
    hidden_states: dict[str, Tensor] = field(default_factory=dict)
    prediction: Tensor | None = None
    text: list[str] | None = None
    labels: Tensor | None = None
    keys: Sequence[Any] | None = None
    head: Head | None = None
    form: LogitForm | None = None
    inputs: dict[str, Any] | None = None
    counts: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        for name in (*_NUMBERS, "labels", "text", "keys"):
            if (value := getattr(self, name)) is not None:
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
        picked = self._each(lambda value: rows_of(value, index))
        if self.text is None:
            return picked
        numbers = torch.arange(len(self.text))[index.cpu()].tolist()
        return replace(picked, text=[self.text[i] for i in numbers])

    def map_tensors(self, fn: Callable[[Tensor], Tensor]) -> TeacherOutput:
        """A copy with ``fn``, a move to a device or a cast, applied to every tensor (lengths and class numbers of a
        Ragged or TopK only move)."""
        return self._each(lambda value: mapped(value, fn))

    def _each(self, fn: Callable[[Any], Any]) -> TeacherOutput:
        names = (*_NUMBERS, "labels")
        found = {name: fn(as_signal(name, v)) for name in names if (v := getattr(self, name)) is not None}
        return replace(self, **found, hidden_states={n: fn(v) for n, v in self.hidden_states.items()})

    def log_predictions(self) -> Tensor:
        """Log-probabilities ``[m, C]`` in float32, of the logits or of the stored log-probabilities; of the likeliest
        k, the rest is spread evenly over the others.

        Raises: DataError where rows have different lengths.
        """
        values = self.logits if self.logits is not None else self["log_probs"]
        if isinstance(values, Ragged):
            raise DataError(
                "The teacher's predictions have rows of different lengths; read values and mask with .padded()."
            )
        values = values.dense() if isinstance(values, TopK) else values
        return torch.log_softmax(values.float(), dim=-1)


def as_signal(name: str, value: Any, what: str = "") -> Any:
    """A signal as it is handed in: a tensor of arrays, and a Ragged of a list of arrays ``[l_i, ...]`` of different
    lengths; the rows of boxes make one also where they happen to have one length.

    Args:
        what: what to call it in the error; default: ``name``.

    Raises: DataError for what is no array of numbers.
    """
    if name in ("boxes", "box_scores"):  # in whole pixels perhaps
        return _floating(value, what or name)
    if value is None or isinstance(value, (Tensor, Ragged, TopK)):
        return value
    if name == "text":
        return list(value)
    if name == "hidden_states":
        return {layer: as_signal(layer, state, f"hidden_states[{layer!r}]") for layer, state in value.items()}
    if isinstance(value, (list, tuple)) and value and (name in BOXES or _differ(value)):
        return Ragged.of(value)
    return tensor_of(value, what or name)


def _floating(value: Any, what: str) -> Any:
    if isinstance(value, (list, tuple)) and value:
        rows = [tensor_of(row, what) for row in value]
        return Ragged.of([row if row.is_floating_point() else row.float() for row in rows])
    if value is None or isinstance(value, TopK):
        return value
    whole = value if isinstance(value, Ragged) else tensor_of(value, what)
    return mapped(whole, lambda numbers: numbers if numbers.is_floating_point() else numbers.float())


def _differ(rows: Sequence[Any]) -> bool:
    """Whether the rows have different lengths, or keep the likeliest of their classes; not vectors, whose widths are a
    mistake."""
    return any(isinstance(row, TopK) for row in rows) or (
        len({len(row) for row in rows if isinstance(row, (Tensor, np.ndarray)) and row.ndim > 1}) > 1
    )
