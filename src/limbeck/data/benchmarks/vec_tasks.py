"""The six tasks of VEC (Visual and Embodied Concepts) as data, and their rows.

Source: Li et al., Can Language Models Understand Physical Concepts?, EMNLP 2023, arXiv 2305.14057.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from limbeck.data.files.records import Record, read_table, refuse_bad
from limbeck.errors import DataError, UnknownNameError, nearest


@dataclass(frozen=True)
class Comparison:
    """How two objects are compared.

    Args:
        classes: what the first object is beside the second for the labels 0 and 1, as comparatives.
        anchors: descriptions of the low and the high end, for models that only embed.
        is_counted: whether the objects take an article ("an ant", but "dry ice").
    """

    classes: tuple[str, str]
    anchors: tuple[str, str]
    is_counted: bool = True


COMPARISONS: dict[str, Comparison] = {
    "size": Comparison(("smaller", "larger"), ("something small", "something large")),
    "height": Comparison(("shorter", "taller"), ("something short", "something tall")),
    "mass": Comparison(("lighter", "heavier"), ("something light", "something heavy")),
    "temperature": Comparison(("colder", "hotter"), ("something cold", "something hot"), is_counted=False),
    "hardness": Comparison(("softer", "harder"), ("something soft", "something hard"), is_counted=False),
}
VEC_TASKS = ("color", *COMPARISONS)


@dataclass(frozen=True)
class Pair:
    """``label`` 1: ``first`` has more of the property than ``second``; 0: less."""

    first: str
    second: str
    label: int


@dataclass(frozen=True)
class ColorRow:
    """An object, its colour and another one."""

    object: str
    color: str
    other: str


def pairs(folder: str | Path, task: str) -> list[Pair]:
    """The rows of a comparison; names without the stray blanks of the files.

    Raises: DataError naming file and lines.
    """
    return [
        Pair(_cell(record, "obj1"), _cell(record, "obj2"), _label(record))
        for record in _records(folder, task, ("obj1", "obj2", "label"))
    ]


def color_rows(folder: str | Path) -> list[ColorRow]:
    """The rows of ``color``. Raises: DataError naming file and lines."""
    return [
        ColorRow(_cell(record, "sub"), _cell(record, "obj"), _cell(record, "alt"))
        for record in _records(folder, "color", ("sub", "obj", "alt"))
    ]


def named(thing: str, *, is_counted: bool = True) -> str:
    """A thing with its article where it takes one: ``an ant``, ``dry ice``.

    Example:
        >>> named("ant"), named("dry ice", is_counted=False), named("ivan's phone"), named("headphones")
        ('an ant', 'dry ice', "ivan's phone", 'headphones')
    """
    is_plural = thing.endswith("s") and not thing.endswith(("ss", "us", "is"))
    if not is_counted or "'s " in thing or " the " in thing or is_plural:
        return thing
    return f"{'an' if thing[:1] in 'aeiou' else 'a'} {thing}"


def check_task(task: str) -> None:
    """Raises UnknownNameError for a task that VEC does not have here."""
    if task not in VEC_TASKS:
        raise UnknownNameError(f"VEC has no task {task!r} here; {nearest(task, VEC_TASKS)}")


def _records(folder: str | Path, task: str, columns: tuple[str, ...]) -> list[Record]:
    table = read_table(Path(folder).expanduser() / f"{task}.json")  # JSON Lines in spite of its name
    bad = dict(table.bad)
    for record in table.records:
        if absent := [name for name in columns if not _cell(record, name)]:
            bad[record.place] = f"has no {absent[0]!r}"
        elif "label" in columns and record.cells["label"] not in (0, 1):
            bad[record.place] = f"has the label {record.cells['label']!r}, neither 0 nor 1"
    refuse_bad(bad, len(table.records) + len(table.bad), table.source, "error", may_skip=False)
    if not table.records:
        raise DataError(f"{table.source} holds no rows.")
    return table.records


def _cell(record: Record, name: str) -> str:
    value = record.cells.get(name)
    return "" if value is None else str(value).strip()


def _label(record: Record) -> int:
    return int(record.cells["label"])
