"""JSON from a stranger's folder, read so that nobody else could read it differently."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from limbeck.errors import DataError, machine_error

LARGEST = 256 * 2**20  # bytes; the program of a model of ten thousand steps takes about 3 million


def read_object(path: Path, *, largest: int = LARGEST) -> dict[str, Any]:
    """The JSON object in a file, whose numbers are finite; DataError as :func:`read_json`."""
    value = read_json(path, largest=largest, finite=True)
    if not isinstance(value, dict):
        raise DataError(f"{path} must hold a JSON object; copy or export it again.")
    return value


def read_json(path: Path, *, largest: int = LARGEST, finite: bool = False) -> Any:
    """What a file holds.

    Args:
        largest: in bytes.    finite: refuse NaN and Infinity, which are no JSON, though Python writes them.

    Raises: DataError for a file that is missing, larger or no JSON in UTF-8, and for a key that comes twice: readers
    differ in which one they take.
    """
    if not path.is_file():
        raise DataError(f"{path.parent} holds no {path.name}; copy or export it again.")
    try:
        size = path.stat().st_size
        if size > largest:
            raise DataError(f"{path} holds {size:,} bytes of JSON; more than {largest:,} are not read.")
        text = path.read_text(encoding="utf-8")
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_number if finite else float)
    except DataError:
        raise
    except (ValueError, RecursionError, OSError) as error:
        if (found := machine_error(error, path)) is not None:
            raise found from error
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error).rstrip(".")
        raise DataError(f"{path} is no valid JSON ({reason}); copy or export it again.") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} comes twice")
    return found


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON")
