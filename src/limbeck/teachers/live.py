"""A teacher that is asked during the training, behind the interface of a bank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck.banks.bank import Bank
from limbeck.banks.columns import columns_of, schema_of, to_stored
from limbeck.banks.key_index import KeyIndex
from limbeck.banks.manifest import DTYPES, Manifest, dtype_name
from limbeck.banks.plain_engine import naming_keys
from limbeck.banks.stores import Column
from limbeck.data.base import Examples
from limbeck.errors import ConfigError, DataError
from limbeck.signals.classes import UNLABELLED
from limbeck.signals.teacher import Teacher


class LiveTeacher(Bank):
    """Answers every look-up by running ``teacher`` on the rows asked for; nothing is stored.

    For teachers whose answers must not be written down or are too large to keep; for all others a bank is asked
    once and is faster. It reads, samples, joins class names and is shuffled as a bank is.

    Args:
        teacher: deterministic and frozen; its head is read once.
        examples: the rows that it can be asked about, by key; their labels are the bank's labels.
        batch_size: rows in one call at most, >= 1.
        dtype: of what it gives: ``float16``, ``bfloat16`` or ``float32``, as in a bank.

    Raises: DataError without rows; BankError and NonFiniteError as in a bank's build, when it is asked.

    Example:
        >>> live = LiveTeacher(teacher, images)  # doctest: +SKIP
        >>> run(recipe, bank=live)               # doctest: +SKIP
    """

    def __init__(
        self,
        teacher: Teacher,
        examples: Examples,
        *,
        batch_size: int = 256,
        dtype: str | torch.dtype = "float32",
    ) -> None:
        if batch_size < 1:
            raise ConfigError(f"A live teacher needs a batch_size of at least 1; it is {batch_size}.")
        if not len(examples):
            raise DataError("A live teacher needs at least one row that it can be asked about.")
        store = _AskingStore(teacher, examples, batch_size, DTYPES[dtype_name(dtype)])
        index = KeyIndex.build(examples.keys)
        labelled = bool((examples.labels != UNLABELLED).any())
        names = teacher.class_names
        manifest = Manifest(
            shard_rows=len(examples),
            dtype=dtype_name(dtype),
            state="complete",
            rows=len(examples),
            key_kind=index.kind,
            views=list(index.views),
            signals=store.schema,
            labelled=labelled,
            class_names=list(examples.class_names if names is None else names),
            access=teacher.access,
            fingerprint=dict(teacher.fingerprint()),
        )
        super().__init__(
            store=store,
            index=index,
            manifest=manifest,
            labels=examples.labels.numpy() if labelled else None,
            head=teacher.head,
            origin=(_remake, (teacher, examples, batch_size, dtype)),
        )

    @property
    def name(self) -> str:
        return "of a live teacher"

    def verify(self) -> int:
        """There are no files: 0 bytes."""
        return 0


def _remake(teacher: Teacher, examples: Examples, batch_size: int, dtype: Any) -> LiveTeacher:
    return LiveTeacher(teacher, examples, batch_size=batch_size, dtype=dtype)


class _AskingStore:
    """A store whose rows are asked for when they are read."""

    def __init__(self, teacher: Teacher, examples: Examples, batch_size: int, dtype: torch.dtype) -> None:
        self.teacher, self.examples = teacher, examples
        self.batch_size, self.dtype = batch_size, dtype
        first = self._ask(np.arange(1))
        self.columns = tuple(first)
        self.schema = schema_of(first)
        self._nothing: dict[str, Column] = {name: value[:0] for name, value in first.items()}

    def _ask(self, rows: np.ndarray) -> dict[str, Column]:
        keys = [self.examples.keys[row] for row in rows.tolist()]
        with naming_keys(keys):
            output = self.teacher(self.examples.rows(torch.from_numpy(rows)))
        return to_stored(columns_of(output, keys), self.dtype, keys)

    def take(self, names: Sequence[str], rows: np.ndarray) -> dict[str, Column]:
        cuts = range(0, len(rows), self.batch_size)
        parts = [self._ask(np.asarray(rows[a : a + self.batch_size])) for a in cuts] or [self._nothing]
        return {name: _joined([part[name] for part in parts]) for name in names}

    def run(self, names: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        return self.take(names, np.arange(start, stop))


def _joined(parts: list[Column]) -> Column:
    if isinstance(parts[0], Tensor):
        return parts[0] if len(parts) == 1 else torch.cat(parts)
    return [value for part in parts for value in part]
