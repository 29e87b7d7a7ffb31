"""The data set glyph_questions: the answers are what glyphs counts, and the pictures are the teacher's."""

from __future__ import annotations

import pytest

from limbeck.data import make_task
from limbeck.data.benchmarks.glyph_questions import ANSWERS, QUESTIONS
from limbeck.data.benchmarks.glyphs import glyphs

pytest.importorskip("matplotlib")


@pytest.mark.full
def test_answers_are_what_is_seen() -> None:
    seen, asked = glyphs("holes", labels_per_class=4), make_task("glyph_questions", {"labels_per_class": 4})
    old, new = seen.splits["train"], asked.splits["train"]
    assert old.keys == new.keys
    assert old.targets.known.equal(new.targets.known)
    rows = new.all_rows()
    for label, name, prompt, answer in zip(
        old.labels, old.all_rows()["text"], rows["prompt"], rows["completion"]
    ):
        assert prompt == QUESTIONS["holes"].format(name)
        assert answer == ("" if label < 0 else ANSWERS["holes"][seen.class_names[label]])
    assert set(rows["options"]) == {tuple(ANSWERS["holes"][name] for name in seen.class_names)}
    side = asked.teacher
    assert side.splits["link"].all_rows()["x"].shape[1:] == (1, 32, 32)
    assert side.splits["link"].keys == seen.teacher.splits["link"].keys
    assert asked.problem.kind == "generation"


@pytest.mark.parametrize("fact", QUESTIONS)
def test_every_class_has_an_answer_of_its_own(fact: str) -> None:
    names = glyphs(fact).class_names
    assert len({ANSWERS[fact][name] for name in names}) == len(names)
