"""What a method says of itself before any training: needs, links, units, layers, peers; and the sizes it is given.

Axis legend: d student width, D teacher width, C outputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from limbeck.errors import ConfigError

# ``pair:NAME`` counts rows with a row of that teacher.
UNITS = ("labelled", "pair", "match", "row", "position", "bag", "batch")


@dataclass(frozen=True)
class Layers:
    """Inner layers that a method reads, by module path or as ``layer:4``, ``layer:-1``, ``layer:50%``.

    Args:
        student: of the student.    teachers: of each teacher by name; of the only one, ``teacher``.
    """

    student: tuple[str, ...] = ()
    teachers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def pairs(cls, entries: Iterable[str], teacher: str = "teacher") -> Layers:
        """Of pairs ``student layer=teacher layer``; a name alone stands for both."""
        found = pairs_of(entries)
        return cls(
            tuple(dict.fromkeys(s for s, _ in found)), {teacher: tuple(dict.fromkeys(t for _, t in found))}
        )


def pairs_of(entries: Iterable[str]) -> list[tuple[str, str]]:
    """``["a=b"]`` as ``[("a", "b")]``; a name alone stands for both sides.

    Raises: ConfigError for an entry that names nothing.
    """
    found = []
    for entry in entries:
        ours, equals, theirs = (part.strip() for part in entry.partition("="))
        if not ours or (equals and not theirs):
            raise ConfigError(f"A pair of layers is written STUDENT=TEACHER, not {entry!r}.")
        found.append((ours, theirs or ours))
    return found


@dataclass(frozen=True)
class Descent:
    """A descent that comes before the student's own step.

    Args:
        name: of the loss that ``Method.descent_loss`` gives for it; where a term has that name, with its weight.
        moves: ``student`` or ``head``: fast copies, which the outer loss sees and which are gone after the step; else a
            part of the method by its name (a critic, a generator), which keeps what it learned.
        steps: how often in a step.
        optimizer: ``adamw``, or plain ``sgd``.
        learning_rate: or ``outer``: that of the student's own optimiser in this step.
        weight_decay: decoupled.    betas: of AdamW.

    Raises: ConfigError for values out of range.
    """

    name: str
    moves: str = "student"
    steps: int = 1
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float | Literal["outer"] = 1e-3
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)

    def __post_init__(self) -> None:
        rate = self.learning_rate
        if self.steps < 1 or self.optimizer not in ("adamw", "sgd") or self.weight_decay < 0:
            raise ConfigError(
                f"The descent {self.name!r} needs at least 1 step, 'adamw' or 'sgd', and a weight decay of at least 0."
            )
        if rate != "outer" and not (isinstance(rate, (float, int)) and rate > 0):
            raise ConfigError(
                f"The learning rate of the descent {self.name!r} is above 0, or 'outer'; it is {rate!r}."
            )

    @property
    def keeps(self) -> bool:
        """Whether what it moved stays."""
        return self.moves not in ("student", "head")


@dataclass(frozen=True)
class Side:
    """Sizes of one network, from two rows.

    Args:
        features: width of its features, None without.    outputs: of its logits, None without.
        hidden: layer, as the method names it, to the shape of its output without the axis of rows.
        inputs: input to its shape without the axis of rows.
        class_means: ``[C, D]`` mean features of each class, of a bank, where the method asks for them.
    """

    features: int | None = None
    outputs: int | None = None
    hidden: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    inputs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    class_means: Any = None

    @property
    def width(self) -> int:
        """Width of the features; ConfigError where there are none."""
        if self.features is None:
            raise ConfigError("This network shows no features; name them in the method's needs.")
        return self.features

    @property
    def n_outputs(self) -> int:
        """Width of the logits; ConfigError where there are none."""
        if self.outputs is None:
            raise ConfigError("This network shows no logits; name them in the method's needs.")
        return self.outputs

    @property
    def means(self) -> Any:
        """``[C, D]`` mean features of each class; ConfigError where there are none."""
        if self.class_means is None:
            raise ConfigError(
                "The method speaks of the mean features of each class, which are those of a bank; ask the teacher into "
                "a bank first."
            )
        return self.class_means


@dataclass(frozen=True)
class Shapes:
    """Sizes that a method's trainable parts are built from."""

    student: Side
    teachers: Mapping[str, Side] = field(default_factory=dict)
    peers: Mapping[str, Side] = field(default_factory=dict)

    @property
    def teacher(self) -> Side:
        """The only teacher."""
        if len(self.teachers) != 1:
            raise ConfigError(f"The method speaks of one teacher, and there are {len(self.teachers)}.")
        return next(iter(self.teachers.values()))


@dataclass(frozen=True)
class Declared:
    """What a method needs and makes, under one config; resolved once and handed on (see ``MethodPlan``).

    Args:
        needs: signals of the teacher that must be present.
        links: links that it can use; empty = it needs no teacher.
        problems: kinds of problems that it can be used for; empty = any.
        units: term to the unit that its sum runs over.
        detached: terms that on purpose carry no gradient to the student.
        peers: networks that must be there beside the student.
        layers: inner layers that it reads.
        descents: what is descended before the student's own step, in this order.
        text_as_features: the teacher's texts, embedded once by a frozen text encoder, are its features.
        class_means: the mean features of each class over the teacher's bank stand in ``shapes.teacher.means``.
        unlabelled: of a method without a teacher: rows without a label are drawn beside the labelled ones.
        student: ``always`` run before the losses, or only when the method ``asked`` (``b.run``, ``b.states``).
        teachers: live ones are ``always`` asked before the losses, or only when the method ``asked`` (``b.ask``,
            ``b.states``).
    """

    needs: frozenset[str] = frozenset()
    links: frozenset[str] = frozenset()
    problems: frozenset[str] = frozenset()
    units: Mapping[str, str] = field(default_factory=dict)
    detached: frozenset[str] = frozenset()
    peers: frozenset[str] = frozenset()
    layers: Layers = Layers()
    student: Literal["always", "asked"] = "always"
    teachers: Literal["always", "asked"] = "always"
    descents: tuple[Descent, ...] = ()
    text_as_features: bool = False
    class_means: bool = False
    unlabelled: bool = False

    def with_(self, **changes: Any) -> Declared:
        """A copy with some fields replaced."""
        return replace(self, **changes)

    @property
    def has_teacher(self) -> bool:
        return bool(self.links)

    def claims(self, kind: str) -> bool:
        """Whether the method names this kind of problem, and so knows what its outputs are."""
        return kind in self.problems
