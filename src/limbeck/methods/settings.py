"""Settings of methods: types, choices and ranges are written once, at the field, and checked from there.

Read without torch: ``limbeck methods`` shows the fields.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from limbeck.errors import ConfigError, nearest

Shape = Literal["linear", "cosine", "step"]


@dataclass(frozen=True)
class Curve:
    """A value that changes over the training; in YAML ``{from: 0, to: 1, until: 0.4, shape: linear}``.

    Args:
        start, to: before and after, ``from`` and ``to``.    until: share of the training at which ``to`` is reached.
        shape: ``linear``, ``cosine`` (slow at both ends), or ``step`` (at once, at ``until``).
    """

    start: float
    to: float
    until: float
    shape: Shape = "linear"

    def __post_init__(self) -> None:
        if not 0 <= self.until <= 1:
            raise ConfigError(
                f"A curve reaches its end within the training: until lies in [0, 1], not {self.until}."
            )
        if self.shape not in get_args(Shape):
            raise ConfigError(
                f"There is no curve {self.shape!r}; {nearest(str(self.shape), get_args(Shape))}"
            )

    def __call__(self, progress: float) -> float:
        """The value at a share of the training."""
        if progress >= self.until:
            return self.to
        share = progress / self.until
        if self.shape == "step":
            share = 0.0
        elif self.shape == "cosine":
            share = (1 - math.cos(math.pi * share)) / 2
        return self.start + share * (self.to - self.start)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Curve:
        """From plain values; ConfigError for a key that a curve does not have."""
        known = {"from": "start", "start": "start", "to": "to", "until": "until", "shape": "shape"}
        for key in values:
            if key not in known:
                raise ConfigError(
                    f"A curve has no {key!r}; {nearest(str(key), ('from', 'to', 'until', 'shape'))}"
                )
        given = {"start": 0.0, **{known[key]: value for key, value in values.items()}}
        if missing := [name for name in ("to", "until") if name not in given]:
            raise ConfigError(f"A curve needs {missing[0]!r}: write {{from: 0, to: 1, until: 0.4}}.")
        return cls(**given)


Weight = float | Curve


def setting(
    default: Any,
    text: str,
    *,
    low: float | None = None,
    above: float | None = None,
    high: float | None = None,
    below: float | None = None,
    later: bool = False,
) -> Any:
    """A field of :class:`Settings`.

    Args:
        text: what it is, for ``limbeck methods``.
        low, high: the closed ends of its range.    above, below: the open ones.
        later: checkpoints of this method were written before there was the setting; its default is what they did.
    """
    facts = {"text": text, "low": low, "above": above, "high": high, "below": below, "later": later}
    if isinstance(default, (list, dict)):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=facts)
    return dataclasses.field(default=default, metadata=facts)


def weight(default: float, text: str = "of the term") -> Any:
    """The weight of a term: a number of at least 0, or a :class:`Curve`."""
    return setting(default, text, low=0)


def at(value: Weight, progress: float) -> float:
    """A weight at a share of the training."""
    return value(progress) if isinstance(value, Curve) else value


@dataclass
class Settings:
    """Base of all configs of methods: a mapping in the place of a curve becomes one, and every field is checked.

    Raises: ConfigError for a wrong type, choice or range; a wrong choice gets the nearest one.
    """

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for field in dataclasses.fields(self):
            value, kinds = getattr(self, field.name), _kinds(hints[field.name])
            if Curve in kinds and isinstance(value, Mapping):
                value = Curve.of(value)
                setattr(self, field.name, value)
            _check_type(field.name, value, kinds)
            for number in (value.start, value.to) if isinstance(value, Curve) else (value,):
                _check_range(field.name, number, field.metadata)


def config_told(config: Any) -> dict[str, Any]:
    """A config as a checkpoint tells it: plain values; what is later than the first checkpoints counts where it is
    set."""
    unset = {
        field.name
        for field in dataclasses.fields(config)
        if field.metadata.get("later") and getattr(config, field.name) == field.default
    }
    return {name: value for name, value in dataclasses.asdict(config).items() if name not in unset}


_SAID: dict[Any, str] = {float: "a number", int: "a whole number", bool: "true or false", str: "a string"}


def _kinds(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


# The types that settings are written with and that can be checked from their source alone.
_WRITTEN: dict[str, tuple[Any, ...]] = {
    "float": (float,), "int": (int,), "bool": (bool,), "str": (str,), "Weight": (float, Curve), "None": (type(None),),
    "dict": (dict,), "list[str]": (list[str],), "list[int]": (list[int],), "list[float]": (list[float],),
}  # fmt: skip


def check_written(name: str, value: Any, kind: str, ends: Mapping[str, Any]) -> None:
    """Check a value by the type and range of its setting as they are written, ``float | None``; a type that is not
    known by its name alone is left to the class. ConfigError."""
    parts = kind.split(" | ")
    if isinstance(value, Mapping) or not all(part in _WRITTEN for part in parts):
        return
    _check_type(name, value, tuple(known for part in parts for known in _WRITTEN[part]))
    _check_range(name, value, ends)


def _check_type(name: str, value: Any, kinds: tuple[Any, ...]) -> None:
    if any(_fits(value, kind) for kind in kinds):
        return
    choices = [c for kind in kinds if get_origin(kind) is Literal for c in get_args(kind)]
    wanted = [_SAID[kind] for kind in kinds if kind in _SAID]
    wanted += [f"a list, each entry {_SAID[get_args(kind)[0]]}" for kind in kinds if get_origin(kind) is list]
    wanted += ["a mapping"] if any((get_origin(kind) or kind) is dict for kind in kinds) else []
    wanted += ["a curve {from, to, until}"] if Curve in kinds else []
    wanted += ["null"] if type(None) in kinds else []
    mend = f"must be one of {', '.join(choices)}" if choices else f"must be {' or '.join(wanted)}"
    hint = f"; {nearest(str(value), choices)}" if choices else "."
    raise ConfigError(f"Setting {name!r} {mend}; it is {value!r}{hint}")


def _fits(value: Any, kind: Any) -> bool:
    origin = get_origin(kind)
    if origin is Literal:
        return value in get_args(kind)
    if origin is list:
        return isinstance(value, list) and all(_fits(entry, get_args(kind)[0]) for entry in value)
    if origin is dict:
        return isinstance(value, dict)
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))


def _check_range(name: str, value: Any, facts: Mapping[str, Any]) -> None:
    low, above, high, below = (facts.get(end) for end in ("low", "above", "high", "below"))
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return
    fits = (low is None or value >= low) and (above is None or value > above)
    if fits and (high is None or value <= high) and (below is None or value < below):
        return
    raise ConfigError(f"Setting {name!r} must lie in {interval(facts)}; it is {value}.")


def interval(facts: Mapping[str, Any]) -> str:
    """``[0, inf)``; empty for a setting without a range."""
    low, above, high, below = (facts.get(end) for end in ("low", "above", "high", "below"))
    if low is above is high is below is None:
        return ""
    left = f"[{low}" if low is not None else f"({above}" if above is not None else "(-inf"
    return f"{left}, {f'{high}]' if high is not None else f'{below})' if below is not None else 'inf)'}"
