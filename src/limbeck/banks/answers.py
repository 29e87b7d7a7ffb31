"""What paid teachers answered, kept the moment it arrives: one SQLite file, keyed by content."""

from __future__ import annotations

import json
import sqlite3
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from limbeck.errors import DataError, machine_error
from limbeck.files import cache_folder
from limbeck.signals.fingerprint import settings_fingerprint

FILE_NAME = "answers.sqlite"
_CHUNK = 500  # identities a query; SQLite allows 999 in its oldest builds
_TABLE = (
    "CREATE TABLE IF NOT EXISTS answers "
    "(identity TEXT PRIMARY KEY, endpoint TEXT, model TEXT, data TEXT NOT NULL, blob BLOB, digest BLOB)"
)
_COLUMNS = ("identity", "endpoint", "model", "data", "blob")  # of all stores; older ones have no digest


@dataclass(frozen=True)
class Answer:
    """One answer of a teacher.

    Args:
        data: JSON-able.    blob: what is no JSON: a vector as little-endian float32, a picture as PNG.
    """

    data: Mapping[str, Any]
    blob: bytes | None = None


def identity_of(
    endpoint: str, model: str, kind: str, parameters: Mapping[str, Any], payload: Any, sample: int | str = 0
) -> str:
    """Hash of everything that an answer depends on; equal questions have equal identities in every run.

    Args:
        endpoint: the server's address without credentials.
        parameters: JSON-able settings of the request (temperature, dimensions, prompt).
        payload: JSON-able, the input as the teacher sees it (so another view is another payload).
        sample: tells repeated answers to one question apart.
    """
    return settings_fingerprint([endpoint, model, kind, dict(parameters), payload, sample])


