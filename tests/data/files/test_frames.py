"""Frames, Arrow tables, mappings of columns and structured arrays are rows; what is none is a sentence."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch

from limbeck.data.files.frames import as_rows
from limbeck.errors import DataError

ROWS = {"id": ["a", "b", "c"], "n": [1, 2, 3]}


def test_every_form_gives_the_same_rows():
    pandas = pytest.importorskip("pandas")
    structured = np.array([("a", 1), ("b", 2), ("c", 3)], dtype=[("id", "U1"), ("n", "i8")])
    forms = [
        ROWS, pandas.DataFrame(ROWS), pandas.DataFrame(ROWS, index=[5, 6, 7]), pa.table(ROWS),
        pa.RecordBatch.from_pydict(ROWS), structured, {"id": np.array(ROWS["id"]), "n": torch.tensor([1, 2, 3])},
        {"id": pandas.Series(ROWS["id"], index=[3, 4, 5]), "n": (1, 2, 3)},
    ]  # fmt: skip
    for form in forms:
        rows = as_rows(form)
        assert len(rows) == 3
        assert rows.column_names == ("id", "n")
        assert rows[1:3] == {"id": ["b", "c"], "n": [2, 3]}


def test_gaps_of_a_frame_are_nothing_and_long_numbers_hold():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "text": ["a", None, "nan"], "id": pandas.array([2**60 + 1, None, 3], dtype="Int64"),
            "kind": pandas.Categorical(["x", None, "y"]), "value": [0.5, np.nan, 1.0],
        }
    )  # fmt: skip
    found = as_rows(frame)[0:3]
    assert found["text"] == ["a", None, "nan"]
    assert found["id"] == [2**60 + 1, None, 3]
    assert found["kind"] == ["x", None, "y"]
    assert found["value"][0] == 0.5
    assert np.isnan(found["value"][1])


def test_columns_of_arrays_stay_arrays():
    found = as_rows({"id": [1, 2], "x": np.eye(2), "t": torch.eye(2)})[0:2]
    assert np.array_equal(found["x"][1], [0, 1])
    assert torch.equal(found["t"][1], torch.tensor([0.0, 1.0]))


def test_rows_and_streams_are_left_alone():
    for data in ([{"id": 1}], iter([{"id": 1}]), ({"id": i} for i in range(2))):
        assert as_rows(data) is data


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "no columns"),
        ({"id": 1, "text": "a"}, "whose 'id' is int; give a list of rows"),
        ({"id": [1, 2], "text": "ab"}, "whose 'text' is str"),
        ({"id": [1, 2], "text": ["a"]}, "different lengths \\('id' 2, 'text' 1\\)"),
        ({"id": [1], "x": torch.tensor(1.0)}, "'x' is a single value"),
        (np.zeros((3, 2)), r"an array of shape \[3, 2\]; give it a name and keys"),
        (torch.zeros(3, 2), r"an array of shape \[3, 2\]"),
    ],
)
def test_what_is_no_rows_is_a_sentence(data, words):
    with pytest.raises(DataError, match=words):
        as_rows(data)


def test_frames_that_are_no_rows():
    pandas = pytest.importorskip("pandas")
    with pytest.raises(DataError, match="one column"):
        as_rows(pandas.Series([1, 2]))
    with pytest.raises(DataError, match="the column 'a' twice"):
        as_rows(pandas.DataFrame([[1, 2]], columns=["a", "a"]))
    datasets = pytest.importorskip("datasets")
    splits = datasets.DatasetDict({"train": datasets.Dataset.from_dict({"id": [1]})})
    with pytest.raises(DataError, match=r"several splits \('train'\); give one of them: data\['train'\]"):
        as_rows(splits)
