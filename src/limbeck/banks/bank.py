"""What a teacher said of a whole data set, kept in a folder of memory-mapped shards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from limbeck.banks.columns import schema_of
from limbeck.banks.folder.fields import HEAD_FILE, HIDDEN, INDEX_FILE, TEXT
from limbeck.banks.folder.opened import classifier, logit_form, opened, opened_index
from limbeck.banks.folder.verifying import check_hashes, is_known_whole, is_verifying, keep_as_whole
from limbeck.banks.key_index import KeyIndex, explained
from limbeck.banks.layout import width_of
from limbeck.banks.manifest import Manifest
from limbeck.banks.shards import corrupt
from limbeck.banks.stores import MappedStore, MovedStore, ShardStore, Store, class_means
from limbeck.errors import (
    AbsentClassError,
    BankError,
    ClassNamesError,
    ConfigError,
    DataError,
    MissingKeysError,
    UnknownNameError,
    nearest,
)
from limbeck.functional.response.vocabulary_head import LogitForm
from limbeck.signals.classes import UNLABELLED, join_class_names, rows_by_class
from limbeck.signals.fingerprint import check_fingerprint
from limbeck.signals.key import Key
from limbeck.signals.output import SIGNALS, Head, TeacherOutput
from limbeck.signals.ragged import in_classes, log_probs_in_classes

if TYPE_CHECKING:
    from limbeck.signals.teacher import Teacher


class Bank:
    """Teacher outputs by key. Make one with :meth:`build`, :meth:`from_arrays` or :meth:`open`.

    Signals come back in the dtype they are stored in (``float16``, ``bfloat16`` or ``float32``); integer
    labels count in :attr:`class_names`. A bank pickles as its path (a view of one, as the way it was made),
    so it costs nothing to hand to worker processes.

    Example:
        >>> bank = Bank.from_arrays("banks/mine", keys=ids, features=x)  # doctest: +SKIP
        >>> bank.lookup(ids[:4]).features.shape                          # doctest: +SKIP
        torch.Size([4, 512])
    """

    def __init__(
        self,
        *,
        store: Store,
        index: KeyIndex,
        manifest: Manifest,
        labels: np.ndarray | None,
        head: Head | None,
        origin: tuple[Callable[..., Bank], tuple[Any, ...]],
        form: LogitForm | None = None,
        path: Path | None = None,
    ) -> None:
        self._store, self._index, self._labels, self._origin = store, index, labels, origin
        self.manifest, self.head, self.form, self.path = manifest, head, form, path
        self._by_class: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
        self._means: dict[str, Tensor] | None = None

    # ---- how banks come to be ------------------------------------------------------------------------------

    @classmethod
    def open(cls, path: str | Path, *, fingerprint: Mapping[str, str] | None = None) -> Bank:
        """Open a finished bank; reads a few kilobytes whatever its size.

        Args:
            path: the bank's folder.
            fingerprint: named parts that the bank must have been built with (``teacher.fingerprint()``).

        Where another process overwrites the bank later, what is read is this one's or an error, never the other's.

        Raises:
            BankError: no bank, or an unfinished one.    CorruptShardError: a file is missing or was cut.
            StaleFingerprintError: a part of ``fingerprint`` differs; the message says which.
        """
        folder = Path(path)
        manifest, files = opened(folder)
        if fingerprint:
            check_fingerprint(manifest.fingerprint, fingerprint, str(folder))
        index = opened_index(files)
        head = files.map(HEAD_FILE) if HEAD_FILE in manifest.files else None
        return cls(
            store=ShardStore(files, index),
            index=index,
            manifest=manifest,
            labels=index.tensors["labels"].numpy() if manifest.labelled else None,
            head=None if head is None else classifier(folder / HEAD_FILE, head),
            form=None if head is None else logit_form(folder / HEAD_FILE, head),
            origin=(Bank.open, (folder,)),
            path=folder,
        )

    @staticmethod
    def build(path: str | Path, teacher: Teacher, data: Any, **options: Any) -> Bank:
        """Ask ``teacher`` about ``data`` and keep what it says; see :func:`limbeck.banks.build.build_bank`.

        Args:
            options: the fields of :class:`~limbeck.banks.rows.RowColumns` (``key``, ``label``, ``view``, ``inputs``)
                and of :class:`~limbeck.banks.build.BuildSettings` (``batch_size``, ``dtype``, ``licence``, ...).

        Raises: ConfigError for another option, with the nearest ones.
        """
        from limbeck.banks.build import BuildSettings, build_bank
        from limbeck.banks.rows import RowColumns

        columns, settings = _sorted_options(options, RowColumns, BuildSettings)
        build_bank(path, teacher, data, columns, settings)
        return Bank.open(path)

    @staticmethod
    def from_arrays(path: str | Path, *, keys: Iterable[Any], **columns: Any) -> Bank:
        """Make a bank of arrays that exist; see :func:`limbeck.banks.arrays.write_arrays`."""
        from limbeck.banks.arrays import write_arrays

        write_arrays(path, keys=keys, **columns)
        return Bank.open(path)

    @staticmethod
    def from_table(path: str | Path, source: Any, **columns: Any) -> Bank:
        """Make a bank of a file of embeddings or a data set; see :func:`limbeck.banks.tables.write_table`."""
        from limbeck.banks.tables import write_table

        write_table(path, source, **columns)
        return Bank.open(path)

    def __reduce__(self) -> tuple[Callable[..., Bank], tuple[Any, ...]]:
        if isinstance(self._store, ShardStore):
            return _opened_again, (str(self._store.files.folder.absolute()), self._store.files.identity)
        return self._origin

    # ---- what it holds -------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._index)

    def __repr__(self) -> str:
        return f"Bank({self.name!r}, {len(self)} rows, {', '.join(sorted(self.signals))})"

    @property
    def name(self) -> str:
        """Path of the folder, or how a view was made from it."""
        return str(self.path) if self.path else f"{self._origin[0].__name__} of {self._origin[1][0].name}"

    @cached_property
    def keys(self) -> tuple[Key, ...]:
        """All keys in row order; with several views a key comes once for each."""
        return tuple(self._index.all_keys())

    @property
    def views(self) -> tuple[str, ...]:
        """Names of the views that the teacher was asked about."""
        return self._index.views

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Names of the classes, in the order of labels and logits."""
        names = self.manifest.class_names
        return None if names is None else tuple(names)

    @property
    def labels(self) -> Tensor | None:
        """``[N]`` int64 in row order, -100 = unknown; a copy. ``None`` if no row has one."""
        return None if self._labels is None else torch.tensor(self._labels)

    @property
    def signals(self) -> frozenset[str]:
        """Names as in :attr:`TeacherOutput.signals`, ``labels`` and ``head`` included."""
        names = {"hidden_states" if c.startswith(HIDDEN) else c for c in self._store.columns}
        extra = {"labels"} if self._labels is not None else set()
        return frozenset(names | extra | ({"head"} if self.head is not None else set()))

    @property
    def access(self) -> str | None:
        """The teacher's access level: ``weights``, ``logits``, ``features`` or ``text``."""
        return self.manifest.access

    @property
    def fingerprint(self) -> dict[str, str]:
        """Named parts: teacher, preprocessing, inputs."""
        return dict(self.manifest.fingerprint)

    @property
    def licence(self) -> str:
        return self.manifest.licence

    def width(self, signal: str) -> int | None:
        """Size of the last axis of a signal, of a TopK its number of classes; ``None`` if absent."""
        return width_of(self.manifest.signals.get(signal, {}))

    # ---- reading -------------------------------------------------------------------------------------------

    def rows_of(self, keys: Iterable[Any], view: str | None = None) -> np.ndarray:
        """Row numbers of keys, ``[n]`` int64. MissingKeysError names those that are not there."""
        asked = keys if isinstance(keys, (np.ndarray, Tensor)) else list(keys)
        try:
            return self._index.rows_of(asked, view)
        except MissingKeysError as error:
            raise explained(error, asked, self.manifest.missing) from None

    def lookup(
        self, keys: Iterable[Any], *, view: str | None = None, signals: Sequence[str] | None = None
    ) -> TeacherOutput:
        """The teacher's outputs for ``keys``, in their order; the paired read.

        Args:
            view: needed when the bank holds several.
            signals: read only these (:data:`limbeck.signals.output.SIGNALS`).

        Raises: MissingKeysError (a KeyError) naming the keys that the bank lacks.
        """
        asked = keys.tolist() if isinstance(keys, (np.ndarray, Tensor)) else list(keys)
        rows = self.rows_of(keys if isinstance(keys, (np.ndarray, Tensor)) else asked, view)
        try:
            return self._output(self._store.take(self._names(signals), rows), rows, asked)
        except IndexError as error:
            raise corrupt(
                Path(self.path or self.name) / INDEX_FILE, "it leads to rows that are not there"
            ) from error

    def take(self, rows: np.ndarray, signals: Sequence[str] | None = None) -> TeacherOutput:
        """Outputs of row numbers ``[n]``."""
        return self._output(self._store.take(self._names(signals), rows), rows)

    def sample(
        self,
        n: int,
        labels: Tensor | Sequence[int] | None = None,
        generator: torch.Generator | None = None,
        *,
        signals: Sequence[str] | None = None,
    ) -> TeacherOutput:
        """``n`` rows drawn with replacement; the unpaired read.

        Args:
            labels: ``[n]`` classes in the bank's order; row ``i`` of the draw has class ``labels[i]``.
            generator: a CPU generator; the draw depends on it alone.

        Raises: AbsentClassError naming a class without rows.    ConfigError: ``labels`` has not ``n``
            entries.
        """
        if labels is None:
            return self.take(torch.randint(len(self), (n,), generator=generator).numpy(), signals)
        wanted = torch.as_tensor(labels).cpu().numpy()
        if wanted.shape != (n,):
            raise ConfigError(f"A draw of {n} rows needs {n} labels; got an array of shape {wanted.shape}.")
        order, starts, counts = self.class_rows()
        self._check_classes(np.unique(wanted), counts)
        share = torch.rand(n, generator=generator, dtype=torch.float64).numpy()
        return self.take(order[starts[wanted] + (share * counts[wanted]).astype(np.int64)], signals)

    def blocks(self, n: int, *, signals: Sequence[str] | None = None) -> Iterator[TeacherOutput]:
        """All rows in order, ``n`` at a time (fewer in the last block); may share memory with the files."""
        if n < 1:
            raise ConfigError(f"A block holds at least one row; got {n}.")
        names = self._names(signals)
        for start in range(0, len(self), n):
            stop = min(start + n, len(self))
            yield self._output(self._store.run(names, start, stop), np.arange(start, stop))

    def prototypes(self, classes: Sequence[int] | None = None) -> TeacherOutput:
        """The mean of every signal over each class, float32, ``[C, ...]``; of log-probabilities, the log
        of the mean probability. Computed once, in one pass over the bank; texts, rows of different lengths and
        likeliest classes have none.

        Args:
            classes: class numbers, default all of :attr:`class_names`.

        Raises: AbsentClassError naming a class without rows.    BankError: the bank holds no labels.
        """
        _, _, counts = self.class_rows()
        wanted = np.arange(len(counts)) if classes is None else np.asarray(classes, dtype=np.int64)
        self._check_classes(wanted, counts)
        if self._means is None:
            self._means = class_means(self._store, self._labels, counts)  # type: ignore[arg-type]
        index = torch.from_numpy(wanted)
        means = {name: value[index] for name, value in self._means.items()}
        return _to_output(means, labels=index.clone(), keys=None, head=self.head, form=self.form)

    def _names(self, signals: Sequence[str] | None) -> Sequence[str]:
        if signals is None:
            return self._store.columns
        asked = set(signals)
        for name in sorted(asked - {*SIGNALS, "labels", "head"}):
            raise UnknownNameError(f"There is no signal {name!r}; {nearest(name, SIGNALS)}")
        return [
            c
            for c in self._store.columns
            if c in asked or (c.startswith(HIDDEN) and "hidden_states" in asked)
        ]

    def _output(
        self, columns: dict[str, Any], rows: np.ndarray, keys: list[Key] | None = None
    ) -> TeacherOutput:
        labels = None if self._labels is None else torch.from_numpy(self._labels[rows])
        keys = self._index.keys_at(rows) if keys is None else keys
        return _to_output(columns, labels=labels, keys=keys, head=self.head, form=self.form)

    def class_rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows sorted by class, and where each class starts and how many rows it has."""
        if self._labels is None:
            raise BankError(f"The bank {self.name} holds no labels; pass labels= when it is made.")
        if self._by_class is None:
            n_classes = len(self.class_names or ()) or int(self._labels.max(initial=-1)) + 1
            self._by_class = rows_by_class(self._labels, n_classes)
        return self._by_class

    def _check_classes(self, wanted: np.ndarray, counts: np.ndarray) -> None:
        outside = [int(c) for c in wanted if not 0 <= c < len(counts)]
        absent = [self._class(int(c)) for c in wanted if 0 <= c < len(counts) and not counts[c]]
        if outside:
            raise AbsentClassError(
                f"Class number {outside[0]} is not one of the bank's {len(counts)} classes."
            )
        if absent:
            raise AbsentClassError(
                f"The bank {self.name} has no row of class {', '.join(absent)}; "
                "ask the teacher about samples of it, or leave the class out."
            )

    def _class(self, number: int) -> str:
        return repr(self.class_names[number]) if self.class_names else str(number)

    # ---- views ---------------------------------------------------------------------------------------------

    def subset(self, keys: Iterable[Any]) -> Bank:
        """A bank of some keys (all their views), in the order given; nothing is copied."""
        kept = list(keys)
        views = self.views if len(self.views) > 1 else (None,)
        rows = np.stack([self.rows_of(kept, view) for view in views], axis=1).reshape(-1)
        if not len(rows):
            raise DataError(f"A subset of the bank {self.name} needs at least one key.")
        return self.derive(
            (Bank.subset, (self, kept)),
            store=MovedStore(self._store, rows),
            index=self._index.subset(rows),
            labels=None if self._labels is None else self._labels[rows],
        )

    def with_class_names(self, names: Sequence[str], class_map: Mapping[str, str] | None = None) -> Bank:
        """This bank with labels, logits and head in the order of ``names``.

        Args:
            names: the student's classes.
            class_map: student name to teacher name where they differ; classes of the teacher that no student
                class maps to are dropped (log-probabilities renormalised, labels become -100).

        Raises: ClassNamesError when the sets differ and ``class_map`` does not join them, or when the bank has no
            names and another number of classes.
        """
        if self.class_names is None:
            of_head = None if self.head is None else len(self.head[0])
            width = self.width("logits") or self.width("log_probs") or of_head
            if width not in (None, len(names)):
                raise ClassNamesError(
                    f"The bank {self.name} predicts {width} classes without names, the student has {len(names)}; "
                    "make the bank with class_names=."
                )
            return self
        if tuple(names) == self.class_names:
            return self
        picked = join_class_names(names, self.class_names, class_map)
        index, place = torch.tensor(picked), np.full(len(self.class_names), UNLABELLED, dtype=np.int64)
        place[picked] = np.arange(len(picked))
        labels = self._labels
        if labels is not None:
            labels = np.where(labels >= 0, place[labels.clip(min=0)], UNLABELLED)

        functions = {
            "logits": partial(in_classes, picked=index),
            "log_probs": partial(log_probs_in_classes, picked=index),
        }
        head = self.head and (self.head[0][index], None if self.head[1] is None else self.head[1][index])
        bank = self.derive(
            (Bank.with_class_names, (self, tuple(names), class_map)),
            store=MappedStore(self._store, functions),
            labels=labels,
            head=head,
        )
        bank.manifest.class_names = list(names)
        return bank

    def derive(self, origin: tuple[Callable[..., Bank], tuple[Any, ...]], **changed: Any) -> Bank:
        """A view with some parts replaced; it pickles as ``origin``, a function and its arguments."""
        parts: dict[str, Any] = {
            "store": self._store,
            "index": self._index,
            "labels": self._labels,
            "head": self.head,
            "form": self.form,
        } | changed
        store: Store = parts["store"]
        one_row = store.run([name for name in store.columns if name != TEXT], 0, 1)
        signals = schema_of(one_row) | ({TEXT: {}} if TEXT in store.columns else {})
        manifest = replace(self.manifest, rows=len(parts["index"]), signals=signals)
        return Bank(**parts, manifest=manifest, origin=origin)

    # ---- checking ------------------------------------------------------------------------------------------

    def verify(self) -> int:
        """Read every byte and compare it with the recorded hashes, and rows and class numbers with the shapes that
        they should have; returns the number of bytes read. Of a view, all of the bank that it is a view of.

        Raises: CorruptShardError naming the first file that differs.    BankError where the bank was overwritten.
        """
        if not isinstance(self._store, ShardStore):
            return self._origin[1][0].verify()
        total = check_hashes(self._store.files)
        self._store.check()
        keep_as_whole(self._store.files)
        return total

    def verify_once(self) -> None:
        """:meth:`verify`, unless this process has done so before and no file has changed since, or it is not wanted
        (:func:`limbeck.banks.folder.verifying.verifying`)."""
        if not isinstance(self._store, ShardStore):
            self._origin[1][0].verify_once()
        elif is_verifying() and not is_known_whole(self._store.files):
            self.verify()


def _opened_again(path: str, identity: str) -> Bank:
    """A bank in another process; BankError where its folder holds another one now."""
    bank = Bank.open(path)
    assert isinstance(bank._store, ShardStore)
    if bank._store.files.identity != identity:
        raise BankError(
            f"The bank {path} was overwritten while it was open; start again (a run that goes on would mix two "
            "teachers)."
        )
    return bank


def _sorted_options(options: Mapping[str, Any], *kinds: type[Any]) -> list[Any]:
    """One object of each dataclass in ``kinds``, made of the options that are its fields."""
    homes = [{f.name for f in fields(kind)} for kind in kinds]
    for name in options:
        if not any(name in home for home in homes):
            raise ConfigError(f"A bank has no option {name!r}; {nearest(name, set().union(*homes))}")
    return [
        kind(**{name: value for name, value in options.items() if name in home})
        for kind, home in zip(kinds, homes)
    ]


def _to_output(
    columns: Mapping[str, Any], *, labels: Any, keys: Any, head: Head | None, form: LogitForm | None
) -> TeacherOutput:
    hidden = {name.removeprefix(HIDDEN): value for name, value in columns.items() if name.startswith(HIDDEN)}
    plain = {name: value for name, value in columns.items() if not name.startswith(HIDDEN)}
    return TeacherOutput(**plain, hidden_states=hidden, labels=labels, keys=keys, head=head, form=form)
