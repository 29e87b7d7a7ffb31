"""Asking a teacher about a data set, once: resumable, one builder at a time, every answer checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from limbeck.banks.builder import Builder
from limbeck.banks.engines.choose import engine_named
from limbeck.banks.files import builder_lock, check_folder
from limbeck.banks.folder.swap import beside, put_in_place, tidy
from limbeck.banks.left_out import LeftOut, RowBatches
from limbeck.banks.manifest import MANIFEST_FILE, Manifest, dtype_name
from limbeck.banks.rows import RowColumns, RowReader, is_one_shot, opened
from limbeck.errors import BankError, ConfigError, CorruptShardError, StaleFingerprintError
from limbeck.signals.teacher import AsksAhead, Teacher


@dataclass(frozen=True)
class BuildSettings:
    """How a bank is built.

    Args:
        batch_size: rows that the teacher is asked about at once; a batch never crosses shards.
        shard_size: rows a shard; a resumed build keeps the size it started with.
        dtype: ``float16``, ``bfloat16`` or ``float32``.
        class_names: names behind the labels of the data, when it does not carry them.
        class_map: data name to teacher name, where they differ.
        licence: what the teacher's owner allows, kept with the bank; default the teacher's own ``licence``.
        overwrite: where the bank is stale or damaged, ask again, beside the old bank, which is replaced once the new
            one is whole; of a paid teacher's finished bank, ask again about the rows that it lacks.
        wait: seconds to wait for another builder of this bank; ``None`` = as long as it takes, 0 = not at all.
        engine: ``plain`` asks in this process, ``ray`` in worker processes, on one machine or many (extra
            ``ray``); the bank is the same up to rounding.
        workers: threads that decode pictures and sounds ahead of the model, or processes of ``engine="ray"``.
        worker_resources: of ``engine="ray"``, see :func:`limbeck.banks.engines.choose.engine_named`.

    Raises: BankError for a size below 1.
    """

    batch_size: int = 64
    shard_size: int = 4096
    dtype: str | torch.dtype = "float32"
    class_names: Sequence[str] | None = None
    class_map: Mapping[str, str] | None = None
    licence: str | None = None
    overwrite: bool = False
    wait: float | None = None
    engine: str = "plain"
    workers: int | None = None
    worker_resources: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.shard_size < 1:
            raise BankError(
                f"batch_size and shard_size must be at least 1; they are {self.batch_size} and {self.shard_size}."
            )


def build_bank(
    path: str | Path, teacher: Teacher, data: Any, columns: RowColumns, settings: BuildSettings
) -> None:
    """Ask ``teacher`` about every row of ``data`` and keep what it says in the folder ``path``.

    Run again after an interruption it goes on where it stopped: at most the open shard is asked again, and a
    deterministic teacher asked with the same batch size and threads gives the same bytes as an undisturbed
    build. Run again on a finished bank it checks fingerprints and inputs and asks nothing.

    A teacher that :class:`~limbeck.signals.teacher.AsksAhead` (an API) is asked about everything first and keeps
    each answer in its own store; rows that it never answers are left out, and ``bank.json`` says why.

    Args:
        data: :class:`~limbeck.data.base.Examples`, a ``datasets.Dataset``, a frame of pandas or polars, an Arrow table,
            a mapping of column name to values, the path of a table (CSV, TSV, JSON Lines, Parquet), or a sequence or
            iterable of dictionaries (column name to tensor, number or text).
        columns: which columns are key, label and view, and which the teacher is given.

    Raises:
        DataError: no rows, a missing column, a key that comes twice.    ClassNamesError: names do not join.
        NonFiniteError, InconsistentOutputError: the teacher's answers, named by key.
        StaleFingerprintError: the bank there was built by another teacher or from other inputs (says which
            part).
        CorruptShardError: a shard was cut.    BankBusyError: another process builds it and ``wait`` ran out.
        UnansweredError: a paid teacher's budget is spent or its server gone; run again to go on.
    """
    folder, overwrite = Path(path), settings.overwrite
    ask = engine_named(settings.engine, settings.workers, settings.worker_resources)
    check_folder(folder)
    if settings.engine != "plain" and getattr(teacher, "is_compiled", False):
        raise ConfigError(
            f"A compiled teacher cannot be sent to workers; leave out compile or engine={settings.engine!r}."
        )
    data = opened(data, columns, settings.class_names)
    if isinstance(teacher, AsksAhead):
        if settings.engine != "plain":
            raise ConfigError(
                f"A {type(teacher).__name__} runs its own requests side by side; leave out "
                f"engine={settings.engine!r}."
            )
        data = list(data) if is_one_shot(data) else data  # read twice: to ask, and to compile
    names = settings.class_names
    left_out = LeftOut(
        folder, teacher, lambda: RowBatches(data, columns, names, settings.batch_size), overwrite
    )

    def run(where: Path = folder) -> None:
        missing = left_out(where)
        reader = RowReader(data, columns, names, set(chain.from_iterable(missing.values())))
        wanted = Manifest(
            shard_rows=settings.shard_size,
            dtype=dtype_name(settings.dtype),
            licence=_licence(settings, teacher),
            missing=missing,
        )
        Builder(where, teacher, reader, settings.batch_size, wanted, settings.class_map, folder).run(ask)

    with builder_lock(folder, settings.wait):
        put_in_place(folder)
        if overwrite and is_one_shot(data) and (folder / MANIFEST_FILE).is_file():
            with beside(folder) as new:
                run(new)
            return
        try:
            run()
        except (StaleFingerprintError, CorruptShardError):
            if not overwrite:
                raise
            _overwrite(folder, run)
        tidy(folder)


def _overwrite(folder: Path, run: Callable[[Path], None]) -> None:
    """Build beside the bank that is there and put the new one in its place; an interrupted one goes on."""
    try:
        with beside(folder, goes_on=True) as new:
            run(new)
    except (
        StaleFingerprintError,
        CorruptShardError,
    ):  # what was interrupted was of another teacher, or is damaged
        with beside(folder) as new:
            run(new)


def _licence(settings: BuildSettings, teacher: Teacher) -> str:
    return settings.licence if settings.licence is not None else str(getattr(teacher, "licence", "") or "")
