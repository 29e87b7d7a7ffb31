"""What cells mean: words for nothing are words, leading zeros and long ids hold, numbers are read where asked for."""

from __future__ import annotations

import math
import unicodedata

import pytest

from limbeck.signals.cells import classes_of, is_nothing, keys_of, name_of, number_of, text_of


def test_only_an_empty_cell_is_nothing():
    assert [is_nothing(cell) for cell in ("", None, math.nan)] == [True] * 3
    words = ("None", "NA", "N/A", "nan", "null", "NULL", "-", "0", " ", 0, False)
    assert not any(is_nothing(cell) for cell in words)


def test_texts_of_typed_cells():
    assert [text_of(cell) for cell in (3.0, 3.5, 7, True, None, math.nan, "nan")] == [
        "3", "3.5", "7", "True", "", "", "nan",
    ]  # fmt: skip


def test_names_are_one_form_without_blanks():
    decomposed = unicodedata.normalize("NFD", "café")
    assert decomposed != "café"
    assert name_of(f" {decomposed}\t") == "café"


@pytest.mark.parametrize(
    ("cells", "keys"),
    [
        (["1", " 2", "-3", "0"], [1, 2, -3, 0]),
        (["7", "007"], ["7", "007"]),
        (["+7", "7"], ["+7", "7"]),
        (["-0", "0"], ["-0", "0"]),
        (["1_000", "1"], ["1_000", "1"]),
        (["٣", "3"], ["٣", "3"]),  # Arabic digits are no number here
        (["9223372036854775807"], [2**63 - 1]),
        (["9223372036854775808", "1"], ["9223372036854775808", "1"]),
        (["12345678901234567890123"], ["12345678901234567890123"]),
        (["1.0", "2"], ["1.0", "2"]),
        (["1e3"], ["1e3"]),
        (["", "1"], ["", "1"]),
        (["NA", "None"], ["NA", "None"]),
    ],
)
def test_keys_of_a_csv(cells, keys):
    assert keys_of(cells, typed=False) == keys


def test_keys_of_a_typed_table():
    assert keys_of([3, 4], typed=True) == [3, 4]
    assert keys_of(["3", "4"], typed=True) == ["3", "4"]
    assert keys_of([2**70, 1], typed=True) == [str(2**70), "1"]
    assert keys_of([3, "x"], typed=True) == ["3", "x"]


def test_numbers():
    assert [number_of(cell) for cell in ("1", " 2.5 ", "-1e3", 4, 0.5)] == [1, 2.5, -1000, 4, 0.5]
    for cell in ("1_000", "1,5", "", "x", None, True, [1], 10**400, "0x10"):
        with pytest.raises(ValueError):
            number_of(cell)


def test_classes():
    assert classes_of(["b", "None", "", "a", None]) == ["None", "a", "b"]
    assert classes_of(["10", "9", "2"]) == ["2", "9", "10"]  # as a bank numbers them
    assert classes_of(["10", "09", "2"]) == ["09", "10", "2"]
