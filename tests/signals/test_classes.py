"""Classes are joined by name or not at all."""

import pytest

from limbeck.errors import ClassNamesError
from limbeck.signals import join_class_names


def test_joined_by_name():
    assert join_class_names(["a", "b", "c"], ["c", "a", "b"]) == [1, 2, 0]
    assert join_class_names(["x"], ["a", "b"], {"x": "b"}) == [1]
    assert join_class_names(["b"], ["a", "b"], subset=True) == [1]


@pytest.mark.parametrize(
    ("ours", "theirs", "class_map", "message"),
    [
        (["a", "b"], ["a", "c"], None, "only the student has 'b'; only the teacher has 'c'"),
        (["a"], ["a", "c"], None, "only the teacher has 'c'"),
        (["a", "b"], ["a", "c"], {"b": "d"}, "only the student has 'd'"),
        (["a", "a"], ["a", "b"], None, "come twice: 'a'"),
    ],
)
def test_refused(ours, theirs, class_map, message):
    with pytest.raises(ClassNamesError, match=message):
        join_class_names(ours, theirs, class_map)


@pytest.mark.parametrize("place", ["problem", "arrays", "rows", "teacher"])
def test_names_that_come_twice_are_refused_wherever_classes_get_names(place, tmp_path):
    import numpy as np
    import torch

    from limbeck.banks.bank import Bank
    from limbeck.problems.registry import problem
    from limbeck.teachers.callable import CallableTeacher

    data = [{"key": i, "x": torch.ones(2)} for i in range(4)]
    say = ("a", "b", "a") if place == "teacher" else None
    teacher = CallableTeacher(lambda inputs: {"logits": inputs["x"]}, class_names=say)
    names = ["a", "b", "a"]
    name = {
        "problem": lambda: problem("classification", names),
        "arrays": lambda: Bank.from_arrays(
            tmp_path / "b", keys=range(4), features=np.ones((4, 2)), class_names=names
        ),
        "rows": lambda: Bank.build(tmp_path / "b", teacher, data, class_names=names),
        "teacher": lambda: Bank.build(tmp_path / "b", teacher, data),
    }[place]
    with pytest.raises(ClassNamesError, match="come twice: 'a'"):
        name()
