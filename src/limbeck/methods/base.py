"""The contract of a method: a typed config, what it needs, and its losses. A method never owns a loop.

Axis legend: n student rows, m teacher rows, d student width, D teacher width, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import UnionType
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

import torch
from torch import Tensor, nn

from limbeck.errors import ConfigError, nearest
from limbeck.signals.output import TeacherOutput
from limbeck.students.output import StudentOutput

Unit = Literal["labelled", "pair", "token", "bag", "batch"]
UNITS: tuple[Unit, ...] = ("labelled", "pair", "token", "bag", "batch")


@dataclass
class StepBatch:
    """What a method sees of one micro-batch.

    Args:
        student: outputs for ``n`` rows (strong view of unlabelled rows, weak view of labelled ones).
        teacher: outputs for ``m`` rows; ``None`` for a method that needs none.
        labels: ``[n]`` int64, -100 = unlabelled.
        pair_index: ``[n]`` row of ``teacher`` that belongs to each student row, -1 = none.
        group_s: ``[n]`` bag of each student row, -1 = none.    group_t: ``[m]`` bag of each teacher row, -1.
        ema: outputs of the EMA student on the weak view of the unlabelled rows, without gradient; only if asked for.
        targets: ``[n]`` float32, regression only: the values to predict, read where a label is 0.
        ema_index: ``[n]`` row of ``ema`` that belongs to each student row, -1 = none.
        progress: share of the training done, 0 to 1.
        generator: a generator keyed by seed, step and micro-batch.
    """

    student: StudentOutput
    teacher: TeacherOutput | None
    labels: Tensor
    pair_index: Tensor
    group_s: Tensor
    group_t: Tensor
    targets: Tensor | None = None
    ema: StudentOutput | None = None
    ema_index: Tensor | None = None
    progress: float = 0.0
    generator: torch.Generator | None = None

    @property
    def labelled(self) -> Tensor:
        """``[n]`` bool, rows that carry a label."""
        return self.labels >= 0

    def paired_teacher(self) -> tuple[Tensor, TeacherOutput]:
        """Student row numbers ``[p]`` that have a teacher row, and the ``p`` teacher rows, aligned."""
        if self.teacher is None:
            raise ValueError("This batch holds no teacher rows.")
        rows = torch.nonzero(self.pair_index >= 0).squeeze(1)
        index = self.pair_index[rows]
        return rows, self.teacher.map_tensors(lambda value: value[index])


@dataclass(frozen=True)
class Widths:
    """Sizes that a method's trainable parts are built from: d, D (None without features) and C."""

    student: int
    teacher: int | None
    classes: int


@dataclass(frozen=True)
class InnerPhase:
    """One descent of a bilevel method on the fast weights: the term, how often, and whether only the head moves."""

    name: str
    steps: int = 1
    head_only: bool = False


class Method(nn.Module):
    """Base of all methods; see ``docs/adding_a_method.md``.

    Class attributes (literals, read by ``limbeck methods`` without importing torch):
        needs: signals of the teacher that must be present.
        links: links that the method can use; empty = it needs no teacher rows.
        units: term name to the unit its sum runs over. ``batch`` terms couple rows: they are means over one
            micro-batch, averaged over micro-batches and ranks.
        needs_ema: asks for the EMA student's weak view of the unlabelled rows.
        detached: terms that on purpose carry no gradient to the student (monitoring, or training of other parts).
    """

    needs: ClassVar[frozenset[str] | set[str]] = frozenset()
    links: ClassVar[frozenset[str] | set[str]] = frozenset()
    units: Mapping[
        str, Unit
    ] = {}  # an instance may have its own: the form of a term may depend on the config
    needs_ema: ClassVar[bool] = False
    detached: ClassVar[frozenset[str] | set[str]] = frozenset()
    Config: ClassVar[type[Any]]

    def __init__(self, config: Any, widths: Widths) -> None:
        super().__init__()
        self.config = config
        self.widths = widths

    @classmethod
    def needs_for(cls, config: Any) -> set[str]:
        """Signals of the teacher that must be present under this config."""
        return set(cls.needs)

    @property
    def scheme(self) -> str:
        """``joint`` (all terms in one backward pass) or ``bilevel`` (see ``training/schemes.py``)."""
        return getattr(self.config, "scheme", "joint")

    @property
    def ramp_end(self) -> float:
        """Share of the training after which every term has its full weight."""
        return 0.0

    @property
    def inner_phases(self) -> tuple[InnerPhase, ...]:
        """Bilevel only: the descents on the fast weights, in order."""
        return ()

    def inner_losses(self, b: StepBatch, phase: str) -> Tensor:
        """Bilevel only: what ``phase`` descends on the fast weights, unweighted, a mean over the micro-batch."""
        raise NotImplementedError  # abstract

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        """Unweighted terms, each a sum over its unit (a mean over the micro-batch for ``batch``)."""
        raise NotImplementedError  # abstract

    def weights(self, progress: float) -> dict[str, float]:
        """The weight of each term at this point of the training (0 to 1); ramps live here."""
        raise NotImplementedError  # abstract


def check_range(
    method: str,
    name: str,
    value: float,
    low: float | None,
    high: float | None,
    *,
    closed_low: bool = True,
    closed_high: bool = True,
) -> None:
    """Raise ConfigError unless ``low <= value <= high`` (open ends by the two flags, ``None`` = no bound)."""
    above = low is None or (value >= low if closed_low else value > low)
    below = high is None or (value <= high if closed_high else value < high)
    if above and below:
        return
    left = "(-inf" if low is None else f"{'[' if closed_low else '('}{low}"
    right = "inf)" if high is None else f"{high}{']' if closed_high else ')'}"
    raise ConfigError(f"Setting {name!r} of method {method!r} must lie in {left}, {right}; it is {value}.")


_KINDS: dict[Any, str] = {float: "a number", int: "a whole number", bool: "true or false", str: "a string"}


def check_types(method: str, config: Any) -> None:
    """Raise ConfigError unless every field of a config has its declared type; a wrong choice gets the nearest one.

    Knows float, int, bool, str, ``Literal`` and unions of them with None.
    """
    hints = get_type_hints(type(config))
    for name in (f.name for f in fields(config)):
        value, hint = getattr(config, name), hints[name]
        kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        if any(_fits(value, kind) for kind in kinds):
            continue
        choices = [c for kind in kinds if get_origin(kind) is Literal for c in get_args(kind)]
        wanted = [_KINDS[kind] for kind in kinds if kind in _KINDS] + (
            ["null"] if type(None) in kinds else []
        )
        mend = f"must be one of {', '.join(choices)}" if choices else f"must be {' or '.join(wanted)}"
        hint_text = f"; {nearest(str(value), choices)}" if choices else "."
        raise ConfigError(f"Setting {name!r} of method {method!r} {mend}; it is {value!r}{hint_text}")


def _fits(value: Any, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))
