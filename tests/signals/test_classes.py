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
