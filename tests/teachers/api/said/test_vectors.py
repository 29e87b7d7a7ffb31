"""Vectors in the forms in which servers send them."""

from __future__ import annotations

import base64
import json
import struct

import numpy as np
import pytest

from limbeck.teachers.api.questions import BadAnswer
from limbeck.teachers.api.said.vectors import vectors_in

ROWS = [[0.25, 0.5, -1.0], [1.0, 2.0, 3.0]]


def coded(row):
    return base64.b64encode(struct.pack("<3f", *row)).decode()


def data(values, **more):
    return {"data": [{"index": n, "embedding": value, **more} for n, value in enumerate(values)]}


@pytest.mark.parametrize(
    "reply",
    [
        data(ROWS),
        {"data": list(reversed(data(ROWS)["data"]))},
        data([coded(row) for row in ROWS]),
        data([coded(row).rstrip("=") for row in ROWS]),
        data(["data:application/octet-stream;base64," + coded(row) for row in ROWS]),
        data([json.dumps(row) for row in ROWS]),
        data([[row] for row in ROWS]),
        data([[[row]] for row in ROWS]),
        data([{"float": row} for row in ROWS]),
        data([{"values": row} for row in ROWS]),
        data(ROWS, index=None),
        data(ROWS, index=0),
        {"data": [{"embedding": row} for row in ROWS]},
        {"data": [{"index": str(n), "embedding": row} for n, row in enumerate(ROWS)]},
        {"data": [{"index": float(n), "embedding": row} for n, row in enumerate(ROWS)]},
        {"data": [{"index": n + 1, "embedding": row} for n, row in enumerate(ROWS)]},
        {"data": [{"index": n or None, "embedding": row} for n, row in enumerate(ROWS)]},
        {"data": ROWS},
        {"embeddings": ROWS},
        {"embeddings": {"float": ROWS}},
        {"data": {"embeddings": ROWS}},
    ],
)
def test_two_vectors(reply):
    np.testing.assert_array_equal(np.stack(vectors_in(reply, 2)), np.array(ROWS, np.float32))


@pytest.mark.parametrize("reply", [{"embedding": [1, 2, 3]}, {"data": [1, 2, 3]}, data([[1, 2, 3]], index=7)])
def test_one_vector_of_whole_numbers(reply):
    np.testing.assert_array_equal(vectors_in(reply, 1)[0], np.array([1, 2, 3], np.float32))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([], "an empty embedding"),
        (None, "an empty embedding"),
        ([1.0, None], "an embedding with NaN or Inf"),
        ([1.0, float("nan")], "an embedding with NaN or Inf"),
        ([1e300], "an embedding with NaN or Inf"),
        ([10**400], "embeddings that cannot be read"),
        (["x"], "embeddings that cannot be read"),
        ("abc", "embeddings that cannot be read"),
        ([[1.0], [1.0, 2.0]], "embeddings that cannot be read"),
        ([[1.0, 2.0], [3.0, 4.0]], "a vector for every token (let the server pool them)"),
        (3, "an empty embedding"),
    ],
)
def test_one_that_is_none_leaves_the_other_alone(value, reason):
    first, second = vectors_in(data([[1.0, 2.0], value]), 2)
    assert (first.tolist(), second) == ([1.0, 2.0], reason)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ({}, "no embeddings"),
        ({"data": []}, "no embeddings"),
        ({"data": "x"}, "no embeddings"),
        (data(ROWS[:1]), "1 embeddings for 2 texts"),
        (data([*ROWS, ROWS[0]]), "3 embeddings for 2 texts"),
        ({"data": [{"index": n, "embedding": row} for n, row in zip((0, 5), ROWS)]}, "fit no order"),
        ({"data": [{"index": n, "embedding": row} for n, row in zip((0, "x"), ROWS)]}, "cannot be read"),
    ],
)
def test_answers_that_fit_no_texts(reply, reason):
    with pytest.raises(BadAnswer, match=reason):
        vectors_in(reply, 2)
