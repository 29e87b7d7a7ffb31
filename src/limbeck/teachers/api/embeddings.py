"""``kind="embeddings"``: a vector for each text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from limbeck.banks.answers import Answer
from limbeck.errors import ConfigError, DataError, InconsistentOutputError
from limbeck.signals.output import AccessLevel, TeacherOutput
from limbeck.teachers.api.endpoint_kind import Ask
from limbeck.teachers.api.questions import BadAnswer, Refused, WrongAnswer
from limbeck.teachers.api.said.vectors import vectors_in

_CHARACTERS_A_TOKEN = 4  # of English; only for estimates


class Embeddings:
    """Vectors of texts, ``[m, D]``, as the bank's ``features``.

    Args:
        dimensions: width to ask for, where the model offers several; ``None`` = its own.
        inputs_per_request: texts in one request, >= 1.
    """

    path = "/embeddings"
    access: AccessLevel = "features"
    class_names: tuple[str, ...] | None = None
    max_spread = 1e-2
    takes_time = False

    def __init__(self, *, dimensions: int | None = None, inputs_per_request: int = 64) -> None:
        for name, value in (("dimensions", dimensions), ("inputs_per_request", inputs_per_request)):
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be at least 1; it is {value}.")
        self.dimensions, self.inputs_per_request = dimensions, inputs_per_request
        self.width = dimensions
        self.notes: dict[str, Any] = {}

    def parameters(self) -> dict[str, Any]:
        return {"dimensions": self.dimensions}

    settings = parameters

    def prepare(self, inputs: Mapping[str, Any], ask: Ask) -> None:
        """Nothing depends on the first answer but the width, which :meth:`learn` is told."""

    def payloads(self, inputs: Mapping[str, Any]) -> list[list[Any]]:
        column = text_column(inputs)
        for text in column:
            if not isinstance(text, str) or not text.strip():
                what = "an empty text" if isinstance(text, str) else f"a {type(text).__name__}"
                raise DataError(f"The teacher is asked about texts, and one is {what}; leave such rows out.")
        return [[text] for text in column]

    def tokens(self, payload: str) -> tuple[int, int]:
        return len(payload) // _CHARACTERS_A_TOKEN + 1, 0

    def body(self, payloads: Sequence[str]) -> dict[str, Any]:
        size = {} if self.dimensions is None else {"dimensions": self.dimensions}
        return {"input": list(payloads), "encoding_format": "float", **size}

    def changed(self, changes: Mapping[str, str]) -> None:
        """Without the width that was asked for, it is the model's own."""
        if "dimensions" in changes and self.width == self.dimensions:
            self.width = None

    def read(self, reply: dict[str, Any], payloads: Sequence[str]) -> list[Answer | Refused | BadAnswer]:
        """Vectors in the order of the texts; one that is none is a bad answer of its own."""
        return [self._checked(vector) for vector in vectors_in(reply, len(payloads))]

    def _checked(self, vector: np.ndarray | str) -> Answer | BadAnswer:
        if isinstance(vector, str):
            return BadAnswer(vector)
        if self.width is None:
            self.width = vector.size
        if vector.size != self.width:
            return WrongAnswer(f"embeddings of width {vector.size} instead of {self.width}")
        return Answer({"width": vector.size}, vector.tobytes())

    def fault(self, answer: Answer) -> None:
        """A vector is a vector."""

    def learn(self, answer: Answer) -> None:
        if self.width is None:
            self.width = int(answer.data["width"])

    def output(self, answers: Sequence[Sequence[Answer]]) -> TeacherOutput:
        vectors = [_vector(one) for (one,) in answers]
        if len(widths := sorted({vector.size for vector in vectors})) > 1:
            raise InconsistentOutputError(
                f"The answer store holds embeddings of widths {widths[0]} and {widths[-1]} from one model, which has "
                "changed since; ask it anew into another store (store=, --store)."
            )
        return TeacherOutput(features=torch.from_numpy(np.stack(vectors)))

    def spread(self, answers: Sequence[Answer]) -> float:
        """Largest distance from the mean, relative to the mean's length."""
        vectors = np.stack([_vector(answer) for answer in answers])
        mean = vectors.mean(0)
        return float(np.linalg.norm(vectors - mean, axis=1).max() / max(np.linalg.norm(mean), 1e-12))


def _vector(answer: Answer) -> np.ndarray:
    return np.frombuffer(answer.blob or b"", "<f4").astype(np.float32)


def text_column(inputs: Mapping[str, Any]) -> Sequence[Any]:
    """The one column of texts. Raises: DataError where there are several."""
    if len(inputs) != 1:
        named = ", ".join(repr(name) for name in inputs) or "none"
        raise DataError(f"The teacher reads one column of texts; the data has {named}: name it with inputs=.")
    return next(iter(inputs.values()))
