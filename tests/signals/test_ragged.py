"""Rows of different lengths, as a list of rows would have it."""

from __future__ import annotations

import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from limbeck.errors import DataError, MissingSignalError
from limbeck.signals import Ragged, TeacherOutput, TopK
from limbeck.signals.output import as_signal
from limbeck.signals.ragged import joined, packed, unpacked


def rows(lengths: list[int], width: int = 3, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    return [(100 * i + torch.arange(n * width)).reshape(n, width).to(dtype) for i, n in enumerate(lengths)]


def test_padded_by_hand():
    values, shown = Ragged.of([[[1, 2], [3, 4]], [], [[5, 6]]]).padded(fill=-1)
    assert values.tolist() == [[[1, 2], [3, 4]], [[-1, -1], [-1, -1]], [[5, 6], [-1, -1]]]
    assert shown.tolist() == [[True, True], [False, False], [True, False]]


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 4), min_size=1, max_size=6),
    dtype=st.sampled_from(
        [torch.float16, torch.bfloat16, torch.float64, torch.int32, torch.uint8, torch.bool]
    ),
    data=st.data(),
)
def test_it_is_the_list_of_its_rows(lengths, dtype, data):
    given_rows = rows(lengths, dtype=dtype)
    ragged = Ragged.of(given_rows)
    index = data.draw(st.lists(st.integers(0, len(lengths) - 1), max_size=6))
    for found, expected in (
        (ragged, given_rows),
        (ragged.rows(torch.tensor(index, dtype=torch.long)), [given_rows[i] for i in index]),
        (ragged.rows(slice(1, 3)), given_rows[1:3]),
        (Ragged.shown(*ragged.padded()), given_rows),
        (joined([ragged, ragged.rows([0])]), [*given_rows, given_rows[0]]),
        (unpacked(packed({"x": ragged}))["x"], given_rows),
        (pickle.loads(pickle.dumps(ragged)), given_rows),
    ):
        assert len(found) == len(expected)
        assert all(a.dtype == dtype and torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_tokens_padded_are_distributions_and_come_back():
    said = TopK.of(torch.randn(5, 9), 2)
    tokens = Ragged(said, torch.tensor([2, 0, 3]))
    padded, shown = tokens.padded()
    assert padded.ids.shape == (3, 3, 2)
    torch.testing.assert_close(padded.binned().exp().sum(-1), torch.ones(3, 3))
    assert torch.equal(padded.ids[shown], said.ids)
    back = Ragged.shown(padded, shown)
    assert torch.equal(back.values.rest, said.rest)
    (second,) = tokens.rows([2])
    assert torch.equal(second.log_probs, said.log_probs[2:])
    half = tokens.map(lambda value: value.half())
    assert half.values.log_probs.dtype == torch.float16
    assert half.values.ids.dtype == half.lengths.dtype == torch.int64


def test_a_row_of_nothing_is_shown_as_nothing():
    values, shown = Ragged.of([torch.zeros(0, 4)] * 2).padded()
    assert values.shape == (2, 0, 4)
    assert shown.shape == (2, 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Ragged(torch.ones(5, 2), torch.tensor([2, 2])),
            "sum to its 5 values; they are 2, 2 and sum to 4",
        ),
        (lambda: Ragged(torch.ones(1), torch.tensor([2, -1])), "must be 0 or more"),
        (lambda: Ragged(torch.ones(2), torch.tensor([2.0])), "whole lengths"),
        (lambda: Ragged.of([]), "at least one row"),
        (
            lambda: Ragged.of([torch.ones(2, 3), torch.ones(2, 4)]),
            r"one width and dtype; row 1 is .*\[2, 4\]",
        ),
        (
            lambda: Ragged.of([torch.ones(2), torch.ones(2).long()]),
            "one width and dtype; row 1 is torch.int64",
        ),
        (
            lambda: TopK(torch.zeros(2, 3).long(), torch.zeros(2, 2), 5),
            "a log-probability for each class number",
        ),
        (lambda: TopK(torch.zeros(2, 3).long(), torch.zeros(2, 3), 2), "A TopK of 2 classes keeps 1 to 2"),
        (
            lambda: TopK(torch.zeros(2, 3).long(), torch.zeros(2, 3), 5, torch.zeros(3)),
            "one number for each row",
        ),
        (
            lambda: joined([TopK.of(torch.randn(2, 5), k) for k in (2, 3)]),
            "one keeps 2 of 5, another is 3 of 5",
        ),
        (lambda: F.mse_loss(torch.ones(1), Ragged.of([[1.0]])), r"mse_loss was given .* \.padded\(\)"),
    ],
)
def test_what_does_not_fit_is_said(make, message):
    with pytest.raises(DataError, match=message):
        make()


def test_a_method_that_reads_one_length_is_told():
    with pytest.raises(AttributeError, match=r"has no 'float'; read values and mask with \.padded"):
        Ragged.of([[1.0]]).float()
    with pytest.raises(DataError, match="predictions have rows of different lengths"):
        TeacherOutput(logits=Ragged.of([torch.ones(1, 2)])).log_predictions()


def test_an_output_holds_them():
    tokens = Ragged(TopK.of(torch.randn(3, 9), 2), torch.tensor([1, 2]))
    said = TeacherOutput(tokens=tokens, boxes=Ragged.of([torch.ones(2, 4), []]), text=["a", "b"])
    assert len(said) == 2
    assert said.signals == {"tokens", "boxes", "text"}
    picked = said.rows(torch.tensor([1]))
    assert picked["tokens"].lengths.tolist() == [2]
    assert picked["boxes"].lengths.tolist() == [0]
    assert picked.text == ["b"]
    with pytest.raises(MissingSignalError, match="no 'features' here, only boxes, text, tokens"):
        said["features"]


def test_log_predictions_of_the_likeliest_spread_the_rest():
    said = TeacherOutput(log_probs=TopK.of(torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log(), 2))
    torch.testing.assert_close(said.log_predictions().exp(), torch.tensor([[0.5, 0.3, 0.1, 0.1]]))


def test_classes_in_another_order():
    said = TopK.of(torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log(), 2)
    moved = said.in_order(torch.tensor([3, 1, 0, 2]))
    torch.testing.assert_close(moved.dense(), said.dense()[:, [3, 1, 0, 2]])
    with pytest.raises(DataError, match="cannot be cut to 2 classes"):
        said.in_order(torch.tensor([0, 1]))


def test_lists_of_different_lengths_are_ragged():
    assert isinstance(as_signal("features", [torch.ones(2, 3), torch.ones(1, 3)]), Ragged)
    assert as_signal("features", [torch.ones(3), torch.ones(3)]).shape == (2, 3)
    assert as_signal("features", [[1.0, 2.0]]).shape == (1, 2)
    assert isinstance(as_signal("boxes", [torch.ones(2, 4), torch.ones(2, 4)]), Ragged)
    pixels = as_signal("boxes", [[[0, 0, 5, 5]], [], [[1.5, 0, 2, 2]]])
    assert pixels.values.tolist() == [[0, 0, 5, 5], [1.5, 0, 2, 2]]
    assert (
        as_signal("boxes", Ragged(torch.ones(2, 4).long(), torch.tensor([2]))).values.dtype == torch.float32
    )
    assert as_signal("box_labels", [[3], []]).values.dtype == torch.int64
