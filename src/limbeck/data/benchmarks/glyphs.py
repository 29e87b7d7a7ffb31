"""The data set glyphs: names of characters for the student, their drawings for the teacher; nothing to download.

What a character looks like is partly in its name ("latin capital letter o with diaeresis" has a hole and three
parts), mostly not: the tasks ask for what can be seen, so that a teacher with eyes knows more than a reader.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np
import torch

from limbeck.data.benchmarks.glyph_shapes import (
    SIDE,
    Glyphs,
    count_holes,
    count_parts,
    glyphs_of_font,
    mirror_symmetries,
)
from limbeck.data.benchmarks.image_text import ImageTexts, Pairs, image_text_task
from limbeck.data.task import Task
from limbeck.errors import ConfigError, UnknownNameError, nearest
from limbeck.seeding import keyed_seed

GlyphTask = Literal["holes", "parts", "symmetry", "ink"]
_N_INK_CLASSES = 4


def glyphs(
    task: GlyphTask = "holes",
    *,
    labels_per_class: int | None = 10,
    pairs: Pairs = "all",
    image_size: int = 32,
    seed: int = 0,
) -> Task:
    """The task of teaching a reader of Unicode names what the characters look like.

    Args:
        task: what is asked of a character, computed from its drawing at 96 pixels. ``holes``: 0, 1, 2 or more.
            ``parts``: 1, 2, 3 or more. ``symmetry``: none, left-right, up-down, both. ``ink``: the black share of the
            drawing, in quarters of the characters.
        labels_per_class, pairs, seed: see :func:`~limbeck.data.benchmarks.image_text.image_text_task`.
        image_size: height and width of the drawings that the teacher sees, 8 to 96.

    Returns: names in lower case in ``splits``, drawings ``[N, 1, image_size, image_size]`` in ``teacher_splits``. The
        most frequent class is thinned to the size of the second (by a hash, once and for all), so that a guess earns
        little. Training, validation and test hold 70, 10 and 20% of the characters, by a hash of the character:
        the same whatever the task and the seed.

    Raises: UnknownNameError and ConfigError for wrong settings, and without matplotlib.

    Source: DejaVu Sans as matplotlib bundles it; names of the Unicode character database in Python.
    """
    if task not in get_args(GlyphTask):
        raise UnknownNameError(f"glyphs has no task {task!r}; {nearest(task, get_args(GlyphTask))}")
    if not 8 <= image_size <= SIDE:
        raise ConfigError(f"image_size={image_size} must be 8 to {SIDE} pixels.")
    drawn = glyphs_of_font()
    classes = _classes(task)
    rows = thinned(classes, drawn.characters)
    pictures = torch.from_numpy(drawn.grey[rows]).float().div_(255).unsqueeze(1)
    characters = [drawn.characters[row] for row in rows]
    things = ImageTexts(
        keys=[f"{ord(character):04X}" for character in characters],
        texts=[unicodedata.name(character).lower() for character in characters],
        classes=[classes[row] for row in rows],
        pictures=torch.nn.functional.adaptive_avg_pool2d(pictures, image_size),
        roles=[_role(character) for character in characters],
    )
    facts = {"origin": "DejaVu Sans of matplotlib, Unicode names", "task": task}
    return image_text_task(
        f"glyphs {task}", things, labels_per_class=labels_per_class, pairs=pairs, seed=seed, info=facts
    )


def thinned(classes: Sequence[str], keys: Sequence[str]) -> np.ndarray:
    """Sorted rows, the most frequent class cut to the size of the second by a hash of the keys."""
    _, of_row, counts = np.unique(classes, return_inverse=True, return_counts=True)
    first, second = np.argsort(-counts, kind="stable")[:2]
    crowd = sorted(np.flatnonzero(of_row == first).tolist(), key=lambda row: keyed_seed("thinned", keys[row]))
    return np.sort(np.concatenate([np.flatnonzero(of_row != first), crowd[: counts[second]]])).astype(
        np.int64
    )


def _role(character: str) -> str:
    tenth = keyed_seed("glyphs", character) % 10
    return "train" if tenth < 7 else "validation" if tenth == 7 else "test"


@functools.lru_cache(maxsize=4)
def _classes(task: GlyphTask) -> tuple[str, ...]:
    """The class of every glyph of the font."""
    makers: dict[str, Callable[[Glyphs], Sequence[str]]] = {
        "holes": lambda drawn: [("0", "1", "2 or more")[min(count_holes(ink), 2)] for ink in drawn.ink],
        "parts": lambda drawn: [("1", "2", "3 or more")[min(count_parts(ink), 3) - 1] for ink in drawn.ink],
        "symmetry": _symmetry,
        "ink": _ink,
    }
    return tuple(makers[task](glyphs_of_font()))


def _symmetry(drawn: Glyphs) -> list[str]:
    left_right, up_down = mirror_symmetries(drawn.ink)
    names = ("none", "left-right", "up-down", "both")
    return [names[int(first) + 2 * int(second)] for first, second in zip(left_right, up_down)]


def _ink(drawn: Glyphs) -> list[str]:
    share = drawn.ink.mean((1, 2))
    edges = np.quantile(share, np.arange(1, _N_INK_CLASSES) / _N_INK_CLASSES)
    return [f"quarter {int(quarter) + 1}" for quarter in np.digitize(share, edges)]
