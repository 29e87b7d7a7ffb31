"""Zero-shot probes of physical knowledge (VEC): what a language model knows without being trained for it.

Source: Li et al., EMNLP 2023, arXiv 2305.14057; pseudo-log-likelihood: Salazar et al., ACL 2020, arXiv 1910.14659.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from limbeck.data.benchmarks.vec_tasks import COMPARISONS, ColorRow, check_task, color_rows, named, pairs
from limbeck.errors import NonFiniteError, UnknownNameError, nearest
from limbeck.evaluation.likelihood import causal_scores, embeddings, masked_scores

if TYPE_CHECKING:
    from torch import Tensor, nn

Mode = Literal["auto", "causal", "masked", "embedding"]
Scorer = Callable[[Sequence[str]], "Tensor"]  # texts to their log-likelihoods


@dataclass(frozen=True)
class ZeroShot:
    """What a probe found.

    Args:
        accuracy: share of rows answered rightly, a tie counts half.    n: rows.
        floor: what knows nothing of the objects reaches: the majority class; for ``color`` always the commoner of
            the two colours, counted over the other rows.
        standard_error: of ``accuracy`` as if rows were independent; rows share objects, so it is rather too small.
    """

    task: str
    mode: str
    accuracy: float
    n: int
    floor: float

    @property
    def standard_error(self) -> float:
        return math.sqrt(self.accuracy * (1 - self.accuracy) / self.n)


def zero_shot(
    model: nn.Module,
    tokenizer: Any,
    folder: str | Path,
    task: str,
    *,
    mode: str = "auto",
    batch_size: int = 64,
) -> ZeroShot:
    """Ask a language model a task of VEC without training it.

    - ``causal``: of "an ant is larger than a bird" and the reverse, the statement of higher log-likelihood is taken
      for true (for ``color``: "the color of a jacket is black" against the wrong colour).
    - ``masked``: the same by pseudo-log-likelihood, each token masked in turn.
    - ``embedding``: cosines of mean-pooled last states: the object that lies nearer to "something large" than to
      "something small", relative to the other, is the larger one; a thing has the colour that it lies nearer to.

    Args:
        model: a Hugging Face model in any of these forms; it is asked as it is, in eval mode and without gradient.
        tokenizer: its own.    folder: holds ``color.json`` and so on.
        task: color, size, height, mass, temperature or hardness.
        mode: ``auto`` = ``masked`` or ``causal`` for a model with such a head, else ``embedding``.
        batch_size: rows of tokens at once.

    Raises: UnknownNameError for a task or mode; ConfigError for a tokenizer without a mask token where one is needed;
        DataError naming file and line; NonFiniteError.
    """
    import torch

    check_task(task)
    if mode not in get_args(Mode):
        raise UnknownNameError(f"There is no mode {mode!r}; {nearest(mode, get_args(Mode))}")
    kind = _mode_of(model) if mode == "auto" else mode
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            if kind == "embedding":
                margins, floor = _by_embedding(model, tokenizer, folder, task, batch_size)
            else:
                score = causal_scores if kind == "causal" else masked_scores
                margins, floor = _by_statements(
                    lambda texts: score(model, tokenizer, texts, batch_size), folder, task
                )
    finally:
        model.train(was_training)
    if not bool(margins.isfinite().all()):
        raise NonFiniteError(f"The model's answers to {task} hold NaN or Inf.")
    accuracy = float((margins > 0).double().mean() + (margins == 0).double().mean() / 2)
    return ZeroShot(task, kind, accuracy, len(margins), floor)


def _mode_of(model: nn.Module) -> str:
    from transformers.models.auto import modeling_auto

    base_of = getattr(model, "get_base_model", None)  # of peft
    name = type(base_of() if callable(base_of) else model).__name__
    if name in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES.values():
        return "masked"
    return "causal" if name in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values() else "embedding"


# -- what is asked ---------------------------------------------------------------------------------------------


def _by_statements(score: Scorer, folder: str | Path, task: str) -> tuple[Tensor, float]:
    """How much likelier the true statement of each row is, and the floor."""
    import torch

    if task == "color":
        rows = color_rows(folder)
        claims = [
            tuple(f"The color of {named(row.object)} is {color}." for color in (row.color, row.other))
            for row in rows
        ]
        floor = commoner_color_floor(rows)
    else:
        how, found = COMPARISONS[task], pairs(folder, task)
        claims = []
        for pair in found:
            things = [named(name, is_counted=how.is_counted) for name in (pair.first, pair.second)]
            more, less = things if pair.label else reversed(things)
            claims.append(tuple(_comparative(a, how.classes[1], b) for a, b in ((more, less), (less, more))))
        floor = majority_floor([pair.label for pair in found])
    statements = sorted(
        {statement for claim in claims for statement in claim}
    )  # both orders of a pair say the same
    known = dict(zip(statements, score(statements)))
    return torch.stack([known[true] - known[false] for true, false in claims]), floor


def _comparative(first: str, comparative: str, second: str) -> str:
    return f"{first[:1].upper()}{first[1:]} is {comparative} than {second}."


def _by_embedding(
    model: nn.Module, tokenizer: Any, folder: str | Path, task: str, batch_size: int
) -> tuple[Tensor, float]:
    """How much nearer the true side of each row is, and the floor."""
    import torch

    def embedded(texts: Sequence[str]) -> dict[str, Tensor]:
        names = sorted(set(texts))
        return dict(zip(names, embeddings(model, tokenizer, names, batch_size)))

    if task == "color":
        rows = color_rows(folder)
        known = embedded(
            [named(r.object) for r in rows] + [f"something {c}" for r in rows for c in (r.color, r.other)]
        )
        margins = [
            known[named(r.object)] @ (known[f"something {r.color}"] - known[f"something {r.other}"])
            for r in rows
        ]
        return torch.stack(margins), commoner_color_floor(rows)
    how, found = COMPARISONS[task], pairs(folder, task)
    names = {
        name: named(name, is_counted=how.is_counted) for pair in found for name in (pair.first, pair.second)
    }
    known = embedded([*names.values(), *how.anchors])
    axis = known[how.anchors[1]] - known[how.anchors[0]]
    value = {name: known[text] @ axis for name, text in names.items()}
    margins = [(value[p.first] - value[p.second]) * (1 if p.label else -1) for p in found]
    return torch.stack(margins), majority_floor([p.label for p in found])


# -- what knows nothing ----------------------------------------------------------------------------------------


def majority_floor(labels: Sequence[int]) -> float:
    """Accuracy of always answering the commonest label."""
    return max(Counter(labels).values()) / len(labels)


def commoner_color_floor(rows: Sequence[ColorRow]) -> float:
    """Accuracy of always choosing the colour that more of the other objects have, whatever the object; ties half."""
    counts = Counter(row.color for row in rows)
    right = 0.0
    for row in rows:
        own, other = counts[row.color] - 1, counts[row.other]
        right += (own > other) + 0.5 * (own == other)
    return right / len(rows)
