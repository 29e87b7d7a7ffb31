"""An error is one line of text, whatever the names in it hold."""

from __future__ import annotations

import errno
import os
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limbeck.errors import (
    DataError,
    MachineError,
    MissingKeysError,
    close_names,
    first_line,
    known_name,
    machine_error,
    nearest,
)


@given(st.text())
def test_a_message_is_one_line_that_any_terminal_can_show(name: str) -> None:
    said = str(DataError(f"The column {name} is missing."))
    assert said.splitlines() == [said]
    assert "\x1b" not in said
    said.encode()


def test_a_usual_message_stands_as_it_is() -> None:
    text = "Es fehlt „Größe“ — 大小; did you mean 'size'?"
    assert str(DataError(text)) == str(pickle.loads(pickle.dumps(DataError(text)))) == text
    assert str(DataError("\x1b[2Ja\u2028b\nc")) == r"\x1b[2Ja\u2028b c"
    assert str(DataError()) == ""
    assert str(MissingKeysError("k")) == "k"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "There is no space left for f; free some and run"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "Your quota leaves no space for f"),
        (OSError(errno.EFBIG, "File too large"), "f grew beyond the largest file that is allowed here"),
        (OSError(errno.EMFILE, "Too many open files"), "This process has too many open files to open f"),
        (OSError(errno.ENFILE, "x"), "This machine has too many open files to open f"),
        (PermissionError(errno.EACCES, "x", "its name"), "There is no permission to use its name"),
        (OSError(errno.EROFS, "x"), "f lies on a disk that can only be read"),
        (OSError(errno.EIO, "x"), r"The disk that f lies on does not answer (input/output error)"),
        (OSError(errno.ESTALE, "x"), "The disk that f lies on does not answer"),
        (MemoryError(), "There is too little memory for f"),
        # as safetensors and tokenizers, pyarrow, torch, and SQLite say it
        (Exception("I/O error: No space left on device (os error 28)"), "There is no space left for f"),
        (Exception("I/O error: Too many open files (os error 24)"), "too many open files to open f"),
        (
            OSError("Failed to open local file 'x'. Detail: [Errno 13] Permission denied"),
            "no permission to use f",
        ),
        (
            RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"),
            "no space left for f",
        ),
        (Exception("database or disk is full"), "no space left for f"),
        (Exception("disk I/O error"), "does not answer"),
    ],
)
def test_errors_of_the_machine_are_named_as_such(error, words):
    found = machine_error(error, "f")
    assert isinstance(found, MachineError)
    assert words in str(found)
    for word in ("delete", "damaged", "corrupt", "not what"):
        assert word not in str(found), "it would blame a good file"
    assert pickle.loads(pickle.dumps(found)).args == found.args


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "f"),
        ValueError("28 is too large"),
        Exception("Error while deserializing header: header too large"),
        DataError("The file is damaged."),
        OSError("no number at all"),
    ],
)
def test_other_errors_are_not_the_machine_s(error):
    assert machine_error(error, "f") is None


def test_near_names_are_found_by_initials_and_without_case() -> None:
    keys = ["training.learning_rate", "training.logging_steps", "training.ema"]
    assert close_names("training.lr", keys) == ["training.learning_rate"]
    assert close_names("lr", ["learning_rate", "logging_steps"]) == ["learning_rate"]
    assert nearest("KD", ["kd", "dkd"]) == "did you mean 'kd'?"
    assert close_names("training.emma", keys) == ["training.ema"]


def test_a_name_in_other_capitals_is_that_name() -> None:
    assert known_name("OWN", ["own", "texts"]) == "own"
    assert known_name("Own", ["own", "OWN"]) == "Own"  # which of them nobody knows
    assert known_name("else", ["own"]) == "else"


def test_the_first_line_of_what_another_library_says() -> None:
    assert first_line(ValueError("\nit broke.\nmore.")) == "it broke"
    assert first_line(KeyError()) == "KeyError"
