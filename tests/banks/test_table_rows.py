"""A table's rows for a bank: keys, labels and class names, and every fault with its line."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from limbeck.banks import Bank
from limbeck.banks.table_rows import table_rows
from limbeck.errors import ClassNamesError, DataError, UnknownNameError
from limbeck.teachers import CallableTeacher


def csv(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def test_rows_are_dictionaries_that_can_be_read_again(tmp_path):
    path = csv(tmp_path / "t.csv", "id,text,label", "1,null,None", "2,01,NA", "3,,")
    rows = table_rows(path, "id", "label")
    assert rows.class_names == ("NA", "None")
    wanted = [
        {"id": 1, "text": "null", "label": 1},
        {"id": 2, "text": "01", "label": 0},
        {"id": 3, "text": "", "label": -100},
    ]
    assert list(rows) == list(rows) == wanted
    assert len(rows) == 3
    assert list(table_rows(path, None))[2] == {"id": "3", "text": "", "label": ""}


@pytest.mark.parametrize(
    ("labels", "given", "numbers", "names"),
    [
        (["0", "1", ""], None, [0, 1, -100], None),
        (["1", "0", "1"], ["1", "0"], [0, 1, 0], ["1", "0"]),  # names first
        (["0", "1", "1"], ["no", "yes"], [0, 1, 1], ["no", "yes"]),
        (["01", "1", "01"], None, [0, 1, 0], ["01", "1"]),
        ([" cat", "dog ", "cat"], None, [0, 1, 0], ["cat", "dog"]),
        (["cafe\u0301", "caf\u00e9", "tea"], None, [0, 0, 1], ["caf\u00e9", "tea"]),
        (["nan", "nan", "null"], None, [0, 0, 1], ["nan", "null"]),
    ],
)
def test_labels_of_a_csv(tmp_path, labels, given, numbers, names):
    path = csv(tmp_path / "t.csv", "id,label", *(f"{i},{label}" for i, label in enumerate(labels)))
    rows = table_rows(path, "id", "label", given)
    assert list(rows.labels) == numbers
    assert rows.class_names == (None if names is None else tuple(names))


def test_labels_of_typed_tables(tmp_path):
    lines = [{"id": 1, "label": 1}, {"id": 2}, {"id": 3, "label": None}, {"id": 4, "label": 0.0}]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert list(table_rows(tmp_path / "t.jsonl", "id", "label").labels) == [1, -100, -100, 0]
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"id": datasets.Value("int64"), "label": datasets.ClassLabel(names=["no", "yes"])}
    )
    datasets.Dataset.from_dict({"id": [1, 2], "label": [1, 0]}, features=features).to_parquet(
        str(tmp_path / "t.parquet")
    )
    assert table_rows(tmp_path / "t.parquet", "id", "label").class_names == ("no", "yes")


def test_values_to_predict_are_no_labels_unless_asked_for(tmp_path):
    path = csv(tmp_path / "t.csv", "id,label", "1,0.5", "2,3", "3,")
    rows = table_rows(path, "id", "label", values_are_no_labels=True)
    assert (list(rows.labels), rows.class_names) == ([-100] * 3, None)
    assert table_rows(path, "id", "label").class_names == ("0.5", "3")
    (tmp_path / "t.jsonl").write_text('{"id": 1, "label": 0.5}\n')
    with pytest.raises(DataError, match=r"line 1 of .* has the label 0\.5 .* class names or whole"):
        table_rows(tmp_path / "t.jsonl", "id", "label")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["id,text", "1,a", "2,well, yes"], "line 3 of .* has 3 cells for 2 columns"),
        (["id,text", "1,a", ",b"], "line 3 of .* has no key in column 'id'"),
        (["id,text", "1,a", '"  ",b'], "line 3 of .* has no key"),
        (["id,text", "1,a", "", "1,b"], "line 4 of .* has the key 1 of line 2 again"),
        (["id,text", "a,a", "cafe\u0301,b", "caf\u00e9,c"], "line 4 .* key 'caf\u00e9' of line 3 again"),
        (["id,text"], "no rows below its header"),
    ],
)
def test_faults_are_named_before_the_first_row_is_given(tmp_path, lines, words):
    with pytest.raises(DataError, match=words):
        table_rows(csv(tmp_path / "t.csv", *lines), "id")


def test_labels_and_columns_that_are_not_there(tmp_path):
    path = csv(tmp_path / "t.csv", "id,text,label", "1,a,cat", "2,b,cow")
    with pytest.raises(ClassNamesError, match=r"'label' that are no class names: 'cow' \(line 3\)"):
        table_rows(path, "id", "label", ["cat", "dog"])
    with pytest.raises(UnknownNameError, match="no column 'ids'; did you mean 'id'"):
        table_rows(path, "ids")


def test_long_keys_and_leading_zeros_hold_in_a_bank(tmp_path):
    for name, ids in {
        "zeros": ["007", "7"],
        "long": ["12345678901234567890", "1"],
        "late": ["1", "2", "x1"],
    }.items():
        path = csv(tmp_path / f"{name}.csv", "id,f", *(f"{key},{i}" for i, key in enumerate(ids)))
        bank = Bank.from_table(tmp_path / name, path, features="f")
        assert bank.keys == tuple(ids)
        assert bank.lookup(ids[-1:]).features.tolist() == [[len(ids) - 1]]


def asked(inputs):
    return {"features": [[float(len(text))] for text in inputs["text"]]}


@pytest.mark.parametrize("suffix", ["csv", "CSV", "tsv", "jsonl", "json", "parquet"])
def test_a_bank_of_a_path(tmp_path, suffix):
    rows = [{"id": i, "text": "x" * (i + 1), "label": "ab"[i % 2]} for i in range(5)]
    path = tmp_path / f"t.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif suffix == "json":
        path.write_text(json.dumps(rows))
    elif suffix == "jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        separator = "\t" if suffix == "tsv" else ","
        csv(path, *(separator.join(map(str, line)) for line in [rows[0], *(row.values() for row in rows)]))
    bank = Bank.build(tmp_path / "b", CallableTeacher(asked), path)
    assert bank.keys == (0, 1, 2, 3, 4)
    assert bank.class_names == ("a", "b")
    assert bank.labels.tolist() == [0, 1, 0, 1, 0]
    assert bank.lookup([3]).features.tolist() == [[4.0]]
