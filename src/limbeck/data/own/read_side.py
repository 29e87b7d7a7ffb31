"""From the settings of a side to its rows: keys, labels, groups and splits in memory, inputs where they fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from limbeck.data.base import Examples
from limbeck.data.files.table_files import Chunk
from limbeck.data.own.folders import FolderData
from limbeck.data.own.inputs import Reading, Texts
from limbeck.data.own.media_inputs import reading_of
from limbeck.data.own.several import SEVERAL
from limbeck.data.own.sides.class_folders import ROLE_OF
from limbeck.data.own.sides.columns import Columns, columns_of
from limbeck.data.own.sides.side import Side
from limbeck.data.own.sides.sources import Opened, opened, place_of, with_rows
from limbeck.data.own.text_table import choice_of
from limbeck.errors import ConfigError, DataError, nearest, some
from limbeck.problems.base import Problem, Targets
from limbeck.problems.registry import problem, problem_class, split_spec
from limbeck.signals.cells import is_nothing, keys_of, name_of
from limbeck.signals.key import Key

ROWS = 1024  # read at once


@dataclass
class _Rows:
    """What is known of the rows that were kept, one entry each."""

    keys: list[Any] = field(default_factory=list)
    labels: list[Any] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    roles: list[str] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    bad: dict[str, str] = field(default_factory=dict)

    def without(self, bad: Mapping[int, str], named: Sequence[str]) -> _Rows:
        """The others; ``bad`` and ``named`` by number."""
        kept = [i for i in range(len(self.places)) if i not in bad]
        lists = {
            n: [getattr(self, n)[i] for i in kept] for n in ("keys", "labels", "groups", "roles", "places")
        }
        return replace(self, **lists, bad=self.bad | {named[i]: reason for i, reason in bad.items()})


def read_side(
    side: Side, where: str, posed: str | Mapping[str, Any], names: Sequence[str] = ()
) -> FolderData:
    """The rows of one side, with a class of the problem ``posed``.

    Args:
        where: what the side is called in messages, ``student``.
        names: of the problem's outputs, for rows without labels of their own.

    Raises: DataError, UnknownNameError, ConfigError: one sentence with the mend.
    """
    source = with_rows(opened(side.source, classes=side.label is not False))
    columns = columns_of(side, source, where)
    reading = reading_of(side, source, columns.all, where)
    kind, _ = split_spec(posed)
    if problem_class(kind).chooses and not (isinstance(reading, Texts) and "choices" in reading.of):
        raise ConfigError(
            f"problem={kind!r} needs choices in {source.name}; {where}.input: {{choices: [A, B]}}."
        )
    rows = _read(source, columns, reading, problem_class(kind), side)
    if not rows.places:  # nothing was kept that could be finished
        _refuse(rows, source, side, where)
    inputs, preprocessor, late = ({}, {}, {}) if reading is None else reading.finish()
    if late:
        rows = rows.without(late, [_named(source, place) for place in rows.places])
    _refuse(rows, source, side, where)
    keys = _keys(rows, source, columns)
    found, targets = _targets(rows, source, columns, side, posed, reading, names)
    examples = Examples(inputs, keys, targets, found)
    return FolderData(
        examples,
        side.modality or ("keys" if side.inputs is None else SEVERAL),  # type: ignore[arg-type]
        {key: group for key, group in zip(keys, rows.groups) if group},
        _report(rows, examples, source),
        preprocessor,
        {key: role for key, role in zip(keys, rows.roles) if role},
    )


def _named(source: Opened, place: int) -> str:
    return place_of(source.table, place)


# ---- rows ------------------------------------------------------------------------------------------------------


def _read(
    source: Opened, columns: Columns, reading: Reading | None, posed: type[Problem], side: Side
) -> _Rows:
    rows, same = _Rows(), dict[str, str]()  # one text for all equal ones
    wanted = list(dict.fromkeys([*columns.all, *(reading.columns if reading else ())]))
    wanted = wanted or list(source.table.columns[:1])
    for chunk in source.table.chunks(wanted, ROWS):
        rows.bad |= {_named(source, place): reason for place, reason in chunk.bad.items()}
        values, bad = reading.take(chunk) if reading else ([None] * len(chunk.places), {})
        cells = _Cells(chunk, columns, source, posed, side, reading)
        kept: list[int] = []
        for row, place in enumerate(chunk.places):
            try:
                if row in bad:
                    raise DataError(bad[row])
                key, label, group, role = cells.of(row)
            except DataError as error:
                rows.bad[_named(source, place)] = str(error)
                continue
            rows.keys.append(place if columns.key is None else key)
            rows.labels.append(same.setdefault(label, label) if isinstance(label, str) else label)
            rows.groups.append(same.setdefault(group, group))
            rows.roles.append(role)
            rows.places.append(place)
            kept.append(row)
        if reading is not None and kept:
            reading.keep([values[row] for row in kept], [chunk.places[row] for row in kept])
    return rows


class _Cells:
    """Key, label, group and split of the rows of a chunk."""

    def __init__(
        self,
        chunk: Chunk,
        columns: Columns,
        source: Opened,
        posed: type[Problem],
        side: Side,
        reading: Reading | None,
    ) -> None:
        self._columns, self._posed, self._reading = columns, posed, reading
        self._cells = {name: chunk.values(name) for name in columns.all}
        self._stated = source.table.class_names.get(columns.label or "")
        self._names = None if side.class_names is None else tuple(map(name_of, side.class_names))

    def of(self, row: int) -> tuple[Any, Any, str, str]:
        """DataError says what is wrong with the row, without its place."""
        key = self._cell("key", row)
        if self._columns.key is not None and (is_nothing(key) or not name_of(key)):
            raise DataError(f"has no key in column {self._columns.key!r}")
        role = name_of(self._cell("split", row)).lower()
        if role and role not in ROLE_OF:
            raise DataError(f"has the split {role!r}, none of {', '.join(ROLE_OF)}")
        return key, self._label(row), name_of(self._cell("group", row)), ROLE_OF.get(role, "")

    def _cell(self, role: str, row: int) -> Any:
        column = getattr(self._columns, role)
        return None if column is None else self._cells[column][row]

    def _label(self, row: int) -> Any:
        cell = self._cell("label", row)
        if self._stated is not None:
            return None if cell is None or cell < 0 else self._checked(self._stated[cell])
        if not isinstance(cell, (list, tuple)):
            cell = cell if isinstance(cell, (int, float)) and not is_nothing(cell) else name_of(cell)
            if cell == "":
                return None
        if self._posed.chooses and isinstance(self._reading, Texts):
            return choice_of(name_of(cell), self._reading.choice_names)
        return self._checked(self._posed.label(cell))

    def _checked(self, label: Any) -> Any:
        several = [label] if isinstance(label, str) else label if isinstance(label, tuple) else ()
        for name in several if self._names is not None else ():
            if name not in (self._names or ()):
                near = nearest(name, self._names or ()).rstrip(".?")
                raise DataError(f"has the label {name!r}, no class name ({near})")
        return label


def _refuse(rows: _Rows, source: Opened, side: Side, where: str) -> None:
    """DataError naming the first rows that cannot be used, unless they are to be skipped and others are left."""
    n = len(rows.places) + len(rows.bad)
    if not n:
        raise DataError(f"{source.name} holds no rows; check the file.")
    if not rows.bad or (side.on_error == "skip" and rows.places):
        return
    shown = list(rows.bad.items())[:3]
    reasons = ", ".join(
        reason if reason.startswith(("/", place)) else f"{place} {reason}" for place, reason in shown
    )
    more = f" and {len(rows.bad) - 3} more" if len(rows.bad) > 3 else ""
    mend = (
        "mend them"
        if side.on_error == "skip"
        else f"mend them, or set {where}.on_error: skip to leave them out"
    )
    if any("samples a second" in reason for reason in rows.bad.values()):
        mend += f", or {where}.resample: true for those of another rate"
    raise DataError(f"{len(rows.bad)} of {n} rows of {source.name} cannot be used: {reasons}{more}; {mend}.")


def _keys(rows: _Rows, source: Opened, columns: Columns) -> tuple[Key, ...]:
    """Raises: DataError for keys that come more than once."""
    if columns.key is None:
        return tuple(rows.keys)
    keys = keys_of(rows.keys, typed=source.table.typed)
    if len(set(keys)) < len(keys):
        twice = [key for key, count in Counter(keys).items() if count > 1]
        mend = "make them unique"
        if source.is_folder and columns.key == "stem":
            mend = "take key: path, or give the files different names"
        elif columns.key is not None:
            mend += ", or, where several rows belong to one thing, name that column as group and link by bags"
        raise DataError(f"{source.name} has keys that occur more than once: {some(twice)}; {mend}.")
    return tuple(keys)


# ---- what is to be found ---------------------------------------------------------------------------------------


def _targets(
    rows: _Rows,
    source: Opened,
    columns: Columns,
    side: Side,
    posed: str | Mapping[str, Any],
    reading: Reading | None,
    names: Sequence[str],
) -> tuple[Problem, Targets]:
    cls = problem_class(split_spec(posed)[0])
    if cls.chooses and isinstance(reading, Texts):
        own: Sequence[str] = reading.choice_names
    elif side.class_names is not None:
        own = tuple(map(name_of, side.class_names))
        if len(set(own)) != len(own):
            raise ConfigError(f"class_names={list(own)} must be different names.")
    else:
        own = source.table.class_names.get(columns.label or "") or cls.names_in(
            rows.labels, columns.label or "value"
        )
    if all(label is None for label in rows.labels):
        own = own if side.class_names is not None else names or own
        return problem(posed, own), Targets.unknown(len(rows.labels))
    if set(own) == set(names):  # both sides in one order
        own = names
    return problem(posed, own), cls.targets_of(rows.labels, own)


def _report(rows: _Rows, examples: Examples, source: Opened) -> dict[str, Any]:
    classes = examples.problem.classes(examples.targets)
    report: dict[str, Any] = {
        "source": source.name,
        "read": len(examples),
        "skipped": rows.bad,
        "unlabelled": int((~examples.targets.known).sum()),
    }
    if classes is not None:
        report["rows_by_class"] = {n: int((classes == c).sum()) for c, n in enumerate(examples.class_names)}
    return report
