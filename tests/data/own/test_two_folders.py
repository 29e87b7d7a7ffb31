"""Tasks from a user's own data, link by link."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from limbeck.data import Examples, FolderData, make_task, two_folders
from limbeck.errors import ConfigError, DataError, LinkError, UnknownNameError
from limbeck.signals import UNLABELLED

NAMES = ("cat", "dog", "owl")


def data(n: int, *, prefix: str = "", groups: int = 0, unlabelled: int = 0, classes: int = 3) -> FolderData:
    """``n`` rows of a table whose first column tells the class; the last ``unlabelled`` rows have no label."""
    labels = torch.arange(n) % classes
    x = torch.randn(n, 4, generator=torch.Generator().manual_seed(0)) + 5
    x[:, 0] += labels
    keys = tuple(f"{prefix}{i}" for i in range(n))
    shown = torch.where(torch.arange(n) < n - unlabelled, labels, UNLABELLED)
    in_group = {key: f"s{i // (n // groups)}" for i, key in enumerate(keys)} if groups else {}
    return FolderData(Examples.classified({"x": x}, keys, shown, NAMES), "table", in_group, {"read": n})


def make(**settings):
    return two_folders(**{"student": data(90), "teacher": data(90)} | settings)


def rows(task) -> dict[str, set]:
    with task.splits.final_evaluation() as s:
        return {role: set(s[role].keys) for role in s.roles}


def test_splits_are_disjoint_and_stratified():
    task = make(labels_per_class=4)
    parts = rows(task)
    assert sum(len(keys) for keys in parts.values()) == len(set().union(*parts.values())) == 90
    assert task.splits.sizes == {"train": 60, "validation": 12, "test": 18}
    labels = task.splits["train"].labels
    assert torch.bincount(labels[labels >= 0]).tolist() == [4, 4, 4]
    assert torch.equal(labels[labels >= 0], task.truth[labels >= 0])
    assert torch.bincount(task.splits["validation"].labels).tolist() == [4, 4, 4]
    own = task.teacher.splits
    assert own.sizes["link"] == 27
    assert not set(own["link"].keys) & set(own["train"].keys)
    assert set(task.views) == set(task.teacher.views) == {"weak", "strong"}


def test_the_seed_decides():
    assert rows(make(seed=3)) == rows(make(seed=3))
    assert rows(make(seed=3)) != rows(make(seed=4))


def test_tables_are_standardised_by_their_training_rows():
    x = make().splits["train"].inputs["x"]
    assert torch.allclose(x.mean(0), torch.zeros(4), atol=1e-5)
    assert torch.allclose(x.std(0, unbiased=False), torch.ones(4), atol=1e-4)


def test_paired_by_key():
    task = make(link="paired")
    assert set(task.teacher.link.teacher_of) == set(task.splits["train"].keys)
    link = task.teacher.splits["link"]
    assert torch.all(link.labels == UNLABELLED)
    assert not set(link.keys) & set(task.teacher.splits["train"].keys)
    with pytest.raises(LinkError, match="No student key is a teacher key: the student has '0'"):
        make(link="paired", student=data(90), teacher=data(90, prefix="t"))
    with pytest.raises(LinkError, match="pass link='partly_paired'"):
        make(link="paired", teacher=data(45))
    assert 0 < len(make(link="partly_paired", teacher=data(45)).teacher.link.teacher_of) < 60


def test_a_fully_linked_teacher_has_no_rows_of_its_own():
    task = make(link="paired", teacher=data(90, unlabelled=90))
    assert task.teacher.splits.roles == ("link",)


def test_bags_stay_whole():
    student, teacher = data(120, groups=20), data(60, prefix="t", groups=20)
    task = make(link="bagged", student=student, teacher=teacher)
    of_role = {role: {student.groups[key] for key in keys} for role, keys in rows(task).items()}
    assert not of_role["train"] & of_role["test"]
    assert not of_role["train"] & of_role["validation"]
    pairing = task.teacher.link
    assert set(pairing.group_s.values()) == set(pairing.group_t.values())
    for key, bag in pairing.group_t.items():
        members = {student.groups[s] for s, b in pairing.group_s.items() if b == bag}
        assert members == {teacher.groups[key]}
    with pytest.raises(LinkError, match="needs a group column"):
        make(link="bagged")


def test_unlabelled_rows_train_and_are_never_scored():
    task = make(student=data(120, unlabelled=60), link="unpaired")
    assert task.splits.sizes == {"train": 60 + 39, "validation": 9, "test": 12}
    with task.splits.final_evaluation() as final:
        assert torch.all(final["test"].labels >= 0)
    by_class = make(teacher=data(120, unlabelled=60))
    assert torch.all(by_class.teacher.splits["link"].labels >= 0)


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        (
            {"labels_per_class": 50},
            DataError,
            "50 labelled rows of class 'cat' were asked for, but 20 remain",
        ),
        ({"labels_per_class": 0}, ConfigError, "at least 1"),
        ({"student": data(60, classes=2)}, DataError, "no row of class 'owl'.*allow_missing_classes"),
        ({"student": data(6)}, DataError, "No labelled row is left for validation"),
        ({"link": "pared"}, UnknownNameError, "did you mean 'paired'"),
        ({"test_share": 0.9}, ConfigError, "leave training rows"),
        ({"student": "/nowhere", "student_modality": "table"}, DataError, "neither a folder"),
        ({"student": ".", "student_options": {"rate": 3}}, ConfigError, "student_options.*'rate'"),
    ],
)
def test_wrong_use_is_one_sentence(settings, error, words):
    with pytest.raises(error, match=words) as caught:
        make(**settings)
    assert "\n" not in str(caught.value)


def test_missing_classes_if_allowed():
    task = make(student=data(60, classes=2), allow_missing_classes=True)
    assert sorted(set(task.splits["train"].labels.tolist())) == [0, 1]


def test_from_files_by_name(tmp_path):
    rng = np.random.default_rng(0)
    for side in ("a", "b"):
        lines = [f"{i},{NAMES[i % 3]},{rng.normal()},{i % 3}" for i in range(60)]
        (tmp_path / f"{side}.csv").write_text("\n".join(["key,label,u,v", *lines]))
    config = {
        "student": str(tmp_path / "a.csv"),
        "teacher": str(tmp_path / "b.csv"),
        "student_modality": "table",
        "teacher_modality": "table",
        "link": "paired",
    }
    task = make_task("folders", config, seed=1)
    assert task.class_names == NAMES
    assert task.info["seed"] == 1
    assert task.info["student"]["read"] == 60
