"""Class probabilities from what a chat model says."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limbeck.errors import ConfigError
from limbeck.teachers.api.labels import (
    counted_log_probs,
    label_position,
    labels_of,
    mark_log_probs,
    mark_number,
    named_class,
    named_log_probs,
    positions_of,
    positions_said,
)

PETS = labels_of(["cat", "dog", "house cat"])


def position(chosen: str, **top: float) -> dict:
    listed = [{"token": t.replace("_", " "), "logprob": math.log(p)} for t, p in top.items()]
    return {"token": chosen, "logprob": math.log(0.5), "top_logprobs": listed}


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("A", 0),
        (" (B). ", 1),
        ("**C**", 2),
        ("dog", 1),
        ("House Cat.", 2),
        ("B) dog", 1),
        ("C - house cat", 2),
        ("The answer is B, I think.", 1),
        ("Answer: A", 0),
        ("It looks like a house cat to me", 2),
        ("A dog is in the picture", 1),  # the article is no mark
        ("B. cat", None),  # a mark beside another class
        ("a cat or a dog", None),
        ("I cannot say.", None),
        ("", None),
        ("category", None),
    ],
)
def test_the_class_that_a_text_names(text, number):
    assert named_class(text, PETS) == number


def test_marks_never_collide_with_names():
    assert labels_of(["red", "blue"]).listing() == "A. red\nB. blue"
    by_number = labels_of(["B", "A"])
    assert by_number.marks == ("1", "2")
    assert by_number.is_one_token
    assert named_class("A", by_number) == 1
    many = labels_of([f"class {i}" for i in range(30)])
    assert many.marks[29] == "30"
    assert not many.is_one_token
    assert labels_of(["A", "1"]).marks == ("#1", "#2")
    for wrong in ([], ["one"], ["cat", "Cat"], ["cat", " "]):
        with pytest.raises(ConfigError):
            labels_of(wrong)


def test_label_tokens_are_added_up_and_renormalised():
    found = mark_log_probs([position("\n", x=1.0), position("A", A=0.5, _A=0.1, B=0.2, C=0.1, the=0.1)], PETS)
    assert found == pytest.approx([math.log(p / 0.9) for p in (0.6, 0.2, 0.1)])


def test_absent_labels_get_what_the_list_leaves_room_for():
    # C was not listed: at most 0.04 (the smallest listed), and the list leaves 0.02
    found = mark_log_probs([position("A", A=0.9, B=0.04, the=0.04)], PETS)
    assert [math.exp(v) for v in found] == pytest.approx([p / 0.96 for p in (0.9, 0.04, 0.02)], rel=1e-6)
    # nothing is left: the floor
    sure = mark_log_probs([position("A", A=1.0)], PETS)
    assert sure[1] == pytest.approx(math.log(1e-6), abs=1e-3)
    # the chosen token is not in the list
    assert mark_log_probs([position("B", the=0.3)], PETS)[1] == max(
        mark_log_probs([position("B", the=0.3)], PETS)
    )
    assert mark_log_probs([position("the", the=0.9)], PETS) is None
    broken = {"token": "A", "logprob": None, "top_logprobs": [{"token": "A", "logprob": None}]}
    assert mark_log_probs([broken], PETS) is None
    infinite = {"token": "A", "logprob": -9999.0, "top_logprobs": [{"token": "B", "logprob": float("-inf")}]}
    assert mark_log_probs([infinite], PETS) is None


@given(st.lists(st.integers(0, 3), max_size=20), st.floats(0.01, 10))
def test_counts_are_probabilities_in_their_order(classes, smoothing):
    found = [math.exp(v) for v in counted_log_probs(classes, 4, smoothing)]
    assert sum(found) == pytest.approx(1)
    assert min(found) > 0
    counts = [classes.count(c) for c in range(4)]
    assert all((p > q) == (n > m) for p, n in zip(found, counts) for q, m in zip(found, counts) if n != m)


def test_one_named_class():
    assert [math.exp(v) for v in named_log_probs(1, 2, 0.1)] == pytest.approx([0.05, 0.95])


@pytest.mark.parametrize(
    ("token", "number"),
    [
        ("A", 0),
        (" B", 1),
        ("B.", 1),
        ("(C", 2),
        ("▁B", 1),
        ("ĠB", 1),
        ("Ｂ", 1),
        ("b", 1),
        ("a", None),
        ("BA", None),
        (3, None),
    ],
)
def test_tokens_that_are_marks(token, number):
    assert mark_number(token, PETS) == number


def tokens(*texts):
    return [
        {"token": text, "logprob": -0.1, "top_logprobs": [{"token": text, "logprob": -0.1}]} for text in texts
    ]


def test_probabilities_are_those_of_the_answer_not_of_the_thinking_before_it():
    listed = tokens("<think>", "dog", " is", " B", "?", "</think>", "\n\n", "B")
    listed[-1]["top_logprobs"] = [
        {"token": "B", "logprob": math.log(0.75)},
        {"token": "A", "logprob": math.log(0.25)},
    ]
    choice = {"logprobs": {"content": listed}}
    told = positions_said(positions_of(choice), "B", "<think>dog is B?</think>\n\nB")
    assert [entry["token"] for entry in told] == ["B"]
    (kept,) = label_position(told, PETS, 1)
    assert mark_log_probs([kept], PETS)[1] == pytest.approx(math.log(0.75), abs=1e-5)


def test_tokens_in_another_spelling_than_the_text():
    listed = tokens("▁The", "▁answer", "▁B")
    assert positions_said(listed, "The answer B", "The answer B") == listed
    assert positions_said(tokens("x"), "é", "é") == tokens("x")
    assert positions_said(tokens("x"), "é", "<think>y</think>é") == []  # what was thought may be among them


def test_lists_of_tokens_as_older_servers_send_them():
    choice = {
        "logprobs": {
            "tokens": ["B", "."],
            "token_logprobs": [-0.1, 0],
            "top_logprobs": [{"B": -0.1, "A": -2.3}, None],
        }
    }
    (kept,) = label_position(positions_of(choice), PETS, 1)
    assert [math.exp(value) for value in mark_log_probs([kept], PETS)[:2]] == pytest.approx(
        [0.1, 0.9], abs=0.01
    )


@pytest.mark.parametrize(
    "listed", [None, 3, [], {"content": 3}, {"content": [3, None]}, {"tokens": 3, "top_logprobs": []}]
)
def test_lists_of_tokens_that_are_none(listed):
    assert positions_of({"logprobs": listed}) == []


@pytest.mark.parametrize("value", ["x", True, None, float("nan"), -(10**400), float("inf")])
def test_log_probabilities_that_are_no_numbers(value):
    broken = {
        "token": "A",
        "logprob": value,
        "top_logprobs": [{"token": "A", "logprob": value}, {"token": "B", "logprob": -1}],
    }
    found = mark_log_probs([broken], PETS)
    assert found is None or all(math.isfinite(value) for value in found)
