"""An error is one line of text, whatever the names in it hold."""

from __future__ import annotations

import pickle

from hypothesis import given
from hypothesis import strategies as st

from limbeck.errors import DataError, MissingKeysError, close_names, known_name, nearest


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
