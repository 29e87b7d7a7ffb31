"""The data set glyph_questions: a language model is asked what a character looks like, of which it has the name; a
teacher sees the drawing."""

from __future__ import annotations

from dataclasses import replace

import torch

from limbeck.data.base import Examples, texts
from limbeck.data.benchmarks.glyphs import GlyphTask, glyphs
from limbeck.data.benchmarks.image_text import Pairs
from limbeck.data.task import Task
from limbeck.problems.registry import problem as make_problem

MAX_NEW_TOKENS = 16
QUESTIONS: dict[str, str] = {
    "holes": "How many holes does the character {} have?",
    "parts": "Of how many separate parts is the character {} made?",
    "symmetry": "Which mirror symmetry does the character {} have?",
    "ink": "How much ink does the character {} take, beside other characters?",
}
ANSWERS: dict[str, dict[str, str]] = {
    "holes": {"0": "It has no hole.", "1": "It has one hole.", "2 or more": "It has two holes or more."},
    "parts": {"1": "It has one part.", "2": "It has two parts.", "3 or more": "It has three parts or more."},
    "symmetry": {
        "none": "It has no symmetry.",
        "left-right": "Its left mirrors its right.",
        "up-down": "Its top mirrors its bottom.",
        "both": "It mirrors both ways.",
    },
    "ink": {f"quarter {i}": f"It takes {word}." for i, word in
            enumerate(("very little", "rather little", "rather much", "very much"), 1)},
}  # fmt: skip


def glyph_questions(
    fact: GlyphTask = "holes",
    *,
    labels_per_class: int | None = None,
    pairs: Pairs = "all",
    image_size: int = 32,
    chat: bool = False,
    seed: int = 0,
) -> Task:
    """The task of answering, in words, what :func:`~limbeck.data.benchmarks.glyphs.glyphs` asks for as a class.

    Args:
        fact: ``holes``, ``parts``, ``symmetry`` or ``ink``.
        labels_per_class, pairs, image_size, seed: as of ``glyphs``; a label is an answer here.
        chat: questions go through the student's chat template.

    Returns: columns ``prompt``, ``completion``, ``ended`` and ``options`` (all answers to the question) in ``splits``,
        scored by the likelihoods of the options too; the teacher's pictures and the link are those of ``glyphs``.
    """
    seen = glyphs(fact, labels_per_class=labels_per_class, pairs=pairs, image_size=image_size, seed=seed)
    settings = {"also": ["option_accuracy"], "max_new_tokens": MAX_NEW_TOKENS, "chat": chat}
    posed = make_problem({"kind": "generation", **settings}, ("completion",))
    answers = tuple(ANSWERS[fact][name] for name in seen.class_names)

    def asked(rows: Examples) -> Examples:
        classes = rows.labels.tolist()
        said = [answers[c] if c >= 0 else None for c in classes]
        inputs = {
            "prompt": texts([QUESTIONS[fact].format(name) for name in rows.all_rows()["text"]]),
            "completion": texts([answer or "" for answer in said]),
            "options": texts([answers] * len(rows)),
            "ended": torch.ones(len(rows), dtype=torch.bool),
        }
        return Examples(inputs, rows.keys, posed.targets_of(said, posed.names), posed)

    return replace(
        seen,
        name=f"glyph_questions {fact}",
        splits=seen.splits.map(asked),
        truth=None,
        preprocessor={"kind": "text", "columns": ["prompt"]},
    )
