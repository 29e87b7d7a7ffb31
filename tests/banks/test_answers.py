"""The answer store: kept at once, by content, across processes; damaged files are told and left alone."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sqlite3
import tracemalloc
from pathlib import Path

import pytest

from limbeck.banks.answers import Answer, AnswerStore, identity_of
from limbeck.errors import DataError

ASKED = ("http://here/v1", "model", "chat", {"temperature": 0.0, "top": 5}, {"text": "a cat"})


def test_an_answer_comes_back_as_it_was_put(tmp_path: Path) -> None:
    with AnswerStore(tmp_path / "deep" / "answers.sqlite") as store:
        assert store.get("a") is None
        store.put("a", Answer({"text": "é", "numbers": [1, 2.5, None]}, b"\x00\xff"))
        store.put("b", Answer({}))
        assert store.get("a") == Answer({"text": "é", "numbers": [1, 2.5, None]}, b"\x00\xff")
        assert store.get("b") == Answer({}, None)
    with pickle.loads(pickle.dumps(store)) as again:
        assert again.count() == 2
        assert again.count(["a", "c"]) == 1
        assert set(again.get_many(["b", "c", "b"])) == {"b"}


def test_the_first_answer_stays(tmp_path: Path) -> None:
    with AnswerStore(tmp_path / "answers.sqlite") as store:
        store.put("a", Answer({"n": 1}))
        store.put("a", Answer({"n": 2}))
        assert store.get("a") == Answer({"n": 1})


def test_many_identities_in_one_call(tmp_path: Path) -> None:
    with AnswerStore(tmp_path / "answers.sqlite") as store:
        store.put_many({str(n): Answer({"n": n}) for n in range(2100)})
        found = store.get_many(str(n) for n in range(2500))
        assert {identity: a.data["n"] for identity, a in found.items()} == {str(n): n for n in range(2100)}


@pytest.mark.parametrize("part", range(6))
def test_the_identity_depends_on_every_part(part: int) -> None:
    whole = [*ASKED, 0]
    others = ["http://there/v1", "model2", "text", {"temperature": 0.1, "top": 5}, {"text": "a dog"}, 1]
    changed = [*whole[:part], others[part], *whole[part + 1 :]]
    assert identity_of(*whole) != identity_of(*changed)  # type: ignore[arg-type]


def test_the_identity_does_not_depend_on_the_order_of_settings() -> None:
    endpoint, model, kind, _, payload = ASKED
    assert identity_of(*ASKED) == identity_of(endpoint, model, kind, {"top": 5, "temperature": 0.0}, payload)


def test_the_default_lies_in_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))
    assert AnswerStore().path == tmp_path / "cache" / "answers.sqlite"
    assert not (tmp_path / "cache").exists()  # nothing is made before there is something to keep


def test_a_file_that_is_no_store_is_told_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    path.write_bytes(b"my thesis, the only copy " * 100)
    with pytest.raises(DataError, match=r"answers\.sqlite cannot be used .*move the file away"):
        AnswerStore(path).get("a")
    assert path.read_bytes() == b"my thesis, the only copy " * 100


def test_a_cut_store_is_told_and_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    with AnswerStore(path) as store:
        store.put_many({str(n): Answer({"n": n}, bytes(1000)) for n in range(500)})
    size = path.stat().st_size
    os.truncate(path, size // 2)
    with AnswerStore(path) as store, pytest.raises(DataError, match="cannot be used"):
        store.get_many(str(n) for n in range(500))
    assert path.stat().st_size == size // 2


def _put(path: Path, start: int) -> None:
    with AnswerStore(path) as store:
        for n in range(start, start + 200):
            store.put(str(n), Answer({"n": n}))


def test_processes_write_side_by_side(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_put, args=(path, 100 * i)) for i in range(4)]  # halves overlap
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 4
    with AnswerStore(path) as store:
        assert store.count() == 500


def test_known_answers_are_told_without_reading_them(tmp_path: Path) -> None:
    with AnswerStore(tmp_path / "answers.sqlite") as store:
        store.put_many({f"i{n}": Answer({}, bytes(1_000_000)) for n in range(20)})
        tracemalloc.start()
        known = store.known([f"i{n}" for n in range(0, 40, 2)])
        n = store.count([f"i{n}" for n in range(40)])
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert known == {f"i{n}" for n in range(0, 20, 2)}
    assert n == 20
    assert most < 1_000_000  # less than one of the pictures


# ---- damage ------------------------------------------------------------------------------------------------


def _written(path: Path) -> bytes:
    """A store with two answers, all in one file; its bytes."""
    with AnswerStore(path) as store:
        store.put("first", Answer({"text": "a cat that sleeps"}, bytes(range(100, 140))))
        store.put("second", Answer({"text": "a dog"}, b"\x01" * 40))
    return path.read_bytes()


@pytest.mark.parametrize("what", [b"a cat that sleeps", bytes(range(100, 140))])
def test_a_damaged_answer_is_dropped_with_a_sentence_and_asked_again(tmp_path: Path, what: bytes) -> None:
    path = tmp_path / "answers.sqlite"
    content = bytearray(_written(path))
    content[content.index(what) + 3] ^= 0x90  # of a text no character, of a vector another number
    path.write_bytes(content)
    with AnswerStore(path) as store:
        with pytest.warns(UserWarning, match=r"1 answers in .*answers\.sqlite are not what was put there"):
            assert store.get_many(["first", "second"]) == {"second": Answer({"text": "a dog"}, b"\x01" * 40)}
        assert store.known(["first", "second"]) == {"second"}
        store.put("first", Answer({"text": "asked again"}))
        assert store.get("first") == Answer({"text": "asked again"})


def test_an_answer_to_another_question_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    _written(path)
    with sqlite3.connect(path) as connection:
        data, blob, digest = connection.execute("SELECT data, blob, digest FROM answers").fetchone()
        connection.execute("UPDATE answers SET data = ?, blob = ?, digest = ?", (data, blob, digest))
    connection.close()
    with AnswerStore(path) as store, pytest.warns(UserWarning, match="not what was put"):
        assert set(store.get_many(["first", "second"])) == {"first"}


def test_a_store_of_before_opens_and_its_new_answers_have_digests(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE TABLE answers (identity TEXT PRIMARY KEY, endpoint TEXT, model TEXT, data TEXT NOT NULL, blob BLOB)"
        )
        connection.execute("INSERT INTO answers VALUES ('old', '', '', '{\"n\": 1}', NULL)")
    connection.close()
    with AnswerStore(path) as store:
        assert store.get("old") == Answer({"n": 1})
        store.put("new", Answer({"n": 2}))
    with AnswerStore(path) as store:
        assert store.get_many(["old", "new"]) == {"old": Answer({"n": 1}), "new": Answer({"n": 2})}
    with sqlite3.connect(path) as connection:
        digests = dict(connection.execute("SELECT identity, digest FROM answers"))
    connection.close()
    assert digests["old"] is None
    assert len(digests["new"]) == 16


def test_another_programs_database_is_no_store(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE photos (name TEXT)")
    connection.close()
    with pytest.raises(DataError, match="holds other tables than answers"):
        AnswerStore(path).get("a")
