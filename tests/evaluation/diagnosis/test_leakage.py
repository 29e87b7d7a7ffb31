from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from limbeck.data.base import Examples
from limbeck.data.splits import Splits
from limbeck.data.task import TeacherSide
from limbeck.errors import SplitError
from limbeck.evaluation.diagnosis.leakage import duplicates, leaks, named_in_texts
from limbeck.seeding import keyed_generator
from limbeck.signals.links import Bagged, Link, Paired, Unpaired


def part(name: str, n: int = 40, labelled: bool = True) -> Examples:
    x = torch.randn(n, 3, 10, generator=keyed_generator("leak", name))
    labels = torch.arange(n) % 2 if labelled else torch.full((n,), -100)
    return Examples.classified({"x": x}, tuple(f"{name}/{i}" for i in range(n)), labels, ("cat", "dog"))


def found(
    splits: Splits, link: Link | None = None, labels: torch.Tensor | None = None, **theirs: Examples
) -> str:
    side = TeacherSide(Splits(**{"link": part("image"), **theirs}), link or Unpaired())
    return " ".join(leaks(splits, side, labels))


def test_clean_splits_leak_nothing() -> None:
    splits = Splits(train=part("a"), validation=part("b"), test=part("c"))
    assert found(splits, Paired({"a/0": "image/0"})) == ""


def test_keys_in_two_splits() -> None:
    splits = Splits(train=part("a"), validation=replace(part("b"), keys=part("a").keys), test=part("c"))
    assert "40 keys are both in train and in validation ('a/0'" in found(splits)


@pytest.mark.parametrize("noise", [0.0, 1e-3])
def test_equal_and_nearly_equal_rows_of_the_test_split(noise: float) -> None:
    a, test = part("a"), part("t")
    copied = test.all_rows()["x"].clone()
    copied[:7] = a.all_rows()["x"][:7] + noise
    splits = Splits(train=a, test=replace(test, inputs={"x": copied}))
    assert "7 rows of test are the same or nearly the same as rows of train" in found(splits)
    with pytest.raises(SplitError):
        splits["test"]  # shut again


def test_texts_count_as_equal_only_when_they_are() -> None:
    a, b = (
        replace(part("a"), inputs={"input_ids": torch.arange(160).view(40, 4) + shift}) for shift in (0, 4)
    )
    assert duplicates(a, b) == 39
    assert duplicates(a, replace(b, inputs={"input_ids": b.all_rows()["input_ids"] + 1000})) == 0


def test_held_out_rows_in_the_link() -> None:
    splits = Splits(train=part("a"), validation=part("b"), test=part("c"))
    assert "1 rows of validation are linked" in found(splits, Paired({"a/0": "image/0", "b/3": "image/1"}))
    bags = Bagged({"a/0": 0, "c/1": 0, "c/2": 0}, {"image/0": 0})
    assert "2 rows of test are linked to teacher rows ('c/1', 'c/2')" in found(splits, bags)


def test_labels_and_training_rows_of_the_teacher_among_the_linked() -> None:
    splits, link = Splits(train=part("a")), Paired({"a/0": "image/0", "a/1": "image/1"})
    assert "2 teacher rows that pairs or bags name carry a label" in found(
        splits, link, torch.tensor([0, 1, -100])
    )
    assert "1 linked rows were in the teacher's training data ('image/1')" in found(
        splits, link, train=part("image").subset([1, 5])
    )


def test_a_part_of_the_key_that_tells_the_class() -> None:
    rows = part("a")
    keys = tuple(f"clip/{'cd'[c]}_{i}.wav" for i, c in enumerate(rows.labels.tolist()))
    assert "Part 2 of the key tells the class in 100% of the rows" in found(
        Splits(train=replace(rows, keys=keys))
    )
    assert found(Splits(train=replace(rows, keys=keys, targets=part("a", labelled=False).targets))) == ""


def test_texts_that_name_their_class() -> None:
    texts = ["a Dog barks", "the cat", "nothing", "dogma"]
    assert "in 50% of the labelled rows" in str(named_in_texts(texts, [1, 0, 1, 1], ("cat", "dog")))
    assert named_in_texts(texts, [-100, -100, 0, 1], ("cat", "dog")) is None
    assert named_in_texts([], [], ("cat",)) is None
