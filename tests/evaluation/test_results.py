"""The schema of results and its file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from limbeck.errors import DataError
from limbeck.evaluation import Row, read_metrics, write_metrics

ROW = Row("paired", "kd", "paired", "none", 0, "test", "accuracy", 0.882, 8.5, 240)


def test_round_trip(tmp_path: Path) -> None:
    rows = [ROW, replace(ROW, control="shuffled", value=0.4)]
    path = write_metrics(tmp_path / "run é", rows, {"torch": "2.13"})
    assert path == tmp_path / "run é" / "metrics.json"
    assert read_metrics(path.parent) == read_metrics(path) == (rows, {"torch": "2.13"})


@pytest.mark.parametrize(
    ("field", "value"),
    [("arm", ""), ("seed", 1.5), ("seed", True), ("value", float("nan")), ("value", "0.5"), ("steps", -1)],
)
def test_row_refuses(field: str, value: object) -> None:
    with pytest.raises(DataError, match="result row"):
        replace(ROW, **{field: value})


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "not valid JSON"),
        ("[]", "list called 'rows'"),
        ('{"rows": [1]}', "row 0 must be an object"),
        ('{"rows": [], "info": 3}', "'info'"),
        (json.dumps({"rows": [{**ROW.__dict__, "vlaue": 1}]}), "unknown field 'vlaue'; did you mean 'value'"),
        (json.dumps({"rows": [{"arm": "a"}]}), "row 0 lacks 'method'"),
        (json.dumps({"rows": [{**ROW.__dict__, "value": None}]}), "row 0: 'value'"),
    ],
)
def test_damaged_file_is_named(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "metrics.json"
    path.write_text(content)
    with pytest.raises(DataError, match=says) as error:
        read_metrics(path)
    assert str(path) in str(error.value)


def test_absent_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no"):
        read_metrics(tmp_path)


def test_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    write_metrics(tmp_path, [ROW])
    with pytest.raises(DataError, match="plain JSON"):
        write_metrics(tmp_path, [], {"bad": object()})
    with pytest.raises(DataError, match="plain JSON"):
        write_metrics(tmp_path, [], {"bad": float("inf")})
    assert read_metrics(tmp_path).rows == [ROW]
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.json"]
