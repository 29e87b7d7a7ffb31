"""Physical knowledge split by object, and why a split by pair would measure nothing."""

import json

import numpy as np
import pytest
from small_vec import SIZES, vec_folder

from limbeck.data.benchmarks.vec import split_of_objects, vec
from limbeck.data.benchmarks.vec_tasks import VEC_TASKS, named, pairs
from limbeck.data.registry import make_task
from limbeck.errors import ConfigError, DataError, UnknownNameError


@pytest.fixture
def folder(tmp_path):
    return vec_folder(tmp_path / "vec")


def objects_of(examples):
    return {name for key in examples.keys for name in str(key).split("/")[1:]}


def test_no_object_is_in_two_splits(folder):
    task = make_task("vec", {"folder": str(folder), "task": "size"}, seed=1)
    with task.splits.final_evaluation() as final:
        train, validation, test = (objects_of(final[role]) for role in ("train", "validation", "test"))
    assert not train & validation
    assert not train & test
    assert not validation & test
    # every pair of two objects of a split is there in both orders, all others are dropped
    sizes = {"train": len(train), "validation": len(validation), "test": len(test)}
    assert task.splits.sizes == {role: n * (n - 1) for role, n in sizes.items()}
    assert task.info["dropped"] == 380 - sum(task.splits.sizes.values())
    assert task.info["objects"] == sizes
    json.dumps(task.info)


def test_texts_and_labels(folder):
    task = vec(str(folder), task="size")
    train = task.splits["train"]
    assert train.class_names == ("smaller", "larger")
    rank = {name: n for n, name in enumerate(SIZES)}
    for key, text, label in zip(train.keys, train.inputs["text"], train.labels.tolist()):
        _, first, second = key.split("/")
        assert text == f"Is {named(first)} larger than {named(second)}?"
        assert label == (rank[first] > rank[second])
    assert task.teacher.link.teacher_keys == train.keys


def test_the_seed_draws_the_objects(folder):
    a, again, b = (vec(str(folder), task="size", seed=seed).splits["train"].keys for seed in (0, 0, 1))
    assert a == again != b


def identity_lookup(train, test, names):
    """Accuracy of a linear model that sees only *which* objects are compared: a rank learnt for each name."""
    from sklearn.linear_model import LogisticRegression

    number = {name: n for n, name in enumerate(names)}

    def codes(rows):
        x = np.zeros((len(rows), len(names)))
        for n, pair in enumerate(rows):
            x[n, number[pair.first]] += 1
            x[n, number[pair.second]] -= 1
        return x, [pair.label for pair in rows]

    x, y = codes(test)
    return LogisticRegression(C=100.0, fit_intercept=False).fit(*codes(train)).score(x, y)


@pytest.mark.real_data
@pytest.mark.parametrize("task", [name for name in VEC_TASKS if name != "color"])
def test_a_split_by_pair_is_solved_by_identity_alone_and_the_split_by_object_is_not(task, real_data):
    found = pairs(real_data / "vec", task)
    names = sorted({name for pair in found for name in (pair.first, pair.second)})
    rng = np.random.default_rng(0)

    unordered = sorted({tuple(sorted((p.first, p.second))) for p in found})
    held_out = {unordered[n] for n in rng.permutation(len(unordered))[: len(unordered) * 3 // 10]}
    is_test = [tuple(sorted((p.first, p.second))) in held_out for p in found]
    by_pair = identity_lookup(
        [p for p, t in zip(found, is_test) if not t], [p for p, t in zip(found, is_test) if t], names
    )
    role_of = split_of_objects(names, {"validation": 0.2, "test": 0.4}, rng)
    inside = {
        role: [p for p in found if role_of[p.first] == role_of[p.second] == role]
        for role in ("train", "test")
    }
    by_object = identity_lookup(inside["train"], inside["test"], names)
    assert by_pair > 0.93
    assert by_object == 0.5  # it knows no test object, and both orders of each pair are there


@pytest.mark.real_data
def test_colors(real_data):
    task = vec(str(real_data / "vec"), task="color", labels_per_class=2)
    assert task.info["left_out"] == {"purple": 2, "pink": 1}
    assert len(task.class_names) == 10
    assert task.info["n_labelled"] == 20
    assert sum(task.splits.sizes.values()) == 571
    assert task.splits["train"].inputs["text"][0].startswith("the color of a")
    with task.splits.final_evaluation() as final:
        assert not objects_of(final["test"]) & objects_of(final["train"])
        assert set(final["test"].labels.tolist()) == set(range(10))


@pytest.mark.real_data
@pytest.mark.parametrize("name", VEC_TASKS)
def test_every_real_task_can_be_made(name, real_data):
    for seed in range(5):
        task = vec(str(real_data / "vec"), task=name, seed=seed)
        assert min(task.splits.sizes.values()) >= 10


def test_articles():
    assert named("ant") == "an ant"
    assert named("dry ice", is_counted=False) == "dry ice"
    assert named("headphones") == "headphones"
    assert named("glass") == "a glass"
    assert named("bus") == "a bus"
    assert named("ivan's phone") == "ivan's phone"
    assert named("ollie the monkey") == "ollie the monkey"


def test_mistakes(folder, tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean 'size'"):
        vec(str(folder), task="sise")
    with pytest.raises(ConfigError, match="lie between 0 and 1"):
        vec(str(folder), task="size", test_share=1.0)
    with pytest.raises(DataError, match=r"mass\.json does not exist"):
        vec(str(folder), task="mass")
    with pytest.raises(DataError, match="4 objects are too few for 3 splits"):
        vec(str(vec_folder(tmp_path / "few", SIZES[:4])), task="size")
    with pytest.raises(DataError, match="leaves 10 pairs in every part"):
        vec(str(vec_folder(tmp_path / "sparse", SIZES[:9])), task="size")
    with (folder / "size.json").open("a") as file:
        file.write('{"obj1": "ant", "obj2": "sun", "label": 2}\n{"obj1": "ant", "label": 1}\nno\n')
    with pytest.raises(
        DataError, match=r"3 of 383 rows .*line 383 of size\.json is no JSON .*line 381.*the label 2"
    ):
        vec(str(folder), task="size")
