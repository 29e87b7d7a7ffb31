"""The likeliest k of many classes, with what is left for all others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from limbeck.errors import DataError
from limbeck.functional.response import top_k
from limbeck.functional.response.top_k import Rest


@dataclass(frozen=True, eq=False)
class TopK:
    """Predictions over V classes, of which each keeps its k likeliest.

    Args:
        ids: ``[n, ..., k]`` class numbers below ``n_classes``, each once.
        log_probs: ``[n, ..., k]``, natural logarithm of their probabilities among all V classes.
        n_classes: V.
        rest: ``[n, ...]``, log of the mass of all other classes; default: what ``log_probs`` leave. Log 0 is -1e4.

    Raises: DataError for shapes that do not belong together, and for k > V.

    Example:
        >>> said = TopK.of(torch.tensor([[2.0, 0.0, 1.0, -1.0]]), k=2)
        >>> said.ids
        tensor([[0, 2]])
        >>> said.dense().exp().sum(-1)
        tensor([1.])
    """

    ids: Tensor
    log_probs: Tensor
    n_classes: int
    rest: Tensor = None  # type: ignore[assignment]  # filled in below

    def __post_init__(self) -> None:
        ids, log_probs = torch.as_tensor(self.ids), torch.as_tensor(self.log_probs)
        if ids.shape != log_probs.shape or ids.dim() < 1:
            raise DataError(
                f"A TopK needs a log-probability for each class number; there are ids {list(ids.shape)} and "
                f"log_probs {list(log_probs.shape)}."
            )
        if ids.is_floating_point() or not 1 <= ids.shape[-1] <= self.n_classes:
            raise DataError(
                f"A TopK of {self.n_classes} classes keeps 1 to {self.n_classes} class numbers a row; the ids "
                f"have shape {list(ids.shape)} and are {str(ids.dtype).removeprefix('torch.')}."
            )
        rest = top_k.log_rest(log_probs) if self.rest is None else torch.as_tensor(self.rest)
        if rest.shape != ids.shape[:-1]:
            raise DataError(
                f"The rest of a TopK is one number for each row of ids, {list(ids.shape[:-1])}; it has shape "
                f"{list(rest.shape)}."
            )
        for name, value in (("ids", ids.long()), ("log_probs", log_probs), ("rest", rest)):
            object.__setattr__(self, name, value)

    @classmethod
    def of(cls, logits: Tensor, k: int) -> TopK:
        """The k likeliest of ``logits`` (or log-probabilities) ``[n, ..., V]``. ConfigError unless 1 <= k <= V."""
        ids, log_probs, rest = top_k.likeliest(logits, k)
        return cls(ids, log_probs, logits.shape[-1], rest)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def k(self) -> int:
        return self.ids.shape[-1]

    def dense(self, rest: Rest = "spread") -> Tensor:
        """Log-probabilities of all classes, ``[n, ..., V]`` float32.

        Args:
            rest: ``spread`` evenly over the others, or ``renormalised`` away: the k sum to 1, the others have -1e4.
        """
        return top_k.dense(self.ids, self.log_probs.float(), self.rest.float(), self.n_classes, rest)

    def binned(self) -> Tensor:
        """Log-probabilities ``[n, ..., k + 1]`` float32, all other classes as one, the last. Of a student:
        :func:`limbeck.functional.response.top_k.binned`."""
        return torch.cat([self.log_probs, self.rest.unsqueeze(-1)], dim=-1).float()

    def rows(self, index: Any) -> TopK:
        """Some rows: numbers, a mask or a slice."""
        return replace(self, ids=self.ids[index], log_probs=self.log_probs[index], rest=self.rest[index])

    def map(self, fn: Callable[[Tensor], Tensor]) -> TopK:
        """With ``fn``, a move or a cast, applied to the log-probabilities; class numbers only move."""
        log_probs = fn(self.log_probs)
        return replace(self, ids=self.ids.to(log_probs.device), log_probs=log_probs, rest=fn(self.rest))

    def in_order(self, picked: Tensor) -> TopK:
        """With the classes renumbered: class ``i`` is the former ``picked[i]``, ``[V]`` int64.

        Raises: DataError where classes would be left out, since what they held is not known.
        """
        if len(picked) != self.n_classes:
            raise DataError(
                f"The likeliest {self.k} of {self.n_classes} classes cannot be cut to {len(picked)} classes; map all "
                "of them, or keep whole predictions in the bank."
            )
        return replace(self, ids=torch.argsort(picked.to(self.ids.device))[self.ids])
