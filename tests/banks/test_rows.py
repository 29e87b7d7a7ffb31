"""Data of any shape is read in order, by key, with its labels."""

from __future__ import annotations

import io

import datasets
import numpy as np
import pytest
import torch

from limbeck.banks.rows import RowColumns, RowReader, is_one_shot
from limbeck.data.base import Examples
from limbeck.errors import DataError, UnreadableRowsError


def rows(n=5):
    return [{"id": f"r{i}", "x": np.full(2, i, np.float32), "label": i % 2, "note": "n"} for i in range(n)]


def test_rows_as_dictionaries():
    reader = RowReader(rows(), RowColumns())
    assert reader.total == 5
    batch = reader.take(3)
    assert batch.keys == ["r0", "r1", "r2"]
    assert batch.labels == [0, 1, 0]
    assert torch.equal(batch.inputs["x"], torch.tensor([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]))
    assert batch.inputs["note"] == ["n"] * 3
    assert [len(reader.take(3)), len(reader.take(3))] == [2, 0]


def test_a_stream_and_a_list_read_the_same():
    one, other = RowReader(iter(rows()), RowColumns()), RowReader(rows(), RowColumns())
    assert one.total is None
    first, second = one.take(4), other.take(4)
    assert first.keys == second.keys
    assert (first.digests() == second.digests()).all()


def test_a_datasets_dataset():
    features = datasets.Features(
        {"id": datasets.Value("int64"), "x": datasets.List(datasets.Value("float32")),
         "label": datasets.ClassLabel(names=["cat", "dog"])}
    )  # fmt: skip
    data = datasets.Dataset.from_list(
        [{"id": i, "x": [i, 2.0], "label": ["cat", "dog"][i % 2]} for i in range(5)], features=features
    )
    reader = RowReader(data, RowColumns())
    assert reader.class_names == ("cat", "dog")
    batch = reader.take(5)
    assert batch.keys == [0, 1, 2, 3, 4]
    assert batch.labels == [0, 1, 0, 1, 0]
    assert batch.inputs["x"].shape == (5, 2)


@pytest.mark.parametrize("form", ["torch", "numpy", None])
def test_a_datasets_dataset_in_any_format(form):
    data = datasets.Dataset.from_dict({"id": [3, 4], "label": [1, 0], "x": [[1.0, 2.0], [3.0, 4.0]]})
    batch = RowReader(data if form is None else data.with_format(form), RowColumns()).take(5)
    assert (batch.keys, batch.labels) == ([3, 4], [1, 0])
    assert batch.inputs["x"].tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_examples():
    data = Examples.classified(
        {"x": torch.arange(6.0).reshape(3, 2)}, (7, 8, 9), torch.tensor([0, -100, 1]), ("a", "b")
    )
    batch = RowReader(data, RowColumns()).take(10)
    assert (batch.keys, batch.labels) == ([7, 8, 9], [0, -100, 1])
    assert batch.inputs["x"].shape == (3, 2)


def test_row_numbers_as_keys_and_chosen_inputs():
    reader = RowReader(rows(), RowColumns(key=None, inputs=["x"]))
    reader.take(2)
    batch = reader.take(2)
    assert batch.keys == [2, 3]
    assert list(batch.inputs) == ["x"]


def test_labels_as_names():
    data = [{"id": 1, "label": "dog"}, {"id": 2, "label": None}]
    assert RowReader(data, RowColumns(), ["cat", "dog"]).take(2).labels == [1, -100]
    with pytest.raises(DataError, match=r"label 'dog' of key 1 .* pass class_names="):
        RowReader(data, RowColumns()).take(2)
    with pytest.raises(DataError, match="did you mean 'dogs'"):
        RowReader(data, RowColumns(), ["cat", "dogs"]).take(2)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (RowColumns(key="ids"), "no column 'ids', did you mean 'id'.* with key="),
        (RowColumns(label="lable"), "no column 'lable', did you mean 'label'.* with label="),
        (RowColumns(view="v"), "with view="),
        (RowColumns(inputs=["y"]), "with inputs="),
    ],
)
def test_missing_columns(columns, message):
    with pytest.raises(DataError, match=message):
        RowReader(rows(), columns).take(2)


