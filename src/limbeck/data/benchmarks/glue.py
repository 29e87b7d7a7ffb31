"""GLUE tasks (and BoolQ, CB, COPA, WiC, HellaSwag) from a folder of their files or the hub, for a student of texts."""

from __future__ import annotations

import functools
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from limbeck.data.benchmarks.glue_tasks import TEXT_TASKS, TextTask
from limbeck.data.files.records import Record, Table, read_table, refuse_bad, table_of
from limbeck.data.own.text_rows import (
    TextRow,
    check_keys,
    check_on_error,
    examples_of,
    paired_text_task,
)
from limbeck.data.own.text_splits import cut_by_group
from limbeck.data.task import Task
from limbeck.errors import ConfigError, DataError, UnknownNameError, nearest
from limbeck.problems.registry import problem_class, split_spec

TeacherRowsOf = Literal["row", "choice"]
FILE_SUFFIXES = (".tsv", ".csv", ".jsonl")


def glue(
    folder: str | None = None,
    *,
    task: str = "rte",
    labels_per_class: int | None = None,
    illustrate: str | None = None,
    picture_size: int = 24,
    validation_share: float = 0.1,
    teacher_rows: TeacherRowsOf = "row",
    on_error: str = "error",
    seed: int = 0,
) -> Task:
    """A task of language understanding whose teacher speaks about the same sentences.

    GLUE hides the labels of its test, so its development set is ``test`` here, and ``validation`` is cut from its
    training set by a fixed hash of the premise (the first sentence; for wic the word, for hellaswag the video or
    article that it is from): the same rows for every seed, and no premise on both sides. Premises that GLUE itself
    shares between train and dev stay, and ``info`` counts them.

    Args:
        folder: holds ``train`` and ``dev`` (``.tsv`` as GLUE gives them, ``.csv`` or ``.jsonl``, or with the task's
            name before: ``hellaswag_train.jsonl``), or Parquet files, or a folder of the task's name with these
            (``RTE``, ``SST-2``); or a repository of the hub, by default the task's own.
        task: cola, sst2, mrpc, qqp, stsb, mnli, qnli, rte, wnli, boolq, cb, copa, wic or hellaswag.
        labels_per_class: labels that training keeps of each class (values, for stsb), drawn by ``seed``; all by
            default. The teacher may speak about every training row.
        illustrate: ``emoji:DIR`` draws each row as a strip of up to four emoji of ``DIR/emoji.csv``, so that a
            teacher of pictures answers about it (see ``illustrate.py``). By default ``link`` are the
            training texts themselves, for a teacher of texts or a bank of the user's keyed as they are.
        picture_size: height of such a strip in pixels; a row takes 48 bytes times its square.
        validation_share: of the training rows, about.
        teacher_rows: ``choice`` (copa, hellaswag): the teacher is asked about every choice by itself, under
            ``train/INDEX#0`` and so on, for ``armada`` with ``teacher_row: choice``.
        on_error: ``skip`` leaves out rows that cannot be read and names them in ``info``; ``error`` raises.

    Returns: columns ``text`` and ``text_pair``, or ``text`` and ``choices`` (copa, hellaswag); keys ``train/INDEX`` and
        ``dev/INDEX`` by the row's index column, else by its number from 0. The metric that decides is the
        official one: Matthews' correlation for cola, F1 (of the second class) for mrpc and qqp, Pearson's r for stsb
        (beside Spearman's rho), else accuracy (beside macro F1, for cb).

    Raises: UnknownNameError for a task; DataError naming file and line; ConfigError.
    Source: see :mod:`limbeck.data.benchmarks.glue_tasks`.
    """
    if task not in TEXT_TASKS:
        raise UnknownNameError(f"GLUE has no task {task!r} here; {nearest(task, TEXT_TASKS)}")
    if not 0 < validation_share < 1:
        raise ConfigError(f"validation_share={validation_share} must lie between 0 and 1.")
    check_on_error(on_error)
    if teacher_rows not in get_args(TeacherRowsOf):
        raise UnknownNameError(f"teacher_rows={teacher_rows!r} is not known; valid ones: row, choice.")
    spec = TEXT_TASKS[task]
    tables = _tables(folder, task, spec)
    rows: dict[str, list[TextRow]] = {}
    skipped: dict[str, str] = {}
    for role, table in tables.items():
        rows[role], bad = _rows(role, table, spec, on_error)
        skipped |= bad
    parts = cut_by_group(rows.pop("train"), {"validation": validation_share}, ("glue", task))
    parts |= rows
    if empty := [role for role, members in parts.items() if not members]:
        raise DataError(f"No row is left for {empty[0]} of {task}; give more rows.")
    roles = {role: examples_of(members, spec.class_names, spec.problem) for role, members in parts.items()}
    roles["train"].problem.check(roles["train"].targets, f"GLUE's {task}")
    shared = {row.group for row in parts["train"] + parts["validation"]} & {
        row.group for row in parts["test"]
    }
    return paired_text_task(
        f"glue {task}",
        roles,
        labels_per_class=labels_per_class,
        seed=seed,
        **_illustrations(illustrate, picture_size),
        each_choice=teacher_rows == "choice",
        info={
            "source": folder or spec.hub,
            "task": task,
            "problem": split_spec(spec.problem)[0],
            "skipped": skipped,
            "premises_shared_with_test": len(shared),
            "illustrate": illustrate,
        },
    )


def _illustrations(illustrate: str | None, size: int) -> dict[str, Any]:
    """What the teacher looks at, as further arguments of :func:`paired_text_task`."""
    if illustrate is None:
        return {}
    kind, _, folder = illustrate.partition(":")
    if kind != "emoji" or not folder:
        raise UnknownNameError(f"illustrate={illustrate!r} is not known; valid ones: emoji:DIR.")
    from limbeck.data.benchmarks.illustrate import picture_splits, strip_views

    return {
        "teacher": functools.partial(picture_splits, folder=folder, size=size),
        "teacher_views": strip_views(),
    }


