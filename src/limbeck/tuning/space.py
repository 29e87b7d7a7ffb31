"""What may be tuned, from plain values: ``{KEY: [1, 2, 4]}`` or ``{KEY: {low: 1e-4, high: 1e-2, log: true}}``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from limbeck.errors import ConfigError

if TYPE_CHECKING:
    from optuna import Trial

YAML_READS_AS_TEXT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")  # 1e-4, which lacks the point of 1.0e-4


@dataclass(frozen=True)
class Choice:
    """One of some values, of any kind."""

    values: tuple[Any, ...]

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values that stand for all, to be checked before the first trial."""
        return self.values

    def draw(self, key: str, trial: Trial) -> Any:
        """What the sampler takes next; it sees places in the list, since not every value is one that it can keep."""
        return self.values[trial.suggest_categorical(key, range(len(self.values)))]


@dataclass(frozen=True)
class Range:
    """A number in [low, high], whole where both ends are.

    Args:
        log: drawn by its logarithm; ``low`` > 0.
    """

    low: float
    high: float
    log: bool = False

    @property
    def ends(self) -> tuple[Any, ...]:
        return self.low, self.high

    def draw(self, key: str, trial: Trial) -> Any:
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(key, self.low, self.high, log=self.log)
        return trial.suggest_float(key, self.low, self.high, log=self.log)


Space = Mapping[str, Choice | Range]


def search_space(values: Mapping[str, Any]) -> dict[str, Choice | Range]:
    """Keys to what each may be.

    Raises: ConfigError for a space without a key, a key without a value, and a range that is none.
    """
    if not isinstance(values, Mapping) or not values:
        raise ConfigError(
            "There is no search space to tune in; write one into the recipe or the arms file, as "
            "tune: {training.learning_rate: {low: 1.0e-4, high: 1.0e-2, log: true}}."
        )
    return {
        str(key): _range(key, v) if isinstance(v, Mapping) else _choice(key, v) for key, v in values.items()
    }


def _choice(key: str, values: Any) -> Choice:
    if isinstance(values, str) or not isinstance(values, list | tuple) or not values:
        raise ConfigError(
            f"tune: {key!r} needs a list of values, or a range as {{low: 0.1, high: 1.0}}; it is {values!r}."
        )
    return Choice(tuple(_number(value) for value in values))


def _range(key: str, values: Mapping[str, Any]) -> Range:
    low, high, log = _number(values.get("low")), _number(values.get("high")), values.get("log", False)
    if (
        set(values) - {"low", "high", "log"}
        or not _finite(low)
        or not _finite(high)
        or not isinstance(log, bool)
    ):
        raise ConfigError(
            f"tune: the range of {key!r} must be {{low: NUMBER, high: NUMBER, log: true or false}}; it is "
            f"{dict(values)!r}."
        )
    if low >= high or (log and low <= 0):
        raise ConfigError(
            f"tune: the range of {key!r} must run from low to a greater high, with log from above 0; it is "
            f"{dict(values)!r}."
        )
    return Range(low, high, log)


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, str) and YAML_READS_AS_TEXT.fullmatch(value) else value


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
