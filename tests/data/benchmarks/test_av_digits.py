"""The digits benchmark: splits, links, and that nothing gives the truth away."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from limbeck.data import av_digits
from limbeck.errors import ConfigError, DataError, LimbeckError, UnknownNameError
from limbeck.signals import UNLABELLED


@pytest.fixture
def make(fsdd, mnist):
    def task(**settings):
        defaults = {"labels_per_class": 2, "bag_size": 4}
        return av_digits(**{"images": f"mnist:{mnist}", "audio": f"fsdd:{fsdd}"} | defaults | settings)

    return task


def digit(key: str) -> int:
    """The class of a clip, or of a generated MNIST image, by its key."""
    name = key.split("/")[1]
    return int(name.split("_")[0]) if key.startswith("audio/") else int(name) % 10


def test_roles_and_shapes(make):
    task = make()
    assert task.splits.sizes == {"train": 160, "validation": 20, "test": 20}
    assert task.teacher.splits.sizes == {"train": 560, "validation": 40, "link": 140, "test": 40}
    assert task.splits["train"].inputs["x"].shape == (160, 1, 32, 32)
    assert task.teacher.splits["train"].inputs["x"].shape == (560, 1, 28, 28)
    assert task.class_names == task.teacher.splits["train"].class_names == tuple("0123456789")
    assert "audio/3_ann_17" in task.splits["train"].keys
    with task.splits.final_evaluation() as final:
        assert {key.rsplit("_", 1)[1] for key in final["test"].keys} == {"0"}


def test_labels_are_hidden_and_the_truth_is_apart(make):
    task = make(labels_per_class=3)
    train = task.splits["train"]
    labelled = train.labels != UNLABELLED
    assert torch.bincount(train.labels[labelled]).tolist() == [3] * 10
    assert torch.equal(train.labels[labelled], task.truth[labelled])
    assert task.truth.tolist() == [digit(key) for key in train.keys]
    assert (task.info["n_labelled"], task.info["n_unlabelled"]) == (30, 130)


def test_the_seed_alone_decides_and_links_share_the_labels(make):
    one, again, other = make(seed=1), make(seed=1), make(seed=2)
    assert torch.equal(one.splits["train"].labels, again.splits["train"].labels)
    assert vars(one.teacher.link) == vars(again.teacher.link)
    assert not torch.equal(one.splits["train"].labels, other.splits["train"].labels)
    for link in ("bagged", "by_class", "unpaired"):
        assert torch.equal(one.splits["train"].labels, make(seed=1, link=link).splits["train"].labels)


def test_pairs_are_of_one_class_and_of_unlabelled_clips_only(make):
    task = make()
    train = task.splits["train"]
    unlabelled = {key for key, label in zip(train.keys, train.labels.tolist()) if label == UNLABELLED}
    assert set(task.teacher.link.teacher_of) == unlabelled
    assert all(digit(clip) == digit(image) for clip, image in task.teacher.link.teacher_of.items())
    link = task.teacher.splits["link"]
    assert set(link.keys) == set(task.teacher.link.teacher_of.values())
    assert torch.all(link.labels == UNLABELLED), "the image's label would be the clip's"


def test_bags_have_equal_counts(make):
    task = make(link="bagged")
    sides = []
    for group_of in (task.teacher.link.group_s, task.teacher.link.group_t):
        counts = np.zeros((task.info["n_bags"], 10), dtype=int)
        for key, bag in group_of.items():
            counts[bag, digit(key)] += 1
        sides.append(counts)
    assert np.array_equal(*sides)
    assert np.all(sides[0].sum(1) == 4)
    assert torch.all(task.teacher.splits["link"].labels == UNLABELLED)
    independent = make(link="bagged", counts="independent")
    assert len(independent.teacher.link.group_s) == 4 * independent.info["n_bags"]


def test_labels_stay_where_they_are_public(make):
    for link in ("by_class", "unpaired"):
        task = make(link=link)
        assert torch.all(task.teacher.splits["link"].labels >= 0)
        assert task.teacher.link.name == link
        assert len(task.teacher.splits["link"]) == 200


def test_unseen_speakers_are_tested_apart(make):
    task = make(unseen_speakers=["bob"])
    assert task.splits.sizes == {"train": 80, "validation": 10, "test": 10, "test_unseen": 100}
    assert all("_ann_" in key for key in task.splits["train"].keys)
    with task.splits.final_evaluation() as final:
        assert all("_bob_" in key for key in final["test_unseen"].keys)
        assert all("_ann_" in key for key in final["test"].keys)


def test_fewer_unlabelled_clips_and_no_labels(make):
    assert make(n_unlabelled=50).splits.sizes["train"] == 70
    none = make(labels_per_class=0, link="bagged")
    assert torch.all(none.splits["train"].labels == UNLABELLED)


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"labels_per_class": 17}, DataError, "17 labelled clips of class '0'.*the pool has 16"),
        ({"n_unlabelled": 141}, DataError, "141 unlabelled clips were asked for, but 140 remain"),
        ({"n_unlabelled": 0}, DataError, "needs unlabelled clips"),
        ({"link": "baged"}, UnknownNameError, "did you mean 'bagged'"),
        ({"counts": "sam"}, UnknownNameError, "did you mean 'same'"),
        ({"unseen_speakers": ["bop"]}, UnknownNameError, "did you mean 'bob'"),
        ({"unseen_speakers": ["ann", "bob"]}, ConfigError, "leave at least one"),
        ({"labels_per_class": 0, "link": "by_class"}, ConfigError, "at least 1"),
        ({"bag_size": 0, "link": "bagged"}, ConfigError, "at least 1"),
        ({"images": "minst:/x"}, UnknownNameError, "valid ones: sklearn, mnist:DIR"),
        ({"audio": "fsdd"}, UnknownNameError, "valid ones: speech, fsdd:DIR"),
        ({"audio": "fsdd:/nowhere"}, DataError, "is not a folder"),
        ({"images": "mnist:/nowhere"}, DataError, "is not a folder"),
    ],
)
def test_wrong_settings_are_one_sentence(make, settings, error, words):
    with pytest.raises(error, match=words) as caught:
        make(**settings)
    assert "\n" not in str(caught.value)


def test_broken_folders_are_named(make, fsdd, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no files named DIGIT_SPEAKER_INDEX"):
        make(audio=f"fsdd:{tmp_path / 'empty'}")
    broken = tmp_path / "broken"
    shutil.copytree(fsdd / "recordings", broken)
    (broken / "3_ann_16.wav").write_bytes(b"")
    with pytest.raises(DataError, match=r"3_ann_16\.wav is an empty file"):
        make(audio=f"fsdd:{broken}")
    for path in broken.glob("3_*_*.wav"):
        path.unlink()
    with pytest.raises(DataError, match="class '3'"):
        make(audio=f"fsdd:{broken}")
    shutil.copy(fsdd / "recordings" / "1_ann_15.wav", broken / "12_ann_15.wav")
    with pytest.raises(LimbeckError, match="digits outside 0 to 9"):
        make(audio=f"fsdd:{broken}")


@pytest.mark.real_data
@pytest.mark.full
def test_real_digits(real_data):
    """Counts of the published benchmark, and that a nearest neighbour hears the digits."""
    sources = {"images": f"mnist:{real_data / 'mnist'}", "audio": f"fsdd:{real_data / 'fsdd'}"}
    task = av_digits(**sources, labels_per_class=2, link="bagged")
    assert task.splits.sizes == {"train": 1400, "validation": 200, "test": 400}
    sizes = {"train": 14_000, "validation": 1_000, "link": 1_280, "test": 5_000}
    assert task.teacher.splits.sizes == sizes
    assert task.info["n_bags"] == 80
    train = task.splits["train"].inputs["x"].flatten(1)
    with task.splits.final_evaluation() as final:
        test, labels = final["test"].inputs["x"].flatten(1), final["test"].labels
    nearest = task.truth[torch.cdist(test, train).argmin(1)]
    assert (nearest == labels).float().mean().item() > 0.85
    unseen = av_digits(**sources, link="bagged", unseen_speakers=["lucas"])
    assert unseen.splits.sizes == {"train": 1050, "validation": 150, "test": 300, "test_unseen": 500}
    assert unseen.info["n_bags"] == 62
