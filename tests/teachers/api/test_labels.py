"""Class probabilities from what a chat model says."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limbeck.errors import ConfigError
from limbeck.teachers.api.labels import (
    counted_log_probs,
    labels_of,
    mark_log_probs,
    named_class,
    named_log_probs,
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
