"""A user's own prompts and answers: a CSV, TSV, JSON Lines or Parquet, for a teacher or a bank of theirs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from limbeck.data.base import Examples, texts
from limbeck.data.files.records import Record, Table, read_table, refuse_bad
from limbeck.data.own.sides.class_folders import ROLE_OF
from limbeck.data.own.text_rows import TextRow, check_keys, check_on_error, paired_text_task
from limbeck.data.own.text_splits import cut_by_class
from limbeck.data.own.text_table import KEY_COLUMNS, check_shares
from limbeck.data.task import Task
from limbeck.errors import DataError, UnknownNameError, nearest
from limbeck.problems.registry import problem as make_problem
from limbeck.problems.registry import split_spec
from limbeck.seeding import keyed_seed
from limbeck.signals.cells import keys_of, name_of, text_of
from limbeck.signals.key import Key

CUT = "length"  # the finish_reason of an answer that ran out of tokens
CUT_ANSWERS = ("leave_out", "keep")
_TEACHERS = ("teacher_prompt", "teacher_image")  # columns that the student is not shown
_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class _Columns:
    """Names of the columns, as they are in the file; None for what it does not have."""

    prompt: str | None
    completion: str | None
    messages: str | None
    options: str | None
    teacher_prompt: str | None
    teacher_image: str | None
    finish_reason: str | None
    fresh: str | None
    key: str | None
    split: str | None
    group: str | None


def prompt_table(
    path: str | Path,
    *,
    problem: Mapping[str, Any] | None = None,
    prompt: str = "prompt",
    completion: str = "completion",
    messages: str = "messages",
    options: str = "options",
    teacher_prompt: str = "teacher_prompt",
    teacher_image: str = "teacher_image",
    finish_reason: str = "finish_reason",
    cut_answers: str = "leave_out",
    fresh: str | None = None,
    key: str | None = None,
    split: str = "split",
    group: str = "group",
    n_answers: int | None = None,
    validation_share: float = 0.15,
    test_share: float = 0.2,
    on_error: str = "error",
    seed: int = 0,
) -> Task:
    """The task of writing the answers of a table of prompts, paired by key with what a teacher said of the same rows.

    Args:
        path: ``.csv``, ``.tsv``, ``.jsonl`` or ``.parquet`` in UTF-8.
        problem: settings of the problem ``generation`` (``{also: [exact_match], max_new_tokens: 64, chat: true}``).
        prompt, completion: columns of texts; a row without an answer trains unlabelled and is not tested on.
        messages: in their place a column of conversations, lists of ``{"role", "content"}``; the assistant's last word
            is the answer, and they go through the chat template of the student.
        options: optional column of lists of texts, of which the answer is one, for ``option_accuracy``.
        teacher_prompt: optional column of what the teacher is asked in place of the prompt.
        teacher_image: optional column of files of pictures that the teacher is shown, counted from the table's folder.
        finish_reason: optional column; answers that it calls ``length`` ran out of tokens.
        cut_answers: ``leave_out`` those, counted; ``keep``: they are learned without an end.
        fresh: a column of second true answers, which training learns in place of the first where there is one: what a
            teacher's own answers must beat.
        key: by default ``key``, else ``id``, else the rows' numbers from 0. A bank is joined by it.
        split: optional column of ``train``, ``validation`` (``val``, ``dev``) and ``test``.
        group: optional column; rows of an equal group stay in one split.
        n_answers: keep so many answers of training, drawn by ``seed``; all by default.
        validation_share, test_share: of the rows with answers, unless the split column names them.
        on_error: ``skip`` leaves out rows that cannot be used, and names them in ``info``.
        seed: of the splits and of ``n_answers``.

    Returns: columns ``prompt``, ``completion`` and ``ended`` (and ``options``); a paired link that names every training
        row by its key.
    Raises: DataError naming lines, keys or files; UnknownNameError for a column or setting; ConfigError.
    """
    check_shares(validation_share, test_share)
    check_on_error(on_error)
    if cut_answers not in CUT_ANSWERS:
        raise UnknownNameError(
            f"cut_answers={cut_answers!r} is not known; {nearest(cut_answers, CUT_ANSWERS)}"
        )
    kind, settings = split_spec({"kind": "generation", **(problem or {})})
    table = read_table(Path(path))
    asked = {
        "prompt": prompt, "completion": completion, "messages": messages, "options": options,
        "teacher_prompt": teacher_prompt, "teacher_image": teacher_image, "finish_reason": finish_reason,
        "fresh": fresh or "fresh", "split": split, "group": group,
        "key": key or next((name for name in KEY_COLUMNS if name in table.columns), "key"),
    }  # fmt: skip
    columns = _columns(table, asked)
    if fresh and columns.fresh is None:
        raise UnknownNameError(f"{path} has no column {fresh!r} for fresh; {nearest(fresh, table.columns)}")
    columns = columns if fresh else replace(columns, fresh=None)
    home = Path(path).expanduser().parent
    rows, named_roles, skipped, n_cut = _rows(table, columns, cut_answers, on_error, home)
    rng = np.random.default_rng(keyed_seed("prompts", "split", seed))
    shares = {"validation": validation_share, "test": test_share}
    parts = cut_by_class(rows, shares, (), rng, role_of=named_roles)
    parts["train"] = [_with_fresh(row) for row in parts["train"]]
    if columns.messages:
        settings = {"chat": True, **settings}
    posed = make_problem({"kind": kind, **settings}, ("completion",))
    roles = {role: _examples(members, posed) for role, members in parts.items()}
    if n_cut and cut_answers == "leave_out":
        warnings.warn(
            f"{n_cut} answers of {path} were cut ({finish_reason}={CUT!r}) and are left out; set cut_answers: keep to "
            "learn them without an end.",
            stacklevel=2,
        )
    info = {"source": str(path), "problem": kind, "skipped": skipped, "cut_answers": {cut_answers: n_cut}}
    task = paired_text_task(
        "prompts", roles, labels_per_class=n_answers, seed=seed, info=info, teacher=_asked_of_teacher
    )
    names = {"prompt": columns.prompt} if columns.prompt not in (None, "prompt") else {}
    preprocessor = {"kind": "text", "columns": ["prompt"], **({"names": names} if names else {})}
    return replace(task, splits=task.splits.map(_of_student), preprocessor=preprocessor)


def _with_fresh(row: TextRow) -> TextRow:
    """A training row with its second answer, where it has one."""
    fresh = row.columns.get("fresh")
    return replace(row, columns={**row.columns, "completion": fresh}, label=fresh) if fresh else row


def _of_student(examples: Examples) -> Examples:
    rows = examples.all_rows()
    return replace(examples, inputs={name: value for name, value in rows.items() if name not in _TEACHERS})


def _asked_of_teacher(hidden: Examples) -> Mapping[str, Examples]:
    """The same answers under the teacher's own prompts and pictures, where there are some."""
    rows = hidden.all_rows()
    own = rows.pop("teacher_prompt", rows["prompt"])
    kept = {name: value for name, value in rows.items() if name in ("completion", "ended")}
    seen = {"image": rows["teacher_image"]} if "teacher_image" in rows else {}
    return {"link": replace(hidden, inputs={"prompt": own, **seen, **kept})}


