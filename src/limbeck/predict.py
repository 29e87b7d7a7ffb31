"""Use an exported student on files."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.data.files.readers import file_reader, several_reader, table_reader, text_reader
from limbeck.errors import DataError, LimbeckError, first_line
from limbeck.progress import progress
from limbeck.students.export.exported import ExportedStudent
from limbeck.students.export.folder import load_exported
from limbeck.students.export.info import check_readable
from limbeck.students.text import encode, tokenizer_of

BATCH = 256  # files read and asked at once
ROWS = 32  # texts asked at once, as their states take much memory

Batch = tuple[list[dict[str, Any]], dict[str, Tensor]]  # what each row is called, and the inputs of all rows


def predict_files(
    student: str | Path, files: Sequence[str | Path], *, exported: ExportedStudent | None = None
) -> list[dict[str, Any]]:
    """What the student's problem answers of files: ``[{"file", "probabilities": {class name: share}}]``; of a
    regression ``value`` in their place, of several labels also ``classes``.

    A student of images or audio answers once a file; one of tables or texts once a line of each CSV, TSV or JSON Lines
    file, with ``line`` (the first below a header is 2; ``row`` of a Parquet file, from 0), whose columns are those it
    was trained on.

    Args:
        exported: the student of that folder, where it has been loaded already.

    Warns: of texts that are longer than the student takes, which are cut.
    Raises: DataError for a folder that is no student, and for a file that cannot be read.
    """
    exported = exported or load_exported(student)
    if not exported.preprocessor:
        raise DataError(
            "The student's preprocessor.json is empty, so files cannot be read; use load_exported()."
        )
    check_readable(exported.preprocessor, Path(student))
    rows: list[dict[str, Any]] = []
    is_text = exported.preprocessor.get("kind") == "text"
    with progress("Predicting", len(files), "files") as advance:
        for first in range(0, len(files), 1 if is_text else BATCH):
            batch = [Path(file) for file in files[first : first + (1 if is_text else BATCH)]]
            parts = (
                _texts(batch[0], exported, Path(student))
                if is_text
                else [_rows(batch, exported.preprocessor)]
            )
            for found, inputs in parts:
                answers = exported.answers(inputs)
                if len(answers) != len(found):
                    raise DataError(
                        f"The student in {student} gives {len(answers)} answers for {len(found)} rows; one each is "
                        "needed, so use load_exported() in Python."
                    )
                rows += [row | answer for row, answer in zip(found, answers, strict=True)]
            advance(len(batch))
    return rows


def _rows(files: Sequence[Path], settings: dict[str, Any]) -> Batch:
    """Images and audio, a row a file; tables, a row a line."""
    name = settings.get("input", "x")
    if settings.get("kind") == "several":
        read_several = several_reader(settings)
        with _by_settings(files[0]):
            many = [read_several(file) for file in files]
        called = [
            {"file": str(f), **_place(place)} for f, (_, places) in zip(files, many) for place in places
        ]
        return called, {part: torch.cat([rows[part] for rows, _ in many]) for part in settings["inputs"]}
    if settings.get("kind") != "table":
        read = file_reader(settings)
        with _by_settings(files[0]):
            inputs = {name: torch.stack([read(file) for file in files])}
        return [{"file": str(file)} for file in files], inputs
    tables = [table_reader(settings)(file) for file in files]
    names = [
        {"file": str(file), **_place(place)} for file, (_, places) in zip(files, tables) for place in places
    ]
    return names, {name: torch.cat([rows for rows, _ in tables])}


@contextlib.contextmanager
def _by_settings(file: Path) -> Iterator[None]:
    """DataError for what a student's settings make of ``file``, whatever that is: they may come from anyone."""
    try:
        yield
    except (LimbeckError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of tokenizers is no Exception
        reason = first_line(error)
        raise DataError(
            f"The settings in the student's folder make no inputs of {file} ({reason}); export the student again."
        ) from error


def _texts(file: Path, exported: ExportedStudent, folder: Path) -> Iterator[Batch]:
    """The rows of a table of texts, some at a time."""
    settings, n_cut = exported.preprocessor, 0
    with _by_settings(file):
        tokenizer = tokenizer_of(f"hf:{folder}")
    columns, places = text_reader(settings, exported.class_names)(file)
    if exported.problem.writes:
        yield from _prompts(file, exported, columns, places)
        return
    for first in range(0, len(places), ROWS):
        part = slice(first, first + ROWS)
        batch = {name: values[part] for name, values in columns.items()}
        with _by_settings(file):
            tokens, n = encode(tokenizer, batch, settings["max_length"], keys=places[part])
        n_cut += n
        yield (
            [{"file": str(file), **_place(place)} for place in places[part]],
            {name: tokens[name] for name in exported.info["inputs"] if name in tokens},
        )
    if n_cut:
        warnings.warn(
            f"{n_cut} texts of {file} were longer than {settings['max_length']} tokens and were cut.",
            stacklevel=3,
        )


def _prompts(
    file: Path, exported: ExportedStudent, columns: dict[str, Any], places: Sequence[str]
) -> Iterator[Batch]:
    """The prompts of a table, some at a time; those of like length are written to together."""
    told: dict[str, None] = {}
    for first in range(0, len(places), ROWS):
        part = slice(first, first + ROWS)
        batch = {name: values[part] for name, values in columns.items()}
        with _by_settings(file):
            unknown = exported.problem.unlabelled(len(places[part]))
            made = exported.problem.encoded(batch, unknown, exported.preprocessor["max_length"], places[part])
            assert made is not None
        told.update(dict.fromkeys(made.told))
        yield [{"file": str(file), **_place(place)} for place in places[part]], made.inputs
    for sentence in told:
        warnings.warn(f"{file}: {sentence}", stacklevel=4)


def _place(place: str) -> dict[str, int]:
    """``line 7 of texts.csv`` as ``{"line": 7}``."""
    kind, number = place.split(" ")[:2]
    return {kind: int(number)}
