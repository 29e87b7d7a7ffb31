"""Files of embeddings become banks, and what is wrong in them is named with its place."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from limbeck.banks import Bank
from limbeck.errors import (
    ClassNamesError,
    ConfigError,
    DataError,
    StaleFingerprintError,
    UnknownNameError,
)

N, D = 50, 12
X = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
IDS = [f"p{i}" for i in range(N)]


def csv_of(path: Path, header: list[str], rows: list[list[object]]) -> Path:
    quoted = [",".join(f'"{cell}"' if "," in str(cell) else str(cell) for cell in row) for row in rows]
    path.write_text("\n".join([",".join(header), *quoted]) + "\n")
    return path


def sources(folder: Path) -> dict[str, tuple[object, object]]:
    """The same embeddings in each form: the source, and the name of the feature columns."""
    wide = {"id": IDS, **{f"f{i}": X[:, i] for i in reversed(range(D))}}
    table = pa.table({"id": IDS, "embedding": pa.array(X.tolist(), pa.list_(pa.float32()))})
    pq.write_table(table, folder / "list.parquet", row_group_size=7)
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), D)
    pq.write_table(pa.table({"id": IDS, "embedding": fixed}), folder / "fixed.parquet")
    pq.write_table(pa.table(wide), folder / "wide.parquet")
    (folder / "parts").mkdir()
    pq.write_table(table.slice(0, 20), folder / "parts" / "a.parquet")
    pq.write_table(table.slice(20), folder / "parts" / "b.parquet")
    data = datasets.Dataset.from_dict({"id": IDS, "embedding": X.tolist()})
    data.save_to_disk(str(folder / "saved"))
    turned = data.select(range(N - 1, -1, -1)).select(range(N - 1, -1, -1))  # read through an index
    return {
        "csv of columns": (csv_of(folder / "wide.csv", list(wide), list(zip(*wide.values()))), "f*"),
        "csv of JSON": (
            csv_of(folder / "json.csv", ["id", "e"], [[i, json.dumps(x)] for i, x in zip(IDS, X.tolist())]),
            "e",
        ),
        "lists": (folder / "list.parquet", "embedding"),
        "lists of one length": (str(folder / "fixed.parquet"), "embedding"),
        "parquet of columns": (folder / "wide.parquet", [f"f{i}" for i in range(D)]),
        "folder of parquet": (folder / "parts", "embedding"),
        "data set": (turned, "embedding"),
        "numpy data set": (data.with_format("numpy"), "embedding"),
        "saved data set": (folder / "saved", "embedding"),
    }


def test_every_form_gives_the_same_bank(tmp_path: Path) -> None:
    for name, (source, features) in sources(tmp_path).items():
        bank = Bank.from_table(tmp_path / "banks" / name, source, features=features)
        assert bank.keys == tuple(IDS), name
        torch.testing.assert_close(bank.lookup(IDS).features, torch.from_numpy(X), rtol=1e-6, atol=1e-6)
        assert bank.access == "features"
        assert bank.signals == {"features"}


def test_labels_texts_logits_and_keys(tmp_path: Path) -> None:
    rows = [[7, "cat", 0.5, 1, "a cat"], [3, "", 2, -1, "who knows"], [5, "ape", 0, 0, "an ape"]]
    path = csv_of(tmp_path / "t.csv", ["nr", "kind", "l1", "l2", "said"], rows)
    options = {"key": "nr", "logits": ["l1", "l2"], "label": "kind", "text": "said"}
    bank = Bank.from_table(tmp_path / "b", path, **options)
    assert bank.keys == (7, 3, 5)  # whole numbers, as the readers of texts take them
    assert bank.class_names == ("ape", "cat")
    assert bank.labels is not None
    assert bank.labels.tolist() == [1, -100, 0]
    assert bank.lookup([5]).text == ["an ape"]
    assert bank.lookup([3]).logits.tolist() == [[2.0, -1.0]]
    assert bank.access == "logits"
    numbered = csv_of(tmp_path / "n.csv", ["id", "c", "f"], [["a", 1, 0.5], ["b", "", 1], ["c", 0, 2]])
    bank = Bank.from_table(tmp_path / "n", numbered, features="f", label="c", class_names=["no", "yes"])
    assert bank.labels.tolist() == [1, -100, 0]
    named = Bank.from_table(tmp_path / "m", numbered, features="f", label="c", class_names=["1", "0"])
    assert named.labels.tolist() == [0, -100, 1]  # names first
    probabilities = pa.table({"id": [1, 2], "p": [[-0.6931472, -0.6931472], [-0.2876821, -1.3862944]]})
    pq.write_table(probabilities, tmp_path / "p.parquet")
    assert (
        "log_probs" in Bank.from_table(tmp_path / "p", tmp_path / "p.parquet", log_probs="p").manifest.signals
    )


def test_again_opens_the_same_bank_and_refuses_another(tmp_path: Path) -> None:
    path = csv_of(tmp_path / "t.csv", ["id", "f"], [["a", 1], ["b", 2]])
    first = Bank.from_table(tmp_path / "b", path, features="f")
    before = (first.path / "bank.json").read_bytes()
    Bank.from_table(tmp_path / "b", path, features="f")
    assert (first.path / "bank.json").read_bytes() == before
    csv_of(path, ["id", "f"], [["a", 1], ["b", 3]])
    with pytest.raises(StaleFingerprintError, match=r"'inputs'.*b"):
        Bank.from_table(tmp_path / "b", path, features="f")
    bank = Bank.from_table(tmp_path / "b", path, features="f", overwrite=True)
    assert bank.lookup(["b"]).features.item() == 3


BAD_CSV = {
    "a word": ("a,1\nb,abc\n", r"line 3 of .*t.csv has 'abc', neither a number.*in column 'f'"),
    "an empty cell": ("a,1\nb,\n", r"line 3 of .*'', neither"),
    "not finite": ("a,1\nb,nan\n", r"line 3 .*not finite in column 'f'"),
    "beyond float32": ("a,1\nb,1e300\n", r"line 3 .*not finite"),
    "ragged lists": (
        'a,"[1,2]"\nb,"[1,2,3]"\n',
        r"line 3 .*has 3 numbers \(2 in the first row\) in column 'f'",
    ),
    "words in a list": ('a,"[1,2]"\nb,"[1,""x""]"\n', "line 3 .*neither a number nor a JSON list"),
    "a list of lists": ('a,"[[1],[2]]"\n', "line 2 .*neither a number nor a JSON list"),
    "no JSON": ('a,"[0.1 0.2]"\n', "line 2 .*neither a number nor a JSON list"),
    "cells too few": ("a,1\nb\n", "line 3 of .* has 1 cell for 2 columns"),
    "no key": ("a,1\n,2\n", "line 3 of .* has no key in column 'id'"),
    "a key twice": ("a,1\nb,2\n\na,3\n", "line 5 of .*has the key 'a' of line 2 again"),
    "no rows": ("", "holds no rows"),
}


@pytest.mark.parametrize("case", BAD_CSV)
def test_bad_cells_of_a_csv_are_named_with_line_and_column(case: str, tmp_path: Path) -> None:
    body, message = BAD_CSV[case]
    path = tmp_path / "t.csv"
    path.write_text("id,f\n" + body)
    with pytest.raises(DataError, match=message):
        Bank.from_table(tmp_path / "b", path, features="f")


BAD_ARROW = {
    "ragged": ([[1.0, 2.0], [1.0]], r"row 1 of .*has 1 numbers \(2 in the first row\)"),
    "a gap": ([[1.0, 2.0], None], "row 1 of .*has nothing in column 'e'"),
    "a gap within": ([[1.0, 2.0], [None, 2.0]], "row 1 of .*has a list with a gap"),
    "an empty list": ([[1.0], []], "row 1 of .*has 0 numbers"),
    "nested": ([[[1.0]], [[2.0]]], "row 0 .*list<.* and no list of numbers"),
    "truth values": ([True, False], "row 0 .*bool and no list"),
}


@pytest.mark.parametrize("case", BAD_ARROW)
def test_bad_cells_of_parquet_are_named_with_row_and_column(case: str, tmp_path: Path) -> None:
    values, message = BAD_ARROW[case]
    pq.write_table(pa.table({"id": [0, 1], "e": values}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=message):
        Bank.from_table(tmp_path / "b", tmp_path / "t.parquet", features="e")


def test_a_bad_row_in_a_late_chunk_leaves_its_place(tmp_path: Path) -> None:
    values = [[float(i)] for i in range(3000)]
    values[2500] = [1.0, 2.0]
    pq.write_table(pa.table({"id": list(range(3000)), "e": values}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="row 2500 of"):
        Bank.from_table(tmp_path / "b", tmp_path / "t.parquet", features="e")


def test_wrong_names_and_sources_get_the_nearest(tmp_path: Path) -> None:
    path = csv_of(tmp_path / "t.csv", ["id", "f0", "f1", "kind"], [["a", 1, 2, "x"]])

    def of(source: object = path, **options: object) -> Bank:
        return Bank.from_table(tmp_path / "b", source, **options)

    for options in ({"key": "idd", "features": "f0"}, {"features": ["f0", "f2"]}, {"features": "g*"}):
        with pytest.raises(UnknownNameError, match=r"t.csv has no column"):
            of(**options)
    with pytest.raises(ConfigError, match=r"Name what the teacher says.*f0"):
        of()
    with pytest.raises(ClassNamesError, match=r"'kind' that are no class names: 'x'"):
        of(features="f*", label="kind", class_names=["y", "z"])
    with pytest.raises(DataError, match="no file"):
        of(tmp_path / "nothing.csv", features="f*")
    with pytest.raises(DataError, match="convert it first"):
        of(Path(__file__), features="f*")
    with pytest.raises(DataError, match=r"datasets\.Dataset, not list"):
        of([1, 2], features="f*")
    splits = datasets.DatasetDict(train=datasets.Dataset.from_dict({"id": [1], "e": [[1.0]]}))
    with pytest.raises(DataError, match=r"several splits.*train"):
        of(splits, features="e")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 but not really")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        of(tmp_path / "broken.parquet", features="e")


def test_memory_does_not_grow_with_the_table(tmp_path: Path) -> None:
    n, width = 20_000, 64  # 5 MB of float32
    numbers = pa.array(np.zeros(n * width, np.float32))
    table = pa.table({"id": np.arange(n), "e": pa.FixedSizeListArray.from_arrays(numbers, width)})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=1000)
    import limbeck.banks.tables as tables

    rows = tables._Rows(
        tables.table_file(tmp_path / "t.parquet"), range(n), [0] * n, {"features": ["e"]}, None
    )
    tracemalloc.start()
    assert sum(1 for _ in rows) == n
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < n * width * 4 / 4


# ---- boxes --------------------------------------------------------------------------------------------------------

BOXES = [[[0, 0, 5, 5], [1, 2.5, 3, 4]], [], [[9, 9, 10, 10]]]
BOX_LABELS, BOX_SCORES = [[3, 0], [], [1]], [[0.5, 0.25], [], [1.0]]


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_boxes_of_a_table(tmp_path, kind):
    columns = {"id": ["a", "b", "c"], "boxes": BOXES, "kinds": BOX_LABELS, "sure": BOX_SCORES}
    path = tmp_path / f"t.{kind}"
    if kind == "csv":
        lines = [
            ",".join(f'"{json.dumps(v)}"' if i else v for i, v in enumerate(row))
            for row in zip(*columns.values())
        ]
        path.write_text("\n".join(["id,boxes,kinds,sure", *lines]))
    elif kind == "jsonl":
        path.write_text("\n".join(json.dumps(dict(zip(columns, row))) for row in zip(*columns.values())))
    else:
        pq.write_table(pa.table(columns), path)
    bank = Bank.from_table(tmp_path / "b", path, boxes="boxes", box_labels="kinds", box_scores="sure")
    said = bank.lookup(["c", "b", "a"])
    assert [row.tolist() for row in said.boxes] == BOXES[::-1]
    assert [row.tolist() for row in said.box_labels] == BOX_LABELS[::-1]
    assert [row.tolist() for row in said.box_scores] == BOX_SCORES[::-1]
    assert bank.access == "logits"


@pytest.mark.parametrize(
    ("cell", "column", "message"),
    [
        (
            "[[1, 2, 3]]",
            "boxes",
            r"line 3 of .* has '\[\[1, 2, 3\]\]', not lists of x0, y0, x1, y1, in column 'boxes'",
        ),
        ("[[1, 2, 3, NaN]]", "boxes", "not lists of x0, y0, x1, y1"),
        ("[[1, 2, 3, 4], 5]", "boxes", "not lists of x0, y0, x1, y1"),
        ("no", "boxes", "'no', not lists of"),
        ("[1.5]", "kinds", r"'\[1.5\]', not one number for each box"),
        ("[[1]]", "kinds", "not one number for each box"),
    ],
)
def test_cells_that_are_no_boxes(tmp_path, cell, column, message):
    cells = {"boxes": "[[1, 2, 3, 4]]", "kinds": "[1]"}
    other = cells | {column: cell}
    path = tmp_path / "t.csv"
    path.write_text(
        "\n".join(
            ["id,boxes,kinds", *(f'{i},"{c["boxes"]}","{c["kinds"]}"' for i, c in enumerate((cells, other)))]
        )
    )
    with pytest.raises(DataError, match=message):
        Bank.from_table(tmp_path / "b", path, boxes="boxes", box_labels="kinds")
