"""What a task asks of a student: the contract, and what is to be found.

Axis legend: n rows, p positions of a row (none, tokens, pixels), C outputs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from limbeck.errors import UnknownNameError, nearest
from limbeck.functional.precision import widened
from limbeck.functional.response.divergence import Divergence, divergence
from limbeck.problems.metric import Metric
from limbeck.signals.classes import UNLABELLED, refuse_twice
from limbeck.signals.output import TeacherOutput

PLACES = ("file", "line", "row")  # what ``limbeck predict`` adds to an answer
Reading = Literal["classifier", "positions", "embedding", "prediction"]


@dataclass(frozen=True)
class Targets:
    """What is to be found for N rows.

    Args:
        values: ``[N, ...]``, what they mean is the problem's affair; anything where it is not known.
        known: ``[N]`` bool.
        besides: what only scoring reads, name to ``[N, ...]``.
    """

    values: Tensor
    known: Tensor
    besides: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.known)

    def rows(self, index: Tensor) -> Targets:
        """The given rows (numbers, or a mask ``[N]``)."""
        besides = {name: value[index] for name, value in self.besides.items()}
        return Targets(self.values[index], self.known[index], besides)

    def forgotten(self, where: Tensor) -> Targets:
        """The same rows, unknown also where ``where [N]`` says so."""
        return replace(self, known=self.known & ~where)

    def tensors(self) -> dict[str, Tensor]:
        """As plain tensors, which the Trainer can move to a device."""
        return {"values": self.values, "known": self.known, **self.besides}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Targets:
        """The inverse of :meth:`tensors`."""
        besides = {name: value for name, value in tensors.items() if name not in ("values", "known")}
        return cls(tensors["values"], tensors["known"], besides)

    @classmethod
    def unknown(cls, n: int) -> Targets:
        """N rows of which nothing is known."""
        return cls(torch.zeros(n, dtype=torch.int64), torch.zeros(n, dtype=torch.bool))


@dataclass(frozen=True)
class Comparison:
    """How a student's predictions are compared with a teacher's.

    Args:
        kind, beta, temperature: of :func:`limbeck.functional.response.divergence.divergence`.
        rest: of a teacher's likeliest tokens: all others as ``one_bin``, or ``renormalised`` away.
        change: from the logits (or log-probabilities) of both sides to those that are compared; None = as they are.
    """

    kind: Divergence = "forward_kl"
    beta: float = 0.5
    temperature: float = 1.0
    rest: Literal["one_bin", "renormalised"] = "one_bin"
    change: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None

    def of(self, ours: Tensor, theirs: Tensor, mask: Tensor | None = None) -> Tensor:
        """The sum over the positions ``[n, *p]`` that the mask shows."""
        if self.change is not None:
            ours, theirs = self.change(ours, theirs)
        return divergence(
            ours,
            theirs,
            kind=self.kind,
            beta=self.beta,
            temperature=self.temperature,
            mask=mask,
            reduction="sum",
        )


@dataclass(frozen=True)
class Encoded:
    """Rows whose texts a problem has made tokens of, see :meth:`Problem.encoded`.

    Args:
        inputs: argument name to ``[N, ...]``.    targets: what is to be found, in tokens.
        told: sentences for the user, about what was cut.
    """

    inputs: dict[str, Tensor]
    targets: Targets
    told: tuple[str, ...] = ()


# What a student, a peer or a live teacher shows: ``logits [n, *p, C]`` (or ``prediction``), perhaps a ``mask [n, *p]``.
Shown = Any
Run = Callable[[dict[str, Tensor]], Shown]  # a student on other inputs


@dataclass(frozen=True)
class Problem:
    """Base of all problems; a problem is a file here, or registered by a package (see ``registry.py``).

    Args:
        names: class names in the order of the logits; of a regression the name of the quantity.
        decides: the metric that decides; default the first of :attr:`measures`.

    Class attributes:
        kind: its name in recipes.
        measures: how it is scored.
        reading: how its student is read (see :class:`limbeck.students.Student`).
        auto_model: of transformers: the model class behind ``AutoModelFor...``; None = whichever classifies.
        model_config: what a transformers model of it is configured with.
        title: what a student of it is, for its card, with ``{n}`` and ``{names}``.
        turned: what makes :meth:`predictions` of logits, as Python text behind them, for the card's snippet.
        chooses: a row offers choices, and its logits are one score for each.
        has_label_loss: labels teach it; else a method must bring what does.
        is_distribution: its logits are a distribution over :attr:`names` (or over positions of such), so that
            teachers of classes can be matched with it.
        names_outputs: its logits are as many as :attr:`names`, in their order; else their order is a tokenizer's.
        writes: its student answers in tokens that it writes one after the other, and :meth:`answers` reads these.
        predictions_in: in which signals a teacher's predictions may come in place of logits, the first that it has.
        kept_columns: inputs of a teacher that stay with their row when a control moves what it is shown.
    """

    names: tuple[str, ...]
    decides: str = ""

    kind: ClassVar[str]
    measures: ClassVar[tuple[Metric, ...]]
    reading: ClassVar[Reading] = "classifier"
    auto_model: ClassVar[str | None] = None
    model_config: ClassVar[Mapping[str, Any]] = {}
    title: ClassVar[str] = "A model with {n} outputs: {names}."
    turned: ClassVar[str] = ""
    chooses: ClassVar[bool] = False
    has_label_loss: ClassVar[bool] = True
    is_distribution: ClassVar[bool] = False
    names_outputs: ClassVar[bool] = True
    writes: ClassVar[bool] = False
    predictions_in: ClassVar[tuple[frozenset[str], ...]] = ()
    kept_columns: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        refuse_twice(self.names)
        known = [metric.name for metric in self.scored_by]
        if self.decides and self.decides not in known:
            raise UnknownNameError(
                f"A {self.kind} has no metric {self.decides!r}; {nearest(self.decides, known)}"
            )

    @property
    def scored_by(self) -> tuple[Metric, ...]:
        """:attr:`measures`, and those that this problem has besides."""
        return self.measures

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """How it is scored; the first decides."""
        return tuple(sorted(self.scored_by, key=lambda metric: metric.name != self.decides))

    @property
    def metric(self) -> Metric:
        """The one that decides."""
        return self.metrics[0]

    def spec(self) -> dict[str, Any]:
        """JSON-able kind and settings, from which ``problem(spec, names)`` makes it again."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "names"}
        return {"kind": self.kind, **{n: list(v) if isinstance(v, tuple) else v for n, v in own.items()}}

    def n_outputs(self) -> int | None:
        """Width of the logits; None = whatever the model has."""
        return len(self.names)

    def for_tokenizer(self, tokenizer: Any) -> Problem:
        """The problem of a student that reads and writes by this tokenizer; itself where that is nothing to it."""
        return self

    def encoded(
        self, inputs: Mapping[str, Any], targets: Targets, max_length: int, keys: Sequence[Any]
    ) -> Encoded | None:
        """Rows of texts as the student's inputs and targets, by the tokenizer of :meth:`for_tokenizer`; None = as any
        text is encoded, its targets as they are.

        Args:
            inputs: columns of N rows, tensors or object arrays of texts.    max_length: in tokens.
            keys: of the rows, for messages.
        """
        return None

    def check(self, targets: Targets, source: str) -> None:
        """Raise DataError where nothing can be learned from ``targets``, those of all training rows of ``source``."""

    def count(self, targets: Targets) -> int:
        """Known units, before any forward pass."""
        return int(targets.known.sum())

    def positions(self, targets: Targets) -> int:
        """How many positions the rows have, known or not; one each where a row is answered as a whole."""
        return len(targets)

    def loss(self, out: Shown, targets: Targets) -> Tensor:
        """The sum over the known units; zero, with a gradient path, where there is none."""
        raise NotImplementedError  # abstract

    def match(
        self, logits_s: Tensor, logits_t: Tensor, *, temperature: float = 1.0, trains_teacher: bool = False
    ) -> Tensor:
        """What keeps one output of this problem from another, ``[n, *p, C]`` each: a sum over rows and positions,
        without gradient to ``logits_t`` unless ``trains_teacher``."""
        raise NotImplementedError  # abstract

    def divergence(
        self, out: Shown, said: TeacherOutput, targets: Targets, rows: Tensor, how: Comparison
    ) -> Tensor:
        """How far the student's predictions are from a teacher's: a sum over what :meth:`matched` counts.

        Args:
            out, targets: of all n student rows.    rows: ``[p]``, those that ``said`` speaks of, in its order.
        """
        theirs = said["logits"] if how.kind == "mse" else said.log_predictions()
        return how.of(out.logits[rows], theirs, None if out.mask is None else out.mask[rows])

    def matched(self, targets: Targets) -> Tensor:
        """``[n]`` how many predictions of each row are compared with a teacher's."""
        return torch.ones(len(targets), dtype=torch.long, device=targets.known.device)

    def check_teacher(self, name: str, told: Mapping[str, Any]) -> tuple[str, ...]:
        """Refuse a teacher whose predictions are of something else; sentences that a user should know.

        Args:
            told: what the teacher, or the bank of its answers, notes of itself.
        Raises: ConfigError with the alternatives.
        """
        return ()

    def statistics(self, out: Shown, targets: Targets) -> dict[str, Tensor]:
        """What evaluation gathers, small, ``[n, ...]`` each."""
        raise NotImplementedError  # abstract

    def evaluated(
        self, run: Run, inputs: dict[str, Tensor], targets: Targets
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """:meth:`loss` and :meth:`statistics` of some rows; a problem whose student is asked in another way than with
        the rows as they are says so here."""
        out = run(inputs)
        return self.loss(out, targets), self.statistics(out, targets)

    def scores(self, statistics: Mapping[str, Tensor]) -> dict[str, float]:
        """Metric name to value, from the statistics of all rows; NaN where no row is known."""
        raise NotImplementedError  # abstract

    def item_values(self, statistics: Mapping[str, Tensor], metric: str) -> Tensor | None:
        """``[k]`` float64 of the k known rows, whose mean is that metric; None for one that is no mean over rows."""
        return None

    def confusion(self, statistics: Mapping[str, Tensor]) -> Tensor | None:
        """``[C, C]`` int64 counts of rows by what is true (down) and what was found; None where rows have no one
        class."""
        return None

    def confidences(self, statistics: Mapping[str, Tensor]) -> tuple[Tensor, Tensor] | None:
        """How sure the student was of what it found, ``[k]`` in [0, 1], and whether it was right, ``[k]`` bool, of the
        known rows; None for a student that does not say."""
        return None

    def classes(self, targets: Targets) -> Tensor | None:
        """``[N]`` int64 class of each row, -100 = unknown; None for a problem whose rows have no one class."""
        return None

    def write(self, student: Any, inputs: Mapping[str, Tensor]) -> Tensor:
        """``[n, W]`` tokens that a student of a problem that :attr:`writes` answers to the prompts of n rows."""
        raise NotImplementedError  # abstract

    def writing(self) -> dict[str, Any]:
        """JSON-able: how plain transformers writes such answers, as a generation config has it."""
        raise NotImplementedError  # abstract

    def predictions(self, outputs: Tensor) -> Tensor:
        """What the student says of each of :attr:`names`, ``[n, *p, C]``: probabilities, or values.

        Args:
            outputs: logits ``[n, *p, C]``; of a reading without any its prediction.
        """
        (values,) = widened(outputs)
        return values

    def answers(self, outputs: Tensor, mask: Tensor | None = None) -> list[dict[str, Any]]:
        """JSON-able: what ``limbeck predict --json`` prints of each row.

        Args:
            mask: ``[n, *p]``, positions that count; None = all.
        """
        rows = self.predictions(outputs).tolist()
        return [{"probabilities": dict(zip(self.names, row, strict=True))} for row in rows]

    def told(self, answer: Mapping[str, Any]) -> str:
        """An answer for people, on a line: the most likely classes; one without probabilities as JSON."""
        if "probabilities" in answer:
            return likeliest(answer["probabilities"])
        return json.dumps({n: v for n, v in answer.items() if n not in PLACES}, ensure_ascii=False)

    def fitted(self, targets: Targets) -> Problem:
        """The problem with what the targets tell of its size; itself where they tell nothing."""
        return self

    @classmethod
    def unlabelled(cls, n: int) -> Targets:
        """Targets of N rows without labels."""
        return Targets.unknown(n)

    @classmethod
    def label(cls, cell: Any) -> Any:
        """One label as a table or a data set holds it, read; DataError, to be completed by the row's place."""
        return cell

    @classmethod
    def names_in(cls, labels: Sequence[Any], column: str) -> tuple[str, ...]:
        """The names that labels, as :meth:`label` reads them, show; ``column`` is what they are called together."""
        raise NotImplementedError  # abstract

    @classmethod
    def targets_of(cls, labels: Sequence[Any], names: Sequence[str]) -> Targets:
        """What N labels say (None = unknown).

        Raises: ClassNamesError for a label that is none of ``names``.
        """
        raise NotImplementedError  # abstract


def class_numbers(values: Tensor, known: Tensor) -> Tensor:
    """``[N]`` int64 with -100 where nothing is known."""
    return torch.where(known, values, UNLABELLED)


def likeliest(shares: Mapping[str, float], n: int = 3) -> str:
    """``cat 81.0%  dog 12.0%``, the ``n`` largest shares."""
    best = sorted(shares.items(), key=lambda item: -item[1])[:n]
    return "  ".join(f"{name} {share:.1%}" for name, share in best)


@dataclass(frozen=True)
class Bare:
    """Bare outputs as what a student shows: logits, which are also what it predicts."""

    logits: Tensor
    mask: Tensor | None = None

    @property
    def prediction(self) -> Tensor:
        return self.logits
