"""The data set glyphs: what is counted on drawings, shapes that come once, splits that do not meet."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from limbeck.data import make_task
from limbeck.data.benchmarks.glyph_shapes import (
    count_holes,
    count_parts,
    first_of_each_shape,
    glyphs_of_font,
    mirror_symmetries,
)
from limbeck.data.benchmarks.glyphs import glyphs, thinned
from limbeck.data.benchmarks.image_text import Mirrored, halves
from limbeck.errors import ConfigError, UnknownNameError
from limbeck.signals import UNLABELLED

pytest.importorskip("matplotlib")


def drawing(text: str, scale: int = 3) -> np.ndarray:
    """Lines of '#' and '.' as ``[h, w]`` bool, every character ``scale`` pixels high and wide."""
    small = np.array([[c == "#" for c in line] for line in text.split()])
    return small.repeat(scale, 0).repeat(scale, 1)


RING = "..... .###. .#.#. .###. ....."
EIGHT = "##### #.#.# #####"
DIAGONAL = "#.. .#. ..#"
TWO = "##.## ##.##"


@pytest.mark.parametrize(
    ("text", "holes", "parts"),
    [
        (RING, 1, 1),
        (EIGHT, 2, 1),
        (DIAGONAL, 0, 1),
        (TWO, 0, 2),
        (".#. #.# .#.", 1, 1),
        ("### #.. ###", 0, 1),
    ],
)
def test_counts_on_drawings(text, holes, parts):
    assert (count_holes(drawing(text)), count_parts(drawing(text))) == (holes, parts)


def test_specks_do_not_count():
    ring = np.pad(drawing(RING), 2)
    ring[0, 0] = True
    assert (count_holes(ring), count_parts(ring)) == (1, 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (RING, (True, True)),
        (".#. ### .#.", (True, True)),
        ("### .#. .#.", (True, False)),
        ("#.. ### #..", (False, True)),
        ("#.. #.. ###", (False, False)),
        ("##. .#. .##", (False, False)),
    ],
)
def test_mirrors_of_drawings(text, expected):
    left_right, up_down = mirror_symmetries(drawing(text, 6)[None])
    assert (bool(left_right[0]), bool(up_down[0])) == expected


def test_a_shape_comes_once():
    ring, eight = (np.resize(drawing(text, 9), (45, 45)) for text in (RING, EIGHT))
    nearly = ring.copy()
    nearly[20:22, 10:12] = False
    assert first_of_each_shape(np.stack([ring, eight, nearly, ring])).tolist() == [0, 1]


def test_known_characters():
    """What anybody sees on a letter."""
    drawn = glyphs_of_font()
    row = {character: number for number, character in enumerate(drawn.characters)}
    holes = {c: count_holes(drawn.ink[row[c]]) for c in "OBCe8+"}
    assert holes == {"O": 1, "B": 2, "C": 0, "e": 1, "8": 2, "+": 0}
    parts = {c: count_parts(drawn.ink[row[c]]) for c in "Oi=÷…%"}
    assert parts == {"O": 1, "i": 2, "=": 2, "÷": 3, "…": 3, "%": 3}
    left_right, up_down = mirror_symmetries(drawn.ink)
    seen = {c: (bool(left_right[row[c]]), bool(up_down[row[c]])) for c in "AFS+<"}
    assert seen == {
        "A": (True, False),
        "F": (False, False),
        "S": (False, False),
        "+": (True, True),
        "<": (False, True),
    }
    assert "Α" not in row, "the Greek alpha is drawn as the Latin A"
    assert 2500 < len(drawn.characters) < 3300


@pytest.mark.parametrize("name", ["holes", "parts", "symmetry", "ink"])
def test_every_task(name):
    task = make_task("glyphs", {"task": name}, seed=0)
    sizes = task.teacher.splits.sizes
    n_train = sizes["train"] + sizes["link"]
    n = n_train + sizes["validation"] + sizes["test"]
    assert 800 < n < 3300
    assert n_train / n == pytest.approx(0.7, abs=0.05)
    assert sizes["test"] / n == pytest.approx(0.2, abs=0.03)
    parts = [
        {key.split("/")[1] for key in task.teacher.splits[role].keys}
        for role in ("train", "link", "validation")
    ]
    assert len(set.union(*parts)) == sum(map(len, parts))
    counts = torch.bincount(task.truth)
    assert counts.max() / counts.sum() < 0.5
    assert counts.min() >= 50
    assert task.info["n_labelled"] == 10 * len(task.class_names)
    assert torch.all(task.teacher.splits["link"].labels == UNLABELLED)
    assert task.teacher.splits["link"].inputs["x"].shape[1:] == (1, 32, 32)
    assert all(text and text == text.lower() for text in task.splits["train"].inputs["text"])


def test_pictures_go_with_names():
    task = glyphs("holes", labels_per_class=None)
    row = {text: number for number, text in enumerate(task.splits["train"].inputs["text"])}
    drawn = glyphs_of_font()
    for text in ("latin capital letter b", "latin small letter o", "asterisk", "digit eight", "ampersand"):
        if text not in row:
            continue
        key = task.splits["train"].keys[row[text]]
        x = task.teacher.splits["link"].inputs["x"][row[text], 0]
        assert task.teacher.link.teacher_of[key] == task.teacher.splits["link"].keys[row[text]]
        grey = drawn.grey[drawn.characters.index(chr(int(key.split("/")[1], 16)))]
        small = grey.reshape(32, 3, 32, 3).mean((1, 3))
        assert np.corrcoef(x.flatten(), small.flatten())[0, 1] > 0.9999


def test_a_character_keeps_its_role_in_every_task():
    roles: dict[str, str] = {}
    for name in ("holes", "ink"):
        task = glyphs(name)
        for role in ("validation", "train"):
            for key in task.splits[role].keys:
                assert roles.setdefault(key, role) == role


@pytest.mark.full
def test_drawn_again_it_is_the_same():
    first, again = glyphs_of_font(), glyphs_of_font.__wrapped__()
    assert first.characters == again.characters
    assert np.array_equal(first.grey, again.grey)


def test_the_commonest_class_is_thinned_alike_each_time():
    classes = ["a"] * 50 + ["b"] * 10 + ["c"] * 3
    keys = [f"k{number}" for number in range(63)]
    rows = thinned(classes, keys)
    assert [np.sum(np.array(classes)[rows] == c) for c in "abc"] == [10, 10, 3]
    assert rows.tolist() == thinned(classes, keys).tolist() != list(range(10)) + list(range(50, 63))


def test_halves_have_like_class_counts():
    labels = np.array([0] * 7 + [1] * 4 + [2])
    keys = [f"k{number}" for number in range(12)]
    first, second = halves(np.arange(12), labels, keys)
    assert sorted([*first, *second]) == list(range(12))
    a, b = (np.bincount(labels[rows], minlength=3) for rows in (first, second))
    assert np.abs(a - b).max() <= 1


def test_mirrored_rows_depend_on_their_own_generators():
    x = torch.arange(64.0).view(4, 1, 4, 4)

    def rows(numbers):
        view = Mirrored(lambda inputs, generators: inputs)
        return view({"x": x[numbers]}, [torch.Generator().manual_seed(n) for n in numbers])["x"]

    together = rows([0, 1, 2, 3])
    assert torch.equal(together[2:], rows([2, 3]))
    seen = set()
    for seed in range(20):
        view = Mirrored(lambda inputs, generators: inputs)
        one = view({"x": x[:1]}, [torch.Generator().manual_seed(seed)])["x"]
        kinds = [x[:1].flip(axes) if axes else x[:1] for axes in ((), (2,), (3,), (2, 3))]
        seen |= {number for number, kind in enumerate(kinds) if torch.equal(one, kind)}
    assert seen == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"task": "hole"}, UnknownNameError, "did you mean 'holes'"),
        ({"pairs": "every"}, UnknownNameError, "pairs='every'"),
        ({"labels_per_class": 0}, ConfigError, "at least 1"),
        ({"image_size": 128}, ConfigError, "image_size=128 must be 8 to 96"),
    ],
)
def test_wrong_settings_are_one_sentence(settings, error, words):
    with pytest.raises(error, match=words) as caught:
        glyphs(**settings)
    assert "\n" not in str(caught.value)


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match=r"pip install 'limbeck\[text\]'"):
        glyphs_of_font.__wrapped__()
