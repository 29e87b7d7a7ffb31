"""What ``limbeck export`` measured of other formats of a run's student, kept in the run folder for its report."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck.errors import DataError
from limbeck.files import write_whole

if TYPE_CHECKING:
    from limbeck.students.export.formats import Converted

EXPORTS_FILE = "exports.json"


def note_export(run_folder: Path, result: Converted) -> None:
    """Keep what was measured; an older one of that format is replaced.

    Raises: DataError where what is there cannot be read.
    """
    told = asdict(replace(result, folder=os.path.relpath(result.folder, run_folder)))
    noted = {**_read(run_folder / EXPORTS_FILE), result.format: told}
    write_whole(run_folder / EXPORTS_FILE, json.dumps(noted, indent=2) + "\n")


def exports_told(run_folder: Path) -> dict[str, str]:
    """Format to its sizes, times and difference, in words; errors as :func:`note_export`."""
    path = run_folder / EXPORTS_FILE
    try:
        return {
            name: f"{one['bytes_before']:,} to {one['bytes_after']:,} bytes, {one['milliseconds_before']:.2g} to "
            f"{one['milliseconds_after']:.2g} ms a row, largest difference {one['difference']:.2g}"
            for name, one in _read(path).items()
        }
    except (ValueError, KeyError, TypeError) as error:
        raise _unreadable(path, error) from error


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise _unreadable(path, error) from error
    if not isinstance(noted, dict):
        raise _unreadable(path, "it is no object")
    return noted


def _unreadable(path: Path, why: object) -> DataError:
    return DataError(f"{path} cannot be read ({why}); delete it, and export the student again.")
