"""From texts to the student's tokens, before a run starts: every split once, by the student's own tokenizer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from limbeck.data.base import Examples
from limbeck.data.task import Task
from limbeck.students.text import encode, tokenizer_of


class EncodedTask(NamedTuple):
    """A task whose inputs are tensors; ``tokenizer`` is None, and nothing was cut, where there were no texts."""

    task: Task
    tokenizer: Any = None
    n_cut: int = 0


def encoded_task(task: Task, model: str, max_length: int) -> EncodedTask:
    """The task with ``input_ids`` and ``attention_mask`` in place of its texts; other columns stay.

    The preprocessor that is shipped with the student says how raw texts become its inputs.

    Args:
        model: spec of the student, whose tokenizer it is.    max_length: in tokens; longer texts are cut and counted.

    Raises: DataError for an empty text, named by its key, and for a model without a tokenizer.
    """
    columns = task.splits["train"].text_columns
    if not columns:
        return EncodedTask(task)
    tokenizer, n_cut = tokenizer_of(model), 0

    def encoded(examples: Examples) -> Examples:
        nonlocal n_cut
        inputs = examples.all_rows()
        raw = {name: inputs.pop(name) for name in columns}
        tokens, n = encode(tokenizer, raw, max_length, keys=examples.keys)
        n_cut += n
        return replace(examples, inputs=inputs | tokens)

    splits = task.splits.map(encoded)
    preprocessor = {**task.preprocessor, "kind": "text", "columns": list(columns), "max_length": max_length}
    return EncodedTask(replace(task, splits=splits, preprocessor=preprocessor), tokenizer, n_cut)