def _examples(rows: Sequence[TextRow], posed: Any) -> Examples:
    columns: dict[str, Any] = {
        name: texts([row.columns[name] for row in rows])
        for name in rows[0].columns
        if name not in ("ended", "fresh")
    }
    columns["ended"] = torch.tensor([bool(row.columns["ended"]) for row in rows])
    targets = posed.targets_of([row.label for row in rows], posed.names)
    return Examples(columns, tuple(row.key for row in rows), targets, posed)


def _columns(table: Table, asked: Mapping[str, str]) -> _Columns:
    """The columns that the table has; one that was asked for by another name than the usual one must be there."""
    needed = () if asked["messages"] in table.columns else ("prompt", "completion")
    for role, name in asked.items():
        if name not in table.columns and (role in needed or name != role):
            raise UnknownNameError(
                f"{table.source} has no column {name!r} for {role}; {nearest(name, table.columns)}"
            )
    return _Columns(**{role: name if name in table.columns else None for role, name in asked.items()})


def _rows(
    table: Table, columns: _Columns, cut_answers: str, on_error: str, home: Path
) -> tuple[list[TextRow], dict[Key, str], dict[str, str], int]:
    """The rows, the split of each key that names one, places of those left out with the reason, and how many answers
    were cut.

    Args:
        home: folder of the table, from which pictures are named.
    """
    rows, roles, bad, n_cut = [], {}, dict(table.bad), 0
    keys = _keys(table, columns.key)
    for key, record in zip(keys, table.records):
        place = f"{record.place} (key {key!r})" if columns.key else record.place
        try:
            role = _text(record, columns.split).lower()
            if columns.split and role not in ROLE_OF:
                raise DataError(f"has the split {role!r}, none of {', '.join(ROLE_OF)}")
            if key == "":
                raise DataError("has no key")
            row = _row(record, key, place, columns, home)
        except DataError as error:
            bad[place] = str(error)
            continue
        n_cut += not row.columns["ended"]
        if not row.columns["ended"] and cut_answers == "leave_out":
            continue
        rows.append(row)
        if role:
            roles[key] = ROLE_OF[role]
    refuse_bad(bad, len(table.records) + len(table.bad), table.source, on_error)
    if not rows:
        raise DataError(f"{table.source} holds no answers that came to their end; set cut_answers: keep.")
    check_keys(rows, table.source)
    return rows, roles, bad, n_cut


