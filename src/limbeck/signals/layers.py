"""Inner layers by number: ``layer:4``, ``layer:-1`` (the last), ``layer:50%`` of the way up."""

from __future__ import annotations

import re
from collections.abc import Collection

from limbeck.errors import ConfigError, UnknownNameError, nearest

_NUMBERED = re.compile(r"layer:(-?\d+)(%?)")
_STORED = re.compile(r"layer_(\d+)")


def is_numbered(name: str) -> bool:
    """Whether a layer is named by its number and not by a module path."""
    return name.startswith("layer:")


def layer_number(name: str, n_layers: int, whose: str) -> int:
    """The number of a layer from 1 to ``n_layers``; 0 stands for what comes before the first.

    Raises: ConfigError for a number beyond the layers, and for what is no number.
    """
    found = _NUMBERED.fullmatch(name)
    if found is None:
        raise ConfigError(
            f"A layer is named layer:4, layer:-1 or layer:50%, or by its module path, not {name!r}."
        )
    value = int(found[1])
    number = (
        max(1, round(value / 100 * n_layers)) if found[2] else value if value >= 0 else n_layers + 1 + value
    )
    if not 0 <= number <= n_layers or (found[2] and not 0 <= value <= 100):
        raise ConfigError(
            f"There is no {name!r}: {whose} has {n_layers} layers, layer:1 to layer:{n_layers}."
        )
    return number


def stored_layer(name: str, stored: Collection[str], n_layers: int | None, whose: str) -> str:
    """The hidden states of a bank that a method means by ``name``: their own name, or ``layer_4`` for ``layer:4``.

    Args:
        n_layers: of the teacher; None = the highest that is stored counts as the last.

    Raises: UnknownNameError naming what is stored.
    """
    if name in stored:
        return name
    numbers = [int(found[1]) for other in stored if (found := _STORED.fullmatch(other))]
    if is_numbered(name) and numbers:
        wanted = f"layer_{layer_number(name, n_layers or max(numbers), whose)}"
        if wanted in stored:
            return wanted
    raise UnknownNameError(f"{whose} holds no hidden states of {name!r}; {nearest(name, stored)}")
