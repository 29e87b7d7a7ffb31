"""What paid teachers answered, kept the moment it arrives: one SQLite file, keyed by content."""

from __future__ import annotations

import json
import sqlite3
import threading
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
    "(identity TEXT PRIMARY KEY, endpoint TEXT, model TEXT, data TEXT NOT NULL, blob BLOB)"
)


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
    a store pickles as its path.

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
        found = self._select("identity, data, blob", identities)
        return {identity: Answer(json.loads(data), blob) for identity, data, blob in found}

    def known(self, identities: Iterable[str]) -> set[str]:
        """Those identities that have an answer; the answers themselves, pictures perhaps, are not read."""
        return {identity for (identity,) in self._select("identity", identities)}

    def put(self, identity: str, answer: Answer, endpoint: str = "", model: str = "") -> None:
        """Keep an answer, at once; the first one to an identity stays."""
        self.put_many({identity: answer}, endpoint, model)

    def put_many(self, answers: Mapping[str, Answer], endpoint: str = "", model: str = "") -> None:
        """Keep the answers of one reply, all or none; ``endpoint`` and ``model`` only describe them."""
        rows = [
            (identity, endpoint, model, json.dumps(dict(answer.data), sort_keys=True), answer.blob)
            for identity, answer in answers.items()
        ]
        with self._open() as connection, connection:
            connection.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?)", rows)

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
            yield from found

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
                with connection:
                    connection.execute(_TABLE)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection
