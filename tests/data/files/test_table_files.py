"""One reader for every table: cells as they stand, and every fault named with file, line and mend."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from levels import some_of

from limbeck.data.files.records import read_table
from limbeck.data.files.table_files import table_file
from limbeck.errors import DataError


def rows(path: Path) -> list[dict]:
    return [record.cells for record in read_table(path).records]


def places(path: Path) -> list[str]:
    return [record.place for record in read_table(path).records]


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# ---- what is read --------------------------------------------------------------------------------------------


def test_cells_are_texts_as_they_stand(tmp_path):
    words = [
        "None",
        "NA",
        "null",
        "nan",
        "007",
        "true",
        "1e5",
        "12345678901234567890",
        " a ",
        "1_0",
        "N/A",
        "''",
    ]
    path = written(tmp_path / "t.csv", "id,text\n" + "".join(f"{i},{w}\n" for i, w in enumerate(words)))
    assert [row["text"] for row in rows(path)] == words


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_and_byte_order_marks(tmp_path, end, mark):
    path = written(tmp_path / "t.csv", mark + end.join(["id,text", "1,ä", "", '2,"b, c"', ""]))
    assert rows(path) == [{"id": "1", "text": "ä"}, {"id": "2", "text": "b, c"}]
    assert places(path) == ["line 2 of t.csv", "line 4 of t.csv"]


def test_mixed_line_ends_and_cells_of_several_lines(tmp_path):
    path = written(tmp_path / "t.csv", 'id,text\r\n1,"two\r\nlines, ""so"""\n2,x\r3,"a\n\nb"\n4,y')
    assert [row["text"] for row in rows(path)] == ['two\r\nlines, "so"', "x", "a\n\nb", "y"]
    assert [place.split()[1] for place in places(path)] == ["2", "4", "5", "8"]


def test_a_cell_longer_than_the_usual_limit(tmp_path):
    long = "word, " * 100_000
    path = written(tmp_path / "t.csv", f'id,text\n1,"{long}"\n2,b\n')
    assert rows(path)[0]["text"] == long
    tabs = written(tmp_path / "t.tsv", f"id\ttext\n1\t{long}\n")
    assert rows(tabs)[0]["text"] == long


@pytest.mark.parametrize("separator", [";", "\t", "|"])
@pytest.mark.parametrize("suffix", [".csv", ".CSV", ".tsv", ".Tsv"])
def test_another_separator_is_found(tmp_path, separator, suffix):
    lines = ["id;text;label", '1;"a; b, c";x', "2;d;y"]
    path = written(
        tmp_path / f"t{suffix}", "\n".join(lines).replace(";", separator).replace("a" + separator, "a;")
    )
    if (separator, suffix.lower()) == ("\t", ".tsv"):
        assert rows(path)[0]["text"] == '"a; b, c"'  # GLUE's are not quoted
    else:
        assert rows(path)[0]["text"] == "a; b, c"
    assert [row["label"] for row in rows(path)] == ["x", "y"]


def test_excels_own_line_names_the_separator(tmp_path):
    path = written(tmp_path / "t.csv", "sep=;\r\nid;text\r\n1;a, b\r\n")
    assert rows(path) == [{"id": "1", "text": "a, b"}]
    assert places(path) == ["line 3 of t.csv"]


def test_a_header_with_both_signs_is_read_by_its_rows(tmp_path):
    path = written(tmp_path / "t.csv", "id;text, german;label\n1;ja;x\n")
    assert rows(path) == [{"id": "1", "text, german": "ja", "label": "x"}]
    assert rows(written(tmp_path / "one.csv", "text\na;b\n")) == [{"text": "a;b"}]


def test_tsv_is_unquoted_as_glue_writes_it(tmp_path):
    path = written(tmp_path / "t.tsv", 'id\ttext\n1\t"Hello there\n2\tHe said "no".\n3\t"all of it"\n')
    assert [row["text"] for row in rows(path)] == ['"Hello there', 'He said "no".', '"all of it"']
    quoted = written(tmp_path / "q.tsv", '"id"\t"text"\n"1"\t"a\tb"\n"2"\t"c ""d"""\n')
    assert [row["text"] for row in rows(quoted)] == ["a\tb", 'c "d"']
    doubled = written(tmp_path / "d.tsv", 'id\ttext\n1\t"He said ""no"""\n')
    assert rows(doubled) == [{"id": "1", "text": 'He said "no"'}]


def test_names_without_a_header_line(tmp_path):
    path = written(tmp_path / "t.tsv", "1\ta\n2\tb\n")
    table = read_table(path, header=("id", "text"))
    assert [record.cells for record in table.records] == [{"id": "1", "text": "a"}, {"id": "2", "text": "b"}]
    assert table.records[0].place == "line 1 of t.tsv"


def test_json_keeps_its_types_and_columns_that_come_late(tmp_path):
    lines = [{"id": 1, "text": "null"}, {"id": 2, "text": None, "x": [1.5]}, {"x": {"a": 1}, "id": "007"}]
    path = written(tmp_path / "t.jsonl", "\n".join(map(json.dumps, lines)) + "\n\n")
    assert rows(path) == lines
    assert table_file(path).columns == ("id", "text", "x")
    for indent in (None, 2):
        whole = written(tmp_path / "t.json", json.dumps(lines, indent=indent))
        assert rows(whole) == lines
        assert places(whole) == [f"row {i} of t.json" for i in range(3)]


def test_chunks_give_the_asked_columns_in_any_order(tmp_path):
    path = written(tmp_path / "t.csv", "a,b,c\n" + "".join(f"{i},{i}b,{i}c\n" for i in range(5)))
    chunks = list(table_file(path).chunks(["c", "a"], 2))
    assert [chunk.column("c") for chunk in chunks if chunk.places] == [["0c"], ["1c", "2c"], ["3c", "4c"]]
    assert next(chunks[1].records()) == {"c": "1c", "a": "1"}
    assert [list(chunk.places) for chunk in chunks][1] == [3, 4]


def test_parquet_states_its_classes(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"id": datasets.Value("int64"), "label": datasets.ClassLabel(names=["no", "yes"])}
    )
    data = datasets.Dataset.from_dict({"id": [1, 2], "label": [1, 0]}, features=features)
    data.to_parquet(str(tmp_path / "t.parquet"))
    assert table_file(tmp_path / "t.parquet").class_names == {"label": ("no", "yes")}
    assert table_file(data).class_names == {"label": ("no", "yes")}


def test_frames_and_arrow_tables(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"id": ["a", "b"], "x": [1.5, None]}, index=[7, 8])
    for source in (frame, pa.table({"id": ["a", "b"], "x": [1.5, None]})):
        (chunk,) = table_file(source).chunks(["id", "x"], 10)
        assert list(chunk.records()) == [{"id": "a", "x": 1.5}, {"id": "b", "x": None}]
    with pytest.raises(DataError, match="The frame is no table"):
        table_file(pandas.DataFrame({"id": [1, "x"]}))


# ---- what is refused -----------------------------------------------------------------------------------------

BAD_LINES = {
    "too many": (
        "t.csv",
        "id,text\n1,a\n2,well, yes\n",
        r"line 3 of t\.csv has 3 cells for 2 columns \(put .*commas",
    ),
    "too few": ("t.csv", "id,text,label\n1,a\n", r"line 2 of t\.csv has 2 cells for 3 columns"),
    "too many tabs": ("t.tsv", "id\ttext\n1\ta\tb\n", r"line 2 of t\.tsv has 3 cells for 2 columns"),
    "text behind a quote": (
        "t.csv",
        'id,text\n1,a\n2,"b" c\n',
        r"line 3 of t\.csv has text after a closing quote",
    ),
    "no JSON": ("t.jsonl", '{"a": 1}\n{a: 2}\n', r"line 2 of t\.jsonl is no JSON"),
    "no object": ("t.jsonl", '{"a": 1}\n[1]\n', r"line 2 of t\.jsonl is no JSON object"),
    "a name twice": ("t.jsonl", '{"a": 1}\n{"a": 1, "a": 2}\n', r"line 2 of t\.jsonl has the name 'a' twice"),
    "half a character": ("t.jsonl", '{"a": "\\ud800"}\n', r"line 1 of t\.jsonl holds half of a character"),
    "a number without end": ("t.jsonl", '{"a": ' + "1" * 5000 + "}\n", r"line 1 of t\.jsonl cannot be read"),
    "lists in lists": (
        "t.jsonl",
        '{"a": ' + "[" * 100_000 + "\n",
        r"line 1 of t\.jsonl is nested too deeply",
    ),
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_a_bad_line_is_kept_apart_and_named(case, tmp_path):
    name, content, words = BAD_LINES[case]
    table = read_table(written(tmp_path / name, content))
    ((place, reason),) = table.bad.items()
    assert re.search(words, f"{place} {reason}")
    with pytest.raises(DataError, match="mend it or remove it") as caught:
        list(table_file(tmp_path / name).rows(["id"] if name.endswith("sv") else ["a"], 10))
    assert place.split(" of ")[0] in str(caught.value)


def parquet_named(column: str) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({column: ["a"]}), sink)
    return sink.getvalue()


BAD_FILES = {
    "a quote never closed": ("t.csv", 'id,text\n1,a\n2,"b\n3,c\n', "from line 3 on: a quote .* never closed"),
    "a quote closed too late": ("t.csv", 'id,text\n1,"a\n2,b"c\n', "from line 2 on: .* closes within line 3"),
    "a column twice": ("t.csv", "id,text,id\n1,a,2\n", r"has the column 'id' twice \(line 1\)"),
    "two without a name": ("t.csv", "id,text,,\n1,a,,\n", "two columns without a name"),
    "nothing": ("t.csv", "", "is empty"),
    "blank lines": ("t.csv", "\n\n", "is empty"),
    "a header alone": ("t.csv", "id,text\n", "no rows below its header"),
    "latin": (
        "t.csv",
        "id,text\n1,a\n2,na\u00efve\n".encode("latin-1"),
        r"line 3 holds the byte 0xEF \(byte 16 of the file\).*UTF-8",
    ),
    "latin behind much": (
        "t.csv",
        b"id,text\r\n" + b"1,a\r\n" * 300_000 + b"2,\xe9\r\n",
        "line 300002 holds the byte 0xE9",
    ),
    "cut in a character": ("t.csv", "id,text\n1,\u20ac".encode()[:-1], "line 2 holds the byte 0xE2"),
    "utf-16": ("t.csv", "id,text\n1,a\n".encode("utf-16"), "UTF-16; save it anew in UTF-8"),
    "utf-16 without a mark": (
        "t.csv",
        "id,text\n1,a\n".encode("utf-16-le"),
        r"line 1 holds the byte 0 \(NUL\).*UTF-16",
    ),
    "NUL": ("t.csv", b"id,text\n1,a\n2,b\0c\n", r"line 3 holds the byte 0 \(NUL\)"),
    "a web page": ("t.csv", "<!DOCTYPE html>\n<html>", "a web page"),
    "an Excel file": ("t.csv", b"PK\x03\x04\x14\0", "Excel"),
    "a pointer": ("t.csv", "version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
    "a list that ends early": ("t.json", '[{"a": 1}, {"a": ', "row 1 goes wrong"),
    "no Parquet": ("t.parquet", b"PAR1 no", "cannot be read as Parquet"),
    "Parquet with a broken name": (
        "t.parquet",
        parquet_named("idé").replace("é".encode(), b"\xff\xfe"),
        "cannot be read",
    ),
    "another kind": ("t.txt", "id,text\n", r"is none of \.csv, \.tsv"),
    "compressed": ("t.csv.gz", b"\x1f\x8b", "compressed; unpack it first"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_one_sentence(case, tmp_path):
    name, content, words = BAD_FILES[case]
    path = written(tmp_path / name, content)
    with pytest.raises(DataError, match=words) as caught:
        read_table(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_column_twice_in_parquet(tmp_path):
    pq.write_table(
        pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]), tmp_path / "t.parquet"
    )
    with pytest.raises(DataError, match="the column 'a' twice"):
        table_file(tmp_path / "t.parquet")


def test_a_cell_without_end_does_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("limbeck.data.files.delimited.LONGEST_CELL", 1000)
    before = csv.field_size_limit(1000)
    try:
        path = written(tmp_path / "t.csv", 'id,text\n1,a\n2,"' + "b\n" * 1000)
        with pytest.raises(DataError, match="from line 3 on: a cell has more than 1,000 characters"):
            read_table(path)
    finally:
        csv.field_size_limit(before)


@pytest.mark.parametrize("behind", ['\n[{"a": 2}]', "\n" * 9 + '{"a": 2}', " x", "]"])
def test_rows_behind_a_json_list_are_not_lost(tmp_path, behind):
    path = written(tmp_path / "t.json", '[{"a": 1}]' + behind)
    with pytest.raises(DataError, match="goes on behind its list of JSON objects; put all of them"):
        rows(path)
    assert rows(written(path, '[{"a": 1}]\n \n')) == [{"a": 1}]


def test_a_byte_order_mark_written_twice(tmp_path):
    """As where a program that writes one is given a text that begins with one."""
    path = written(tmp_path / "t.csv", b"\xef\xbb\xbf\xef\xbb\xbfid,b\n007,None\n")
    assert rows(path) == [{"id": "007", "b": "None"}]


def test_a_comma_in_the_header_of_a_file_with_semicolons(tmp_path):
    path = written(tmp_path / "t.csv", "key;label;price, EUR\nk0;x;1,5\nk1;y;2,0\n")
    assert rows(path)[0] == {"key": "k0", "label": "x", "price, EUR": "1,5"}


def test_dates_beyond_the_calendar(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"key": [1], "when": pa.array([10**13], pa.timestamp("s"))}), path)
    table = table_file(path)
    assert [row for chunk in table.rows(["key"], 9) for row in chunk.records()] == [{"key": 1}]
    with pytest.raises(
        DataError, match=r"of type timestamp\[m?s\] is none that Python knows .* save it as text"
    ):
        [row for chunk in table.rows(["when"], 9) for row in chunk.records()]


BOUNDED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]), int(sys.argv[2])))
from limbeck.data.files.table_files import table_file
table = table_file(sys.argv[1])
print(sum(len(chunk.places) for chunk in table.rows(table.columns, 1024)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space, which other systems do not")
@pytest.mark.parametrize("suffix", some_of([".csv", ".jsonl", ".tsv"], ".csv"))
def test_memory_does_not_grow_with_the_rows(tmp_path, suffix):
    """A file of 200 MB is read by a process that could not hold it."""
    text = "a red dog runs over the green hill " * 25
    line = {
        ".csv": f'123,"{text}, so"\n',
        ".tsv": f"123\t{text}\n",
        ".jsonl": json.dumps({"id": 1, "text": text}) + "\n",
    }[suffix]
    n = 200_000_000 // len(line)
    path = tmp_path / f"t{suffix}"
    with path.open("w") as file:
        file.write({".csv": "id,text\n", ".tsv": "id\ttext\n", ".jsonl": ""}[suffix])
        for _ in range(n // 1000):
            file.write(line * 1000)
    base = subprocess.run(
        [
            sys.executable,
            "-c",
            "import limbeck.data.files.table_files as t; print(open('/proc/self/status').read())",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    used = 1024 * int(base.split("VmPeak:")[1].split()[0])
    found = subprocess.run(
        [sys.executable, "-c", BOUNDED, str(path), str(used + 60_000_000)], capture_output=True, text=True
    )
    assert found.stdout.strip() == str(n // 1000 * 1000), found.stderr[-500:]
