"""Instructions and answers in the forms of LLM-Adapters (Commonsense, Math10K) and of Dolly, as prompts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from limbeck.data.base import Examples, texts
from limbeck.data.files.records import Record, read_table, refuse_bad
from limbeck.data.own.text_rows import TextRow, check_on_error, paired_text_task
from limbeck.data.own.text_splits import cut_by_class
from limbeck.data.own.text_table import check_shares
from limbeck.data.task import Task
from limbeck.errors import DataError
from limbeck.problems.registry import problem as make_problem
from limbeck.problems.registry import split_spec
from limbeck.seeding import keyed_seed
from limbeck.signals.cells import text_of

# Columns of a form: what is asked, what it is asked about, and what is to be said.
FORMS = {
    "llm_adapters": ("instruction", "input", "output"),
    "dolly": ("instruction", "context", "response"),
}
_ANSWER_FORMAT = re.compile(r"Answer format: (\S+(?:/\S+)+)\s*$")
_CORRECT = "the correct answer is "  # how the answers of Commonsense begin


def instructions(
    path: str | Path,
    *,
    problem: Mapping[str, Any] | None = None,
    n_answers: int | None = None,
    validation_share: float = 0.05,
    test_share: float = 0.1,
    on_error: str = "error",
    seed: int = 0,
) -> Task:
    """The task of answering instructions, paired by row number with what a teacher said of the same rows.

    Args:
        path: ``.json`` with one list or ``.jsonl`` of objects with ``instruction``, ``input``, ``output`` and perhaps
            ``answer`` (LLM-Adapters), or with ``instruction``, ``context``, ``response`` and perhaps ``category``
            (Dolly); which of the two it is, its columns say.
        problem: settings of the problem ``generation``; with ``chat: true`` the instruction alone is what a user says,
            else it stands under the headings that LLM-Adapters and Alpaca train with.
        n_answers: keep so many answers of training, drawn by ``seed``; all by default.
        validation_share, test_share: of the rows.
        on_error: ``skip`` leaves out rows without instruction or answer, and names them in ``info``.
        seed: of the splits and of ``n_answers``.

    Returns: columns ``prompt``, ``completion`` and ``ended``; ``options`` too where every instruction closes with an
        answer format (``Answer format: true/false``), so that ``option_accuracy`` can be asked for.
    Raises: DataError naming the file or its rows; ConfigError.
    """
    check_shares(validation_share, test_share)
    check_on_error(on_error)
    _, settings = split_spec({"kind": "generation", **(problem or {})})
    posed = make_problem({"kind": "generation", "max_new_tokens": 256, **settings}, ("completion",))
    table = read_table(Path(path))
    form = next((form for form, names in FORMS.items() if {names[0], names[2]} <= set(table.columns)), None)
    if form is None:
        wanted = " or ".join(f"{names[0]} and {names[2]}" for names in FORMS.values())
        raise DataError(f"{path} has the columns {', '.join(table.columns)}; {wanted} are needed.")
    rows, bad = [], dict(table.bad)
    for number, record in enumerate(table.records):
        try:
            rows.append(_row(number, record, FORMS[form], bool(settings.get("chat"))))
        except DataError as error:
            bad[record.place] = str(error)
    refuse_bad(bad, len(table.records) + len(table.bad), table.source, on_error)
    shares = {"validation": validation_share, "test": test_share}
    parts = cut_by_class(rows, shares, (), np.random.default_rng(keyed_seed("instructions", "split", seed)))
    offered = all("options" in row.columns for row in rows)
    roles = {role: _examples(members, posed, offered) for role, members in parts.items()}
    info = {"source": str(path), "form": form, "skipped": bad}
    task = paired_text_task("instructions", roles, labels_per_class=n_answers, seed=seed, info=info)
    task.preprocessor["columns"] = ["prompt"]
    return task


def _row(number: int, record: Record, names: tuple[str, str, str], chat: bool) -> TextRow:
    instruction, about, answer = (text_of(record.cells.get(name)).strip() for name in names)
    for name, text in ((names[0], instruction), (names[2], answer)):
        if not text:
            raise DataError(f"has an empty {name}")
    columns: dict[str, Any] = {"prompt": _put(instruction, about, chat), "completion": answer}
    formats = _ANSWER_FORMAT.search(instruction)
    options = tuple(_CORRECT + option for option in formats[1].split("/")) if formats else ()
    if answer in options:
        columns["options"] = options
    return TextRow(number, record.place, columns, answer)


def _put(instruction: str, about: str, chat: bool) -> str:
    """The instruction under the headings that LLM-Adapters took over from Alpaca, or as one says it."""
    if chat:
        return f"{instruction}\n\n{about}" if about else instruction
    told = f"### Instruction:\n{instruction}\n\n" + (f"### Input:\n{about}\n\n" if about else "")
    beside = ", paired with an input that provides further context" if about else ""
    return (
        f"Below is an instruction that describes a task{beside}. Write a response that appropriately completes the "
        f"request.\n\n{told}### Response:\n"
    )


def _examples(rows: list[TextRow], posed: Any, offered: bool) -> Examples:
    names = ("prompt", "completion", *(("options",) if offered else ()))
    columns: dict[str, Any] = {name: texts([row.columns[name] for row in rows]) for name in names}
    columns["ended"] = torch.ones(len(rows), dtype=torch.bool)
    said = [row.label for row in rows]
    return Examples(columns, tuple(row.key for row in rows), posed.targets_of(said, posed.names), posed)
