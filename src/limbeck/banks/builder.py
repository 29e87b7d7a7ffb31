"""One pass over a data set: what is there is compared with it, what is not is asked for and written."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from itertools import chain, count
from pathlib import Path
from typing import Any, cast

import numpy as np

from limbeck.banks.columns import Schema, check_labels, check_schema, columns_of, schema_of, to_stored
from limbeck.banks.engines.ahead import in_thread
from limbeck.banks.engines.plain_engine import Answered, Engine, Planned
from limbeck.banks.files import (
    ShardRows,
    clear,
    finish,
    log,
    logged_hashes,
    read_shard_rows,
    write_head,
    write_shard,
)
from limbeck.banks.folder.fields import DTYPES, HEAD_FILE, INDEX_FILE, TEXT
from limbeck.banks.folder.verifying import is_verifying
from limbeck.banks.key_index import kind_of
from limbeck.banks.layout import width_of
from limbeck.banks.manifest import MANIFEST_FILE, Manifest
from limbeck.banks.rows import RowBatch, RowReader
from limbeck.banks.shards import corrupt, file_hash, read_notes, shard_name, text_name
from limbeck.errors import BankError, ClassNamesError, DataError, some
from limbeck.functional.response.vocabulary_head import LogitForm
from limbeck.progress import progress
from limbeck.signals.classes import UNLABELLED, join_class_names, refuse_twice
from limbeck.signals.fingerprint import check_fingerprint, stale
from limbeck.signals.output import Head, TeacherOutput
from limbeck.signals.teacher import ComparesItself, SortsRows, Teacher, first_rows


class Builder:
    """One pass over the data: shards that exist are compared with it, the others are asked for."""

    def __init__(
        self,
        folder: Path,
        teacher: Teacher,
        reader: RowReader,
        batch_size: int,
        wanted: Manifest,
        class_map: Mapping[str, str] | None,
        called: Path | None = None,
    ) -> None:
        self.called = (
            called or folder
        )  # in messages; built beside an old one, it is called by that one's name
        self.folder, self.teacher, self.reader, self.batch_size = folder, teacher, reader, batch_size
        self.names, self.label_map = _join_labels(teacher, reader, class_map)
        wanted.rows, wanted.class_names, wanted.access = reader.total, self.names, teacher.access
        wanted.fingerprint = dict(teacher.fingerprint())
        self.recorded: dict[str, str] = {}
        self.n_finished: int | None = None  # rows of the bank that was found finished
        self.manifest, self.was_complete = self._resume(wanted)
        self.all_rows = ShardRows()
        self.hashes: dict[str, str] = {}
        self.schema: Schema = {}
        self.head: Head | None = None  # of a teacher that was asked in another process
        self.form: LogitForm | None = None
        self.n_asked = 0
        self._first: dict[str, Any] = {}

    def _resume(self, wanted: Manifest) -> tuple[Manifest, bool]:
        """The manifest to go on with, after checking that what is there was begun in the same way."""
        if not (self.folder / MANIFEST_FILE).is_file():
            return wanted, False
        found = Manifest.read(self.folder)
        check_fingerprint(found.fingerprint, wanted.fingerprint, str(self.called))
        for part in ("dtype", "class_names", "rows"):
            was, now = getattr(found, part), getattr(wanted, part)
            if was != now and not (part == "rows" and (was is None or now is None)):
                raise stale(str(self.called), [part], f"{was} then, {now} now")
        complete = found.state == "complete"
        if found.missing != wanted.missing:
            if complete:
                raise stale(str(self.called), ["missing rows"], "the teacher has answered other rows since")
            clear(self.folder, keep_costs=True)  # compiled of fewer answers, and compiled anew at no cost
            return wanted, False
        recorded = found.files if complete else {}
        wanted.shard_rows = found.shard_rows
        self.n_finished = found.rows if complete else None
        self.recorded = {name: entry["sha256"] for name, entry in recorded.items()} or logged_hashes(
            self.folder
        )
        return wanted, complete

    def run(self, ask: Engine) -> None:
        # rows that are decoded as they are read are read beside the model
        with closing(in_thread(self._batches(), 3) if self.reader.decodes else self._batches()) as batches:
            self._run(ask, batches)

    def _run(self, ask: Engine, batches: Iterator[Planned]) -> None:
        first = next(batches, None)
        if first is None and self.manifest.missing:
            raise BankError(
                f"The teacher answered no row of the bank {self.called}: {_counts(self.manifest)}."
            )
        if first is None:
            raise DataError(f"The data set is empty, so there is nothing to ask for the bank {self.called}.")
        if not self.was_complete:
            self.manifest.write(self.folder)
        log(self.folder, "start", rows=self.reader.total, batch_size=self.batch_size)
        start = time.monotonic()
        with (
            progress(f"Asking for {self.called.name}", self.reader.total) as advance,
            closing(ask(self.teacher, chain([first], batches))) as answered,
        ):
            last = self._shards(answered, advance)
        if (self.folder / shard_name(last + 1)).is_file():
            raise stale(str(self.called), ["rows"], "more than the data has now")
        for name in {INDEX_FILE, HEAD_FILE} & set(self.recorded):
            self._check_bytes(name)
        if self.n_asked or not self.was_complete or not (self.folder / INDEX_FILE).is_file():
            self._finish()
        log(self.folder, "complete", asked=self.n_asked, seconds=round(time.monotonic() - start, 3))
        if self.manifest.missing:
            warnings.warn(f"The bank {self.called} lacks rows: {_counts(self.manifest)}.", stacklevel=6)

    def _finish(self) -> None:
        self._compare_itself()
        self.manifest.notes = dict(getattr(self.teacher, "notes", None) or {}) | self.all_rows.counts
        # by name: a shard's notes, which a resumed build goes by, do not keep the teacher's order
        self.manifest.signals = {name: dict(self.schema[name]) for name in sorted(self.schema)}
        write_head(self.folder, self.teacher.head or self.head, self.form)
        finish(self.folder, self.manifest, self.all_rows, self.hashes)

    def _batches(self) -> Generator[Planned, None, None]:
        """The data in order, cut at the ends of shards; a shard that exists is not asked about."""
        size, most = self.manifest.shard_rows, self.batch_size
        sorts = isinstance(self.teacher, SortsRows)
        step = cast(SortsRows, self.teacher).window(most) if sorts else most
        for shard in count():
            exists = self._is_there(shard)
            is_extra = self.n_finished is not None and shard * size >= self.n_finished
            for start in range(0, size, step):
                batch = self.reader.take(min(step, size - start))
                if not len(batch):
                    return
                if is_extra:
                    raise stale(str(self.called), ["rows"], f"{self.n_finished} then, more now")
                self._first = self._first or first_rows(batch.inputs)
                if not exists:
                    self._compare_itself()
                yield Planned(shard, batch, ask=not exists, most=most if sorts else None)

    def _compare_itself(self) -> None:
        """On the first rows of the data, wherever the build goes on: what is noted does not hang on interruptions."""
        if isinstance(self.teacher, ComparesItself) and self._first:
            self.teacher.compare(self._first)

    def _shards(self, answered: Answered, advance: Callable[[int], None]) -> int:
        """Write each shard as soon as its last row is there, or compare it with the one that is there; returns the
        number of the last."""
        rows, start = ShardRows(), time.monotonic()
        for planned, output in answered:
            self._add(rows, planned.rows, output)
            advance(len(planned.rows))
            if len(rows) == self.manifest.shard_rows:
                self._end_shard(planned, rows, start)
                rows, start = ShardRows(), time.monotonic()
        if len(rows):
            self._end_shard(planned, rows, start)
        return planned.shard

    def _end_shard(self, last: Planned, rows: ShardRows, start: float) -> None:
        if last.ask:
            self._write(last.shard, rows, time.monotonic() - start)
        else:
            self._compare(last.shard, rows)
        self.all_rows.keys += rows.keys
        self.all_rows.views += rows.views
        self.all_rows.labels += rows.labels
        self.all_rows.digests += rows.digests
        self.all_rows.counts += rows.counts

    def _add(self, rows: ShardRows, batch: RowBatch, output: TeacherOutput | None) -> None:
        labels = batch.labels if self.label_map is None else [self.label_map.get(c, -1) for c in batch.labels]
        check_labels(labels, len(self.names) if self.names else None, batch.keys)
        rows.keys += batch.keys
        rows.views += batch.views
        rows.labels += labels
        rows.digests.append(batch.digests())
        if output is None:
            return
        self.head, self.form = self.head or output.head, self.form or output.form
        rows.counts.update(output.counts)
        columns = columns_of(output, batch.keys)
        schema = schema_of(columns)
        if not self.schema:
            self._check_width(schema)
            self.schema = schema
        check_schema(self.schema, schema, batch.keys)
        for name, value in to_stored(columns, DTYPES[self.manifest.dtype], batch.keys).items():
            rows.columns.setdefault(name, []).append(value)
        self.n_asked += len(batch)

    def _check_width(self, schema: Schema) -> None:
        for name in ("logits", "log_probs"):
            width = width_of(schema[name]) if name in schema else None
            if width is not None and self.names is not None and width != len(self.names):
                raise ClassNamesError(
                    f"The teacher gives {width} {name} for {len(self.names)} class names; "
                    "pass class_names= of the teacher in the order of its outputs."
                )
            if width is not None and self.names is not None and self.teacher.class_names is None:
                warnings.warn(
                    "The teacher does not name its classes; they are taken to be those of the data.",
                    stacklevel=2,
                )

    def _write(self, number: int, rows: ShardRows, seconds: float) -> None:
        # a shard of a finished bank was lost: until it is back, the bank is unfinished
        if self.was_complete:
            self.was_complete = False
            self.manifest.write(self.folder)
        write_head(self.folder, self.teacher.head or self.head, self.form)
        hashes = write_shard(self.folder, number, rows, kind_of(rows.keys), {"schema": self.schema})
        self.hashes |= hashes
        rows.columns.clear()
        rate = round(len(rows) / max(seconds, 1e-9), 1)
        log(
            self.folder,
            "shard",
            files=hashes,
            rows=len(rows),
            seconds=round(seconds, 3),
            rows_per_second=rate,
        )

    def _compare(self, number: int, now: ShardRows) -> None:
        """A shard that is there must hold the same keys, labels and inputs, and the bytes written then."""
        path = self.folder / shard_name(number)
        self._check_bytes(path.name)
        notes = read_notes(path)
        then = read_shard_rows(self.folder, number, notes)
        if (then.keys, then.views) != (now.keys, now.views):
            differing = (
                [k for k, old in zip(now.keys, then.keys) if k != old] or now.keys[len(then) :] or then.keys
            )
            raise stale(str(self.called), ["keys"], f"from key {differing[0]!r} on")
        changed = np.flatnonzero((np.concatenate(then.digests) != np.concatenate(now.digests)).any(axis=1))
        if len(changed):
            raise stale(
                str(self.called), ["inputs"], f"those of the keys {some(now.keys[i] for i in changed)}"
            )
        if then.labels != now.labels:
            wrong = [k for k, a, b in zip(now.keys, then.labels, now.labels) if a != b]
            raise stale(str(self.called), ["labels"], f"those of the keys {some(wrong)}")
        now.counts = then.counts
        self.schema = self.schema or notes["schema"]
        check_schema(self.schema, notes["schema"], now.keys)
        if TEXT in self.schema:
            self._check_bytes(text_name(number))

    def _check_bytes(self, name: str) -> None:
        """A file that is there has the bytes that were written; without a record (its line in the log is lost) it is
        taken as it is."""
        path = self.folder / name
        if self.was_complete and not is_verifying() and name in self.recorded:
            self.hashes[name] = self.recorded[name]
            return
        if not path.is_file():  # an index that was lost is made again
            return
        self.hashes[name] = file_hash(path)
        if self.hashes[name] != self.recorded.get(name, self.hashes[name]):
            raise corrupt(path, "its bytes have changed")

    def _is_there(self, number: int) -> bool:
        """True if the shard need not be asked about."""
        path = self.folder / shard_name(number)
        if not path.is_file():
            return False
        if number == 0 and HEAD_FILE in self.recorded and not (self.folder / HEAD_FILE).is_file():
            return False  # a teacher may know its head only while it is asked
        return TEXT not in read_notes(path)["schema"] or (self.folder / text_name(number)).is_file()


def _counts(manifest: Manifest) -> str:
    return ", ".join(f"{len(keys):,} ({reason})" for reason, keys in manifest.missing.items())


def _join_labels(
    teacher: Teacher, reader: RowReader, class_map: Mapping[str, str] | None
) -> tuple[list[str] | None, dict[int, int] | None]:
    """The bank's class names (the teacher's, else the data's), and from the data's labels to the bank's."""
    theirs, ours = teacher.class_names, reader.class_names
    if theirs is None or ours is None:
        chosen = theirs if theirs is not None else ours
        refuse_twice(chosen or ())
        return (None if chosen is None else list(chosen)), None
    picked = join_class_names(ours, theirs, class_map, whose=("data", "teacher"), subset=True)
    return list(theirs), {UNLABELLED: UNLABELLED, **dict(enumerate(picked))}
