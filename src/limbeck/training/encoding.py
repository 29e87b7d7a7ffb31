"""From texts to the student's tokens, by its own tokenizer: once before a run, or as rows are read from disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from limbeck.data.base import Examples, Inputs, Table
from limbeck.data.task import Task
from limbeck.errors import ConfigError
from limbeck.signals.key import Key
from limbeck.students.text import encode, inputs_taken, tokenizer_of


class EncodedTable:
    """A table whose texts are encoded when their rows are asked for; rows of one call are padded alike.

    Args:
        table: the rows.    texts: its columns of texts.    keys: of the rows, for messages.
    """

    def __init__(
        self, table: Table, texts: Sequence[str], tokenizer: Any, max_length: int, keys: Sequence[Key]
    ) -> None:
        self._table, self._texts, self._keys = table, tuple(texts), keys
        self._tokenizer, self._max_length = tokenizer, max_length

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.rows(torch.tensor([0])))

    def rows(self, index: Tensor) -> Inputs:
        """The given rows, ``input_ids`` and ``attention_mask`` in place of their texts."""
        inputs = self._table.rows(index)
        raw = {name: inputs.pop(name) for name in self._texts}
        keys = [self._keys[i] for i in index.tolist()]
        return inputs | encode(self._tokenizer, raw, self._max_length, keys=keys)[0]


class EncodedTask(NamedTuple):
    """A task whose inputs are tensors; ``tokenizer`` is None, and nothing is told, where there were no texts.

    ``told`` are sentences about what was cut; texts that are read from disk as they are asked for are cut without being
    counted.
    """

    task: Task
    tokenizer: Any = None
    told: tuple[str, ...] = ()


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
    problem, taken = task.problem.for_tokenizer(tokenizer), inputs_taken(model)
    told: dict[str, None] = {}

    def encoded(examples: Examples) -> Examples:
        nonlocal n_cut
        own = _by_problem(
            replace(examples, problem=problem), min(max_length, tokenizer.model_max_length), taken
        )
        if own is not None:
            told.update(dict.fromkeys(own[1]))
            return own[0]
        if not isinstance(examples.inputs, Mapping):
            table = EncodedTable(examples.inputs, columns, tokenizer, max_length, examples.keys)
            return replace(examples, inputs=table)
        inputs = examples.all_rows()
        raw = {name: inputs.pop(name) for name in columns}
        tokens, n = encode(tokenizer, raw, max_length, keys=examples.keys)
        n_cut += n
        return replace(examples, inputs=inputs | tokens)

    splits = task.splits.map(encoded)
    if n_cut:
        told[
            f"{n_cut} texts were longer than {max_length} tokens and were cut; raise student.max_length to keep them "
            "whole."
        ] = None
    columns = tuple(task.preprocessor.get("columns", columns))
    preprocessor = {**task.preprocessor, "kind": "text", "columns": list(columns), "max_length": max_length}
    return EncodedTask(replace(task, splits=splits, preprocessor=preprocessor), tokenizer, tuple(told))


def _by_problem(
    examples: Examples, max_length: int, taken: frozenset[str] | None
) -> tuple[Examples, tuple[str, ...]] | None:
    """Rows whose problem makes tokens of texts itself, and what it tells; None for another problem.

    Raises: ConfigError for such rows that lie on disk.
    """
    if not isinstance(examples.inputs, Mapping):
        if examples.problem.writes:
            raise ConfigError("Prompts and answers are read into memory; give them as a table of texts.")
        return None
    made = examples.problem.encoded(examples.all_rows(), examples.targets, max_length, examples.keys)
    if made is None:
        return None
    inputs = {name: value for name, value in made.inputs.items() if taken is None or name in taken}
    return replace(examples, inputs=inputs, targets=made.targets), made.told
