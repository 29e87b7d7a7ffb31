"""What can be told of the sources that a recipe names before torch is loaded: places and columns that are not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from limbeck.data.files.table_files import JSON_SUFFIXES
from limbeck.data.own.sides.columns import check_columns
from limbeck.data.own.sides.side import side_of
from limbeck.data.own.sides.sources import HUB, existing, opened, with_rows

_SMALL = 2**20  # bytes of a JSON file, of which all is read to see its columns
# Settings of other data sets that are paths where they are texts.
_PATHS = {
    "texts": ("path",),
    "prompts": ("path",),
    "instructions": ("path",),
    "folders": ("student", "teacher"),
}


def check_sources(name: str, config: Mapping[str, Any]) -> None:
    """Look at the files that the data set ``name`` is to be read from, as far as no row has to be read.

    Raises: DataError, UnknownNameError, ConfigError: the sentences of the data set itself.
    """
    for setting in _PATHS.get(name, ()):
        value = config.get(setting)
        if isinstance(value, str) and "$" not in value:
            existing(value)
    for where, values in _sides(config) if name == "own" else ():
        source = values.get("source")
        if isinstance(source, str) and not source.startswith(HUB):
            side = side_of(values, where, needs_modality=where == "student")
            if _shows_its_columns(existing(source)):
                check_columns(side, with_rows(opened(source)), where)


def _shows_its_columns(path: Path) -> bool:
    """Whether they are found without looking through files or reading all of one."""
    return path.is_file() and (path.suffix.lower() not in JSON_SUFFIXES or path.stat().st_size <= _SMALL)


def _sides(config: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    named = {"student": config.get("student"), "teacher": config.get("teacher")}
    several = config.get("teachers")
    if isinstance(several, Mapping):
        named |= {
            f"teachers.{name}": {key: value for key, value in values.items() if key != "link"}
            for name, values in several.items()
            if isinstance(values, Mapping)
        }
    for where, values in named.items():
        if isinstance(values, Mapping) and values:
            yield where, values