def test_keys_twice_and_bad_rows():
    reader = RowReader(rows() + rows(), RowColumns())
    reader.take(5)
    with pytest.raises(DataError, match="key 'r0' comes twice"):
        reader.take(5)
    with pytest.raises(DataError, match="must be a dictionary"):
        RowReader([(1, 2)], RowColumns()).take(1)


def test_the_digest_changes_with_the_input_alone():
    base = rows()
    changed = rows()
    changed[3]["x"][0] += 1
    relabelled = [row | {"label": 0} for row in rows()]
    digests = [RowReader(r, RowColumns()).take(5).digests() for r in (base, changed, relabelled)]
    assert (digests[0] != digests[1]).any(axis=1).tolist() == [False, False, False, True, False]
    assert (digests[0] == digests[2]).all()


def test_one_shot():
    assert is_one_shot(iter([]))
    assert not is_one_shot([])


def test_frames_and_mappings_are_rows_like_any_other():
    pandas = pytest.importorskip("pandas")
    columns = {"id": ["r0", "r1", "r2"], "text": ["a", "b", "c"], "label": [1, 0, None]}
    plain = RowReader([dict(zip(columns, row)) for row in zip(*columns.values())], RowColumns()).take(9)
    for data in (columns, pandas.DataFrame(columns)):
        reader = RowReader(data, RowColumns())
        assert reader.total == 3
        batch = reader.take(2)
        assert batch.inputs == {"text": ["a", "b"]}
        assert batch.labels + reader.take(2).labels == [1, 0, -100] == plain.labels
        assert (batch.digests() == plain.digests()[:2]).all()


def test_labels_that_are_nothing_or_no_class():
    data = [{"id": i, "label": label} for i, label in enumerate([float("nan"), "", 2.0, np.int64(1), True])]
    assert RowReader(data, RowColumns()).take(9).labels == [-100, -100, 2, 1, 1]
    with pytest.raises(DataError, match=r"label 0.5 of key 7 is no class"):
        RowReader([{"id": 7, "y": 0.5}], RowColumns(label="y")).take(1)
    assert RowReader([{"id": 7, "label": 0.5}], RowColumns()).take(1).labels == [-100]  # a value to predict
    with pytest.raises(DataError, match="neither a class name nor a number"):
        RowReader([{"id": 7, "y": [1]}], RowColumns(label="y")).take(1)


def test_a_picture_that_cannot_be_hashed_is_named():
    image = pytest.importorskip("PIL.Image")
    file = io.BytesIO()
    image.effect_noise((64, 64), 50).save(file, format="PNG")
    lazy = image.open(io.BytesIO(file.getvalue()[:1500]))
    batch = RowReader(
        [{"id": "k0", "x": image.new("L", (1, 1))}, {"id": "k1", "x": lazy}], RowColumns()
    ).take(2)
    with pytest.raises(UnreadableRowsError, match=r"picture cannot be read .*Keys: 'k1'"):
        batch.digests()


def test_rows_of_different_columns_are_named():
    data = [{"id": "k0", "text": "a"}, {"id": "k1"}]
    with pytest.raises(DataError, match="row with key 'k1' has no column 'text'"):
        RowReader(data, RowColumns()).take(2)
    with pytest.raises(DataError, match="row number 1 has no column 'id'"):
        RowReader([{"id": 1}, {"text": "a"}], RowColumns()).take(2)
    with pytest.raises(DataError, match="row number 1 has no column 'id'"):
        RowReader([{"id": 1}, (1, 2)], RowColumns()).take(2)
    unnamed = RowReader([{"": 0, "id": 1, "text": "a"}], RowColumns()).take(1)  # an index that pandas wrote
    assert list(unnamed.inputs) == ["text"]