def _keys(table: Table, column: str | None) -> list[Key]:
    if column is None:
        return list(range(len(table.records)))
    return keys_of([record.cells.get(column) for record in table.records], typed=table.typed)


def _row(record: Record, key: Key, place: str, columns: _Columns, home: Path) -> TextRow:
    if columns.messages is not None:
        asked, answer = _conversation(record.cells.get(columns.messages))
    else:
        asked, answer = _text(record, columns.prompt), _text(record, columns.completion) or None
    if isinstance(asked, str) and not asked.strip():
        raise DataError("has an empty prompt")
    cells: dict[str, Any] = {"prompt": asked, "completion": answer or ""}
    if columns.teacher_prompt is not None:
        cells["teacher_prompt"] = _text(record, columns.teacher_prompt)
        if not cells["teacher_prompt"].strip():
            raise DataError("has an empty teacher_prompt")
    if columns.teacher_image is not None:
        named = _text(record, columns.teacher_image)
        cells["teacher_image"] = str(home / named)
        if not named.strip() or not (home / named).is_file():
            raise DataError(f"names the picture {named!r}, which is no file beside the table")
    if columns.options is not None:
        cells["options"] = _options(record.cells.get(columns.options), answer)
    if columns.fresh is not None:
        cells["fresh"] = _text(record, columns.fresh)
    cells["ended"] = answer is None or _text(record, columns.finish_reason) != CUT
    group = name_of(record.cells.get(columns.group)) if columns.group else ""
    return TextRow(key, place, cells, answer, group)


def _conversation(cell: Any) -> tuple[str | tuple[str, ...], str | None]:
    """What a model is asked, and what the assistant says last; None where the user has the last word."""
    if not isinstance(cell, (list, tuple)) or not all(isinstance(turn, Mapping) for turn in cell) or not cell:
        raise DataError(f"has {cell!r} where a list of messages with role and content is needed")
    turns = [(str(turn.get("role")), text_of(turn.get("content"))) for turn in cell]
    system = turns.pop(0)[1] if turns[0][0] == "system" else ""
    wanted = [_ROLES[1 + i % 2] for i in range(len(turns))]
    if [role for role, _ in turns] != wanted or not turns:
        raise DataError("has messages that are not a user's and an assistant's in turn")
    said = [content for _, content in turns]
    answer = said.pop() if len(said) % 2 == 0 else None
    return (said[0] if len(said) == 1 and not system else (system, *said)), answer or None


def _options(cell: Any, answer: str | None) -> tuple[str, ...]:
    if not isinstance(cell, (list, tuple)) or len(cell) < 2:
        raise DataError(f"has {cell!r} where a list of at least two options is needed")
    found = tuple(text_of(option) for option in cell)
    if answer is not None and answer not in found:
        raise DataError(f"has the answer {answer!r}, which is none of its options")
    return found


def _text(record: Record, column: str | None) -> str:
    return "" if column is None else text_of(record.cells.get(column))
