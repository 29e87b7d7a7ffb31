"""The text of a message: its parts joined, thinking and the tokens of a turn taken away."""

from __future__ import annotations

import pytest

from limbeck.teachers.api.questions import BadAnswer, Refused
from limbeck.teachers.api.said.messages import spoken, without_thinking


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("<think>\nA cat? The answer is A?\n</think>\n\nB", "B"),
        ("It purrs.\n</think>\n\nB", "B"),  # the template had opened the block
        ("<think>\nLet me see. Answer: A", ""),  # cut while it thought
        ("<think>\n\n</think>\n\nB", "B"),
        ("<thinking>a cat</thinking>B", "B"),
        ("<thought>a cat</thought>B", "B"),
        ("<THINK >a cat</ THINK>B", "B"),
        ('<think time="3">a cat</think>B', "B"),
        ("<reasoning>a cat</reasoning>B", "B"),
        ("<reasoning>a cat", ""),
        ("<analysis>a cat</analysis>\nB", "B"),
        ("<reflection>a cat</reflection>\nB", "B"),
        ("<seed:think>a cat</seed:think>B", "B"),
        ("[THINK]a cat[/THINK]B", "B"),
        ("◁think▷a cat◁/think▷B", "B"),
        ("<|begin_of_thought|>a cat<|end_of_thought|>\n<|begin_of_solution|>B<|end_of_solution|>", "B"),
        ("<|START_THINKING|>a cat<|END_THINKING|><|START_RESPONSE|>B<|END_RESPONSE|>", "B"),
        ("B <think>because it barks</think>", "B"),
        ("<think>a</think>The answer <think>b</think>is B", "The answer is B"),
        ("<think>the <think> tag</think>B", "B"),
        ("<think>a</think> said </think> B", "B"),
        ("<|channel|>analysis<|message|>a cat<|end|><|start|>assistant<|channel|>final<|message|>B", "B"),
        ("<|channel|>analysis<|message|>a cat", ""),
        ("<|channel|>final<|message|>B<|return|>", "B"),
        ("analysisThe user asks. A cat?assistantfinalB", "B"),
        ("analysis of a cat", "analysis of a cat"),
        ("B</s>", "B"),
        ("<s>B<|im_end|>\n<|im_start|>user\nWhat now?", "B"),
        ("B<｜end▁of▁sentence｜>", "B"),
        ("a < b and b > c", "a < b and b > c"),
    ],
)
def test_what_is_thought_is_not_said(said, left):
    assert without_thinking(said) == left


def test_an_answer_of_named_parts_stays_where_it_was_asked_for():
    said = "<reasoning>It barks.</reasoning>"
    assert without_thinking(said, keep_parts=True) == said
    assert without_thinking(said) == ""
    assert without_thinking("<reasoning>It barks", keep_parts=True) == ""
    assert without_thinking("<think>It barks</think>", keep_parts=True) == ""


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, ""),
        ("dog", "dog"),
        (2, "2"),
        (0.5, "0.5"),
        (["do", "g"], "dog"),
        ([{"type": "text", "text": "do"}, {"type": "text", "text": "g"}], "dog"),
        ([{"type": "output_text", "text": "dog"}], "dog"),
        ([{"type": "text", "text": {"value": "dog"}}], "dog"),
        ({"type": "text", "text": "dog"}, "dog"),
        ({"answer": "dog"}, '{"answer": "dog"}'),
        ([{"type": "thinking", "thinking": [{"type": "text", "text": "cat?"}]}, {"type": "text", "text": "dog"}],
        "dog"),
        ([{"type": "reasoning", "text": "cat?"}, {"text": "dog"}], "dog"),
        ([{"thought": True, "text": "cat?"}, {"text": "dog"}], "dog"),
        ([{"type": "thinking", "thinking": "cat?"}], ""),
        ([], ""),
        ("half \ud83d", "half \ufffd"),
        ("\ud83d\ude00", "😀"),
    ],
)  # fmt: skip
def test_content_in_its_many_forms(content, text):
    assert spoken({"content": content, "reasoning_content": "a cat"}) == text


@pytest.mark.parametrize("content", [True, [{"type": "image"}], [None, 3], {"type": "audio"}])
def test_content_without_text_is_no_answer(content):
    with pytest.raises(BadAnswer, match="no text"):
        spoken({"content": content})


def test_a_part_may_refuse():
    with pytest.raises(Refused, match="refused by the model"):
        spoken({"content": [{"type": "refusal", "refusal": "I will not"}]})