class AnswerStore:
    """Answers by identity in one SQLite file (WAL): a process that is killed loses nothing that was put.

    The file is opened on first use and may be read and written by several processes and threads at once;
    a store pickles as its path. Every answer has a digest, by which a damaged one is known: it is dropped with a
    warning, and asked again. (Answers of older stores have none, and are taken as they are.)

    Args:
        path: the file; default ``answers.sqlite`` in :func:`limbeck.files.cache_folder`.

    Raises: DataError (on use) when the file is no store, is damaged, or cannot be written; it is never
        replaced.

    Example:
        >>> with AnswerStore(tmp / "answers.sqlite") as store:  # doctest: +SKIP
        ...     store.put("identity", Answer({"text": "a cat"}))
        ...     store.get("identity").data["text"]
        'a cat'
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = Path(path) if path is not None else cache_folder() / FILE_NAME
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.RLock()

    def __enter__(self) -> AnswerStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[type[AnswerStore], tuple[str]]:
        return AnswerStore, (str(self.path.absolute()),)

    def __repr__(self) -> str:
        return f"AnswerStore({str(self.path)!r})"

    def get(self, identity: str) -> Answer | None:
        """The answer, or ``None`` where there is none yet."""
        return self.get_many([identity]).get(identity)

    def get_many(self, identities: Iterable[str]) -> dict[str, Answer]:
        """Those answers that are there, by identity."""
        whole: dict[str, Answer] = {}
        damaged: list[str] = []
        for identity, data, blob, digest in self._select("identity, data, blob, digest", identities):
            answer = _answer(identity, data, blob, digest)
            if answer is None:
                damaged.append(identity)
            else:
                whole[identity] = answer
        if damaged:
            self._drop(damaged)
        return whole

    def known(self, identities: Iterable[str]) -> set[str]:
        """Those identities that have an answer; the answers themselves, pictures perhaps, are not read, so a damaged
        one counts."""
        return {identity for (identity,) in self._select("identity", identities)}

    def put(self, identity: str, answer: Answer, endpoint: str = "", model: str = "") -> None:
        """Keep an answer, at once; the first one to an identity stays."""
        self.put_many({identity: answer}, endpoint, model)

    def put_many(self, answers: Mapping[str, Answer], endpoint: str = "", model: str = "") -> None:
        """Keep the answers of one reply, all or none; ``endpoint`` and ``model`` only describe them."""
        rows = []
        for identity, answer in answers.items():
            data = json.dumps(dict(answer.data), sort_keys=True)
            digest = _digest(identity, data.encode(), answer.blob)
            rows.append((identity, endpoint, model, data, answer.blob, digest))
        into = f"INSERT OR IGNORE INTO answers ({', '.join(_COLUMNS)}, digest) VALUES (?, ?, ?, ?, ?, ?)"
        with self._open() as connection, connection:
            connection.executemany(into, rows)

    def count(self, identities: Sequence[str] | None = None) -> int:
        """How many answers are there, in all or to ``identities``."""
        if identities is not None:
            return len(self.known(identities))
        with self._open() as connection:
            return int(connection.execute("SELECT count(*) FROM answers").fetchone()[0])

    def lock_path(self, name: str) -> Path:
        """The file whose lock is held by the one process that asks the teacher ``name``."""
        digest = blake2b(name.encode(), digest_size=6).hexdigest()
        return self.path.with_name(f".{self.path.name}.{digest}.lock")

    def close(self) -> None:
        """Close the file; it is opened again on the next use."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def _select(self, columns: str, identities: Iterable[str]) -> Iterator[tuple[Any, ...]]:
        """The columns of the answers to ``identities``."""
        wanted = list(dict.fromkeys(identities))
        for start in range(0, len(wanted), _CHUNK):
            part = wanted[start : start + _CHUNK]
            marks = ",".join("?" * len(part))
            with self._open() as connection:
                rows = connection.execute(f"SELECT {columns} FROM answers WHERE identity IN ({marks})", part)
                found = rows.fetchall()
            for identity, *rest in found:
                yield identity.decode(errors="replace"), *rest

    def _drop(self, damaged: Sequence[str]) -> None:
        with self._open() as connection, connection:
            connection.executemany("DELETE FROM answers WHERE identity = ?", [(name,) for name in damaged])
        warnings.warn(
            f"{len(damaged):,} answers in {self.path} are not what was put there and have been dropped; they are asked "
            "again.",
            stacklevel=4,
        )

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """The connection, for one thread at a time; SQLite's errors become one sentence."""
        with self._lock:
            try:
                yield self._connect()
            except (sqlite3.Error, OSError) as error:
                if (found := machine_error(error, self.path)) is not None:
                    raise found from error
                raise DataError(
                    f"The answer store {self.path} cannot be used ({error}); free space or mend its rights if that is "
                    "the cause, else move the file away (the sqlite3 program's .recover reads what is left) and "
                    "run again, which asks anew for what is not in it."
                ) from error

    def _connect(self) -> sqlite3.Connection:
        if self._connection is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=60.0, check_same_thread=False)
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                # what was put survives the death of the process; NORMAL saves an fsync for each answer
                connection.execute("PRAGMA synchronous=NORMAL")
                connection.text_factory = bytes  # a damaged text is told apart by its digest, not by an error
                with connection:
                    _prepare(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection


def _prepare(connection: sqlite3.Connection) -> None:
    """Make the table where there is none, and give an older one its column of digests."""
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    if tables and b"answers" not in tables:
        raise sqlite3.DatabaseError("it holds other tables than answers")
    connection.execute(_TABLE)
    columns = {row[1] for row in connection.execute("PRAGMA table_info(answers)")}
    if columns == {name.encode() for name in _COLUMNS}:
        try:
            connection.execute("ALTER TABLE answers ADD COLUMN digest BLOB")
        except sqlite3.OperationalError as error:
            if "duplicate" not in str(error):  # another process was first
                raise


def _digest(identity: str, data: bytes, blob: bytes | None) -> bytes:
    """16 bytes over all that an answer is, its question included."""
    parts = (identity.encode(), data, b"-" if blob is None else b"+" + blob)
    digest = blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.digest()


def _answer(identity: str, data: Any, blob: Any, digest: Any) -> Answer | None:
    """The answer, or None where it is not what was put."""
    if not isinstance(data, bytes) or not isinstance(blob, bytes | None):
        return None
    if digest is not None and digest != _digest(identity, data, blob):
        return None
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return Answer(said, blob) if isinstance(said, dict) else None
