"""What the cells of a table mean: names, keys and numbers, each read only where it is asked for.

A cell of a CSV is a text as it stands; only an empty one is nothing. ``None``, ``NA``, ``nan`` and ``007`` are texts.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from limbeck.signals.key import Key

# A whole number that is the same text again: without leading zeros, sign or blanks.
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,18}", re.ASCII)
_LARGEST = 2**63


def is_nothing(cell: Any) -> bool:
    """An empty cell, a null of Parquet or JSON, or the NaN by which pandas marks a gap."""
    return cell is None or cell == "" or (isinstance(cell, float) and math.isnan(cell))


def text_of(cell: Any) -> str:
    """A cell as text: empty for nothing; a float that is whole (a column of whole numbers with gaps) as such."""
    if isinstance(cell, str):
        return cell
    if is_nothing(cell):
        return ""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def name_of(cell: Any) -> str:
    """A cell that names something (key, class, group): without blanks around it, and in one Unicode form, since the
    same ``é`` is one character on one machine and two on another."""
    text = cell.strip() if type(cell) is str else text_of(cell).strip()
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def is_whole(text: str) -> bool:
    """Whether a text is a whole number of 64 bits, and the number that text again: ``7``, but not ``007`` or ``+7``."""
    return _WHOLE.fullmatch(text) is not None and -_LARGEST <= int(text) < _LARGEST


def keys_of(cells: Sequence[Any], *, typed: bool) -> list[Key]:
    """A column of keys: integers where all of them are, else texts; empty for an empty cell.

    Args:
        typed: the table says what is a number (Parquet, JSON); in a CSV, texts that are whole numbers are numbers.
    """
    if typed and all(type(cell) is int and -_LARGEST <= cell < _LARGEST for cell in cells):
        return list(cells)
    try:
        names = [cell.strip() for cell in cells]
        plain = "".join(names).isascii()
    except (AttributeError, TypeError):  # some are no texts
        plain = False
    if not plain:
        names = [name_of(cell) for cell in cells]
    if not typed and all(map(is_whole, names)):
        return [int(name) for name in names]
    return list(names)


def number_of(cell: Any) -> float:
    """The number in a cell; ValueError for what is none (``1_000``, which Python takes for one, and truth values
    included)."""
    if isinstance(cell, bool) or (isinstance(cell, str) and "_" in cell) or cell is None:
        raise ValueError(f"{cell!r} is no number")
    try:
        return float(cell)
    except (TypeError, OverflowError) as error:
        raise ValueError(f"{cell!r} is no number") from error


def classes_of(labels: Iterable[Any]) -> list[str]:
    """The names of the classes, sorted; names that are all whole numbers by their value."""
    names = {name_of(label) for label in dict.fromkeys(labels)} - {""}
    return sorted(names, key=int) if all(map(is_whole, names)) else sorted(names)
