"""A vector for each row, to be near the one it is given."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.errors import ConfigError, DataError
from limbeck.functional.precision import widened
from limbeck.problems.base import Problem, Reading, Shown, Targets
from limbeck.problems.metric import COSINE, RMSE, Metric


@dataclass(frozen=True)
class Embedding(Problem):
    """Targets are vectors ``[N, D]`` float32; the loss is their squared distance, its mean over D, or one minus their
    cosine.

    Args:
        distance: ``squared`` or ``cosine``.    width: D; 0: as the targets say.
    """

    distance: str = "squared"
    width: int = 0

    kind: ClassVar[str] = "embedding"
    measures: ClassVar[tuple[Metric, ...]] = (COSINE, RMSE)
    reading: ClassVar[Reading] = "embedding"
    title: ClassVar[str] = "An encoder; it gives a vector, {names}."

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.distance not in ("squared", "cosine"):
            raise ConfigError(f"The distance of embeddings is 'squared' or 'cosine', not {self.distance!r}.")

    def n_outputs(self) -> int | None:
        return self.width or None

    def fitted(self, targets: Targets) -> Problem:
        width = targets.values.shape[-1] if targets.values.ndim == 2 else 0
        return self if self.width or not width else replace(self, width=width)

    def check(self, targets: Targets, source: str) -> None:
        known = targets.values[targets.known]
        if not len(known) or bool((known == known[0]).all()):
            raise DataError(
                f"{source} has {'one vector' if len(known) else 'no vector'} to learn in training."
            )

    def loss(self, out: Shown, targets: Targets) -> Tensor:
        found, wanted = self._known(out, targets)
        if self.distance == "cosine":
            return (1 - F.cosine_similarity(found, wanted, dim=-1)).sum()
        return (found - wanted).square().mean(-1).sum()

    def _known(self, out: Shown, targets: Targets) -> tuple[Tensor, Tensor]:
        found = out.prediction[targets.known]
        wanted = targets.values[targets.known]
        if found.ndim != 2 or (len(wanted) and found.shape[-1] != wanted.shape[-1]):
            raise DataError(
                f"The student gives vectors {list(found.shape[1:])}, the data {list(wanted.shape[1:])}."
            )
        (found,) = widened(found)
        return found, wanted.to(found.dtype)

    def match(
        self, logits_s: Tensor, logits_t: Tensor, *, temperature: float = 1.0, trains_teacher: bool = False
    ) -> Tensor:
        """The squared difference, its mean over D; the temperature has no meaning here."""
        logits_s, logits_t = widened(logits_s, logits_t)
        return (logits_s - (logits_t if trains_teacher else logits_t.detach())).square().mean(-1).sum()

    def statistics(self, out: Shown, targets: Targets) -> dict[str, Tensor]:
        found, wanted = widened(out.prediction, targets.values.to(out.prediction.device))
        if len(wanted) and wanted.ndim == 2:
            cosine = F.cosine_similarity(found, wanted, dim=-1)
            squared = (found - wanted).square().mean(-1)
        else:
            cosine = squared = found.new_zeros(len(found))
        return {"cosine": cosine, "squared": squared, "known": targets.known}

    def scores(self, statistics: Mapping[str, Tensor]) -> dict[str, float]:
        known = statistics["known"].bool()
        cosine, squared = (statistics[name][known].double() for name in ("cosine", "squared"))
        if not len(cosine):
            return {"cosine": float("nan"), "rmse": float("nan")}
        return {"cosine": float(cosine.mean()), "rmse": float(squared.mean().sqrt())}

    def answers(self, outputs: Tensor, mask: Tensor | None = None) -> list[dict[str, Any]]:
        return [{"embedding": row} for row in self.predictions(outputs).tolist()]

    def told(self, answer: Mapping[str, Any]) -> str:
        shown = ", ".join(f"{value:.3g}" for value in answer["embedding"][:4])
        return (
            f"[{shown}{', ...' if len(answer['embedding']) > 4 else ''}] ({len(answer['embedding'])} numbers)"
        )

    @classmethod
    def label(cls, cell: Any) -> tuple[float, ...]:
        """Numbers as a list, an array, or the JSON of a list."""
        try:
            values = json.loads(cell) if isinstance(cell, str) else cell
            found = torch.as_tensor(values, dtype=torch.float32)
        except (ValueError, TypeError, RuntimeError):
            found = torch.tensor(float("nan"))
        if found.ndim != 1 or not bool(found.isfinite().all()):
            raise DataError(f"has {str(cell)[:40]!r} where a list of finite numbers is needed")
        return tuple(found.tolist())

    @classmethod
    def names_in(cls, labels: Sequence[Any], column: str) -> tuple[str, ...]:
        return (column,)

    @classmethod
    def targets_of(cls, labels: Sequence[Any], names: Sequence[str]) -> Targets:
        width = next((len(label) for label in labels if label is not None), 0)
        if wrong := next((label for label in labels if label is not None and len(label) != width), None):
            raise DataError(
                f"Vectors must be of one length; there are some of {width} and {len(wrong)} numbers."
            )
        values = torch.tensor([label if label is not None else (0.0,) * width for label in labels])
        known = torch.tensor([label is not None for label in labels], dtype=torch.bool)
        return Targets(values.reshape(len(labels), width), known)
