"""The contract of a method: settings, what it declares, and its losses. A method never owns a loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, ClassVar

from torch import Tensor, nn

from limbeck.errors import ConfigError
from limbeck.methods.batch import StepBatch
from limbeck.methods.declared import UNITS, Declared, Descent, Layers, Shapes, Side
from limbeck.methods.settings import Curve, Settings, Weight, at, setting, weight
from limbeck.signals.output import ACCESS_OF_SIGNAL

__all__ = [
    "Curve", "Declared", "Descent", "Layers", "Method", "Settings", "Shapes", "Side", "StepBatch", "Weight",
    "setting", "weight",
]  # fmt: skip


class Method(nn.Module):
    """Base of all methods; see ``docs/adding_a_method.md``.

    Class attributes are literals, read by ``limbeck methods`` without importing torch, and checked when the class is
    made; see :class:`~limbeck.methods.declared.Declared`. ``units`` are ``labelled`` (known units of the problem),
    ``pair`` (rows with a row of at least one teacher; ``pair:NAME`` of that one), ``match`` (the predictions of these
    rows: one each, of an answer one a token), ``row``, ``position`` (positions with
    a target or inside the mask), ``bag``, and ``batch``: a term that couples rows, a mean over one micro-batch,
    averaged over micro-batches and ranks. Each term has a field ``weight_TERM`` in ``Config``. ``row`` is its
    line in the list of systems (``docs/systems.md``), None where it has none.
    """

    needs: ClassVar[frozenset[str] | set[str]] = frozenset()
    links: ClassVar[frozenset[str] | set[str]] = frozenset()
    problems: ClassVar[frozenset[str] | set[str]] = frozenset()
    units: ClassVar[Mapping[str, str]] = {}
    detached: ClassVar[frozenset[str] | set[str]] = frozenset()
    peers: ClassVar[frozenset[str] | set[str]] = frozenset()
    row: ClassVar[int | None] = None
    Config: ClassVar[type[Any]] = Settings

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_literals(cls)

    def __init__(self, config: Any, shapes: Shapes) -> None:
        super().__init__()
        self.config = config
        self.shapes = shapes
        self.plan = type(self).declared(config)

    @classmethod
    def declared(cls, config: Any) -> Declared:
        """What the method needs and makes under this config; by default what its literals say."""
        return Declared(
            needs=frozenset(cls.needs),
            links=frozenset(cls.links),
            problems=frozenset(cls.problems),
            units=dict(cls.units),
            detached=frozenset(cls.detached),
            peers=frozenset(cls.peers),
        )

    def descent_loss(self, b: StepBatch, name: str) -> Tensor:
        """What the descent ``name`` goes down, unweighted, a mean over the micro-batch."""
        raise NotImplementedError  # abstract

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        """Unweighted terms, each a sum over its unit (a mean over the micro-batch for ``batch``)."""
        raise NotImplementedError  # abstract

    def plan_between(self, features_s: Tensor, features_t: Tensor) -> Tensor | None:
        """``[n, m]`` which teacher rows each student row is sent to, for pictures; None where the method has no such
        plan."""
        return None

    def weight_of(self, term: str) -> Weight:
        """The weight of a term over the training."""
        return getattr(self.config, f"weight_{term}")

    def weights(self, progress: float) -> dict[str, float]:
        """The weight of each term at this point of the training (0 to 1); of a descent that is no term 1."""
        free = {descent.name: 1.0 for descent in self.plan.descents if descent.name not in self.plan.units}
        return {term: at(self.weight_of(term), progress) for term in self.plan.units} | free

    @property
    def settled(self) -> float:
        """Share of the training after which no weight changes any more."""
        weights = map(self.weight_of, self.plan.units)
        return max((w.until for w in weights if isinstance(w, Curve)), default=0.0)


def check_literals(cls: type[Method]) -> None:
    """Refuse a method whose literals contradict each other, when its class is made.

    Raises: ConfigError naming class and literal.
    """
    wrong = None
    known = {field.name for field in fields(cls.Config)}
    for term, unit in cls.units.items():
        if unit.partition(":")[0] not in UNITS or (":" in unit and not unit.startswith("pair:")):
            wrong = f"the unit {unit!r} of term {term!r} is none of {', '.join(UNITS)} (or pair:TEACHER)"
        elif f"weight_{term}" not in known:
            wrong = f"the term {term!r} has no field weight_{term} in {cls.Config.__name__}"
    if unknown := sorted(set(cls.needs) - set(ACCESS_OF_SIGNAL)):
        wrong = f"the signal {unknown[0]!r} in needs is none of {', '.join(ACCESS_OF_SIGNAL)}"
    if stray := sorted(set(cls.detached) - set(cls.units)):
        wrong = f"the detached term {stray[0]!r} has no unit"
    if cls.needs and not cls.links:
        wrong = "it needs signals of a teacher and claims no link"
    if wrong:
        raise ConfigError(f"The method {cls.__name__} contradicts itself: {wrong}.")