# -- which rows there are --------------------------------------------------------------------------------------


def _tables(folder: str | None, task: str, spec: TextTask) -> dict[str, Table]:
    """The table of each role: ``train``, ``test`` and further final ones."""
    names = {"train": ("train",), **spec.held_out}
    here = Path(folder).expanduser() if folder else None
    if here is None or not here.exists():
        place = folder or spec.hub
        return _hub_tables((place,) if spec.hub.endswith(f"/{task}") else (place, task), names)
    if not here.is_dir():
        raise DataError(f"{here} is a file; give the folder that holds train and dev.")
    here = next((f for f in sorted(here.iterdir()) if f.is_dir() and _plain(f.name) == task), here)
    if any(here.rglob("*.parquet")):
        return _hub_tables((str(here),), names)
    return {
        role: read_table(_file(here, task, options), header=spec.header) for role, options in names.items()
    }


def _plain(name: str) -> str:
    """A task's name from that of its folder: ``SST-2`` is sst2."""
    return name.lower().replace("-", "")


def _file(folder: Path, task: str, names: tuple[str, ...]) -> Path:
    for name in names:
        for stem in (name, f"{task}_{name}"):
            for suffix in FILE_SUFFIXES:
                if (folder / f"{stem}{suffix}").is_file():
                    return folder / f"{stem}{suffix}"
    raise DataError(f"{folder} holds no {' or '.join(f'{n}.tsv' for n in names)} (or .csv, .jsonl).")


def _hub_tables(place: tuple[str, ...], names: Mapping[str, tuple[str, ...]]) -> dict[str, Table]:
    """The same through ``datasets``: ``place`` is a folder, or a repository and its configuration."""
    from datasets import load_dataset

    source = place[0]
    try:
        found = load_dataset(*place)
    except Exception as error:  # whatever the network, the hub or a file's format raises
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{source!r} is no folder of text files here and datasets cannot load it ({reason.rstrip('.')}); "
            "give a folder of the task's files."
        ) from error
    tables = {}
    for role, options in names.items():
        split = next((name for name in options if name in found), None)
        if split is None:
            raise DataError(f"{source} has no split {' or '.join(options)}; it has {', '.join(found)}.")
        tables[role] = table_of(found[split].to_dict(), f"{source} {split}")
    return tables


# -- from a row of the file to a row of the task ---------------------------------------------------------------


def _rows(role: str, table: Table, spec: TextTask, on_error: str) -> tuple[list[TextRow], dict[str, str]]:
    """The rows of a table, and the places of those left out with the reason."""
    known = {spec.aliases.get(name, name): name for name in table.columns}
    for column in (*_fields(spec), "label"):
        if column not in known:
            raise UnknownNameError(f"{table.source} has no column {column!r}; {nearest(column, known)}")
    prefix = "train" if role == "train" else role.replace("test", "dev")
    index = next((name for name in ("index", "idx") if name in known), None)
    rows, bad = [], dict(table.bad)
    for number, record in enumerate(table.records):
        cells = {name: record.cells.get(column) for name, column in known.items()}
        try:
            rows.append(_row(f"{prefix}/{cells[index] if index else number}", record, cells, spec))
        except DataError as error:
            bad[record.place] = str(error)
    refuse_bad(bad, len(table.records) + len(table.bad), table.source, on_error)
    check_keys(rows, table.source)
    return rows, bad


def _fields(spec: TextTask) -> list[str]:
    """Columns that the templates of a task name."""
    templates = (spec.text, spec.text_pair, *spec.choices)
    found = [name for template in templates for _, name, *_ in string.Formatter().parse(template) if name]
    return list(dict.fromkeys(name.partition("[")[0] for name in found))


def _row(key: str, record: Record, cells: dict[str, Any], spec: TextTask) -> TextRow:
    words: dict[str, Any] = {}
    for name in _fields(spec):
        if f"{{{name}[0]}}" in spec.choices:
            words[name] = _texts(cells[name], name, len(spec.choices))
            continue
        if not isinstance(cells[name], str) or not cells[name].strip():
            raise DataError(f"has no text in {name!r}")
        words[name] = spec.values.get(name, {}).get(cells[name], cells[name])
    columns: dict[str, Any] = {"text": spec.text.format_map(words)}
    if spec.text_pair:
        columns["text_pair"] = spec.text_pair.format_map(words)
    if spec.choices:
        columns["choices"] = tuple(choice.format_map(words) for choice in spec.choices)
    label = _label(cells["label"], spec)
    group = cells.get(spec.group) or words[_fields(spec)[0]]
    return TextRow(key, record.place, columns, label, group=group)


def _texts(cell: Any, name: str, n: int) -> list[str]:
    """The texts of a column that holds a list of them."""
    texts = cell if isinstance(cell, list) else []
    if len(texts) != n or not all(isinstance(text, str) and text.strip() for text in texts):
        raise DataError(f"has no list of {n} texts in {name!r}")
    return texts


def _label(cell: Any, spec: TextTask) -> Any:
    """A label as the problem reads it; a class from its name, or from its number (which hub and official files use)."""
    problem = problem_class(split_spec(spec.problem)[0])
    if not problem.is_distribution:
        return problem.label(cell)
    if cell in spec.class_names:
        return str(cell)
    if str(cell).isdigit() and int(cell) < len(spec.class_names):
        return spec.class_names[int(cell)]
    if isinstance(cell, bool):
        return spec.class_names[int(cell)]
    raise DataError(f"has the label {cell!r}, none of {', '.join(spec.class_names)}")
