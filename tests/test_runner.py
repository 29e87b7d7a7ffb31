"""From a recipe to a result: the same numbers twice, controls that lose, refusals before the first step."""

import json
from dataclasses import replace

import pytest
import torch
from digits import tiny_task
from torch import nn

from limbeck.banks import Bank
from limbeck.errors import (
    ClassNamesError,
    ConfigError,
    LinkError,
    MissingKeysError,
    MissingSignalError,
    SplitError,
)
from limbeck.plan import make_trainer
from limbeck.recipes import MethodSpec, Recipe, StudentSpec, TeacherSpec
from limbeck.runner import run
from limbeck.teacher_stage import teacher_bank

TRAINING = {"max_steps": 60, "n_labelled": 6, "n_unlabelled": 18, "n_bags": 3, "learning_rate": 1e-2}
STUDENT = StudentSpec("table_encoder", {"n_columns": 6})
TEACHER = TeacherSpec(
    model="table_encoder", config={"n_columns": 4}, training={"max_steps": 60, "n_labelled": 30}
)


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    task = tiny_task()
    made = teacher_bank(TEACHER, task, tmp_path_factory.mktemp("teacher"))
    assert task.info["teacher_accuracy"]["test"] > 0.9
    return made


def recipe(folder, method="kd", config=None, **changes):
    values = {"training": TRAINING, "student": STUDENT, "output_dir": str(folder), **changes}
    return Recipe(method=MethodSpec(method, config or {}), **values)


def test_the_same_recipe_gives_the_same_numbers(tmp_path, bank):
    first = run(recipe(tmp_path / "a"), task=tiny_task(), bank=bank)
    again = run(Recipe.load(tmp_path / "a" / "recipe.yaml"), task=tiny_task(), bank=bank)
    assert first.scores == again.scores
    for one, other in zip(first.student.state_dict().values(), again.student.state_dict().values()):
        assert torch.equal(one, other)


@pytest.mark.full
def test_the_seed_changes_the_numbers(tmp_path, bank):
    runs = [run(recipe(tmp_path / str(s), seed=s), task=tiny_task(), bank=bank) for s in (0, 1)]
    weights = [r.student.state_dict()["model.0.weight"] for r in runs]
    assert not torch.equal(*weights)


def test_a_run_without_a_given_task_trains_its_teacher_and_asks_it(tmp_path, monkeypatch):
    monkeypatch.setattr("limbeck.fit.make_task", lambda name, config, seed: tiny_task("bagged"))
    result = run(recipe(tmp_path, "bagkd", teacher=TEACHER))
    assert len(Bank.open(tmp_path / "bank")) == 60
    assert result.scores["test"] > 0.5
    logs = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert any(
        {"loss", "step", "term/assignment", "gradient_share/proportion"} <= set(entry) for entry in logs
    )


@pytest.mark.parametrize(
    ("method", "link"),
    [
        ("kd", "paired"),
        ("fitnets", "paired"),
        ("bagkd", "bagged"),
        ("feature_ot", "unpaired"),
        ("ucmkd", "by_class"),
    ],
)
def test_every_link_trains(tmp_path, bank, method, link):
    result = run(recipe(tmp_path, method), task=tiny_task(link), bank=bank)
    assert result.steps == 60
    assert 0.3 < result.scores["test"] <= 1
    assert [step for step, _ in result.curve] == list(range(6, 61, 6))


@pytest.mark.full
def test_pairs_help_and_shuffled_pairs_do_not(tmp_path, bank):
    def score(method, control):
        scores = [
            run(
                recipe(tmp_path / f"{method}-{control}-{seed}", method, control=control, seed=seed),
                task=tiny_task(labelled=3, seed=seed),
                bank=bank,
            ).scores["test"]
            for seed in range(3)
        ]
        return sum(scores) / 3

    alone, taught, shuffled = score("supervised", "none"), score("kd", "none"), score("kd", "shuffled")
    assert taught > alone + 0.05
    assert shuffled < taught - 0.1


def test_test_data_stays_shut_until_the_end(tmp_path, bank):
    task = tiny_task()
    run(recipe(tmp_path), task=task, bank=bank)
    with pytest.raises(SplitError):
        task.splits["test"]


def test_refusals_come_before_the_first_step(tmp_path, bank):
    with pytest.raises(LinkError, match="'bagkd' works with data linked as bagged"):
        run(recipe(tmp_path, "bagkd"), task=tiny_task("paired"), bank=bank)
    with pytest.raises(ConfigError, match="no 'shuffled' control"):
        run(recipe(tmp_path, "supervised", control="shuffled"), task=tiny_task())
    with pytest.raises(LinkError, match="no such control"):
        run(recipe(tmp_path, "feature_ot", control="shuffled"), task=tiny_task("unpaired"), bank=bank)


def test_a_teacher_that_does_not_give_the_signal_is_refused(tmp_path, bank):
    features = torch.cat([block.features for block in bank.blocks(100)])
    silent = Bank.from_arrays(
        tmp_path / "bank", keys=bank.keys, features=features, class_names=bank.class_names
    )
    with pytest.raises(MissingSignalError, match=r"'kd' needs the teacher's 'logits'.*'logits' gives it"):
        run(recipe(tmp_path / "run"), task=tiny_task(), bank=silent)


def test_other_class_names_are_refused(tmp_path, bank):
    other = Bank.from_arrays(
        tmp_path / "bank",
        keys=bank.keys,
        features=torch.zeros(len(bank), 2),
        logits=torch.zeros(len(bank), 3),
        class_names=("circle", "square", "moon"),
    )
    with pytest.raises(ClassNamesError, match="moon"):
        run(recipe(tmp_path / "run"), task=tiny_task(), bank=other)
    mapped = recipe(tmp_path / "run", teacher=TeacherSpec(class_map={"star": "moon"}))
    assert run(mapped, task=tiny_task(), bank=other).steps == 60


def test_a_bank_that_lacks_rows_is_refused(tmp_path, bank):
    with pytest.raises(MissingKeysError, match="lacks 30 of the 54"):
        run(recipe(tmp_path), task=tiny_task(), bank=bank.subset(bank.keys[:30]))


def test_a_bank_without_class_names_is_warned_about_or_refused(tmp_path, bank):
    logits = torch.cat([block.logits for block in bank.blocks(100)])
    unnamed = Bank.from_arrays(tmp_path / "a", keys=bank.keys, logits=logits)
    result = run(recipe(tmp_path / "run"), task=tiny_task(), bank=unnamed)
    assert "does not name its classes" in result.warnings[0]
    wider = Bank.from_arrays(tmp_path / "b", keys=bank.keys, logits=logits.repeat(1, 2))
    with pytest.raises(ClassNamesError, match="6 classes without names, the student has 3"):
        run(recipe(tmp_path / "wide"), task=tiny_task(), bank=wider)
    features, head = torch.zeros(len(bank), 2), (torch.zeros(4, 2), None)
    headed = Bank.from_arrays(tmp_path / "c", keys=bank.keys, features=features, head=head)
    with pytest.raises(ClassNamesError, match="4 classes without names"):
        run(recipe(tmp_path / "head", "ucmkd"), task=tiny_task("unpaired"), bank=headed)


@pytest.mark.full
def test_a_task_without_validation_is_trained_and_tested(tmp_path, bank):
    task = tiny_task()
    task = replace(task, splits=task.splits.without("validation"))
    result = run(recipe(tmp_path), task=task, bank=bank)
    assert set(result.scores) == {"test"}
    assert result.curve == []


def test_the_decay_holds_for_a_method_that_asks_for_an_ema_student(tmp_path, bank):
    settings = recipe(tmp_path, "bagkd", training={**TRAINING, "ema_decay": 0.5})
    assert make_trainer(settings, tiny_task("bagged"), {"teacher": bank}, tmp_path).model.ema.decay == 0.5


def test_a_network_of_ones_own_learns(tmp_path, bank):
    def make(n_classes, width=16):
        return torch.nn.Sequential(
            torch.nn.Linear(6, width), torch.nn.ReLU(), torch.nn.Linear(width, n_classes)
        )

    student = replace(STUDENT, model="ignored", config={"width": 8})
    result = run(recipe(tmp_path / "a", student=student), task=tiny_task(), bank=bank, student=make)
    assert result.student.model[0].weight.shape == (8, 6)
    assert result.scores["test"] > 0.5
    named = Recipe.load(tmp_path / "a" / "recipe.yaml")
    assert named.student.model.endswith("make")
    with pytest.raises(ConfigError, match="--trust-code"):
        run(named, task=tiny_task(), bank=bank)
    network = make(3)
    before = network[0].weight.clone()
    result = run(recipe(tmp_path / "b", student=StudentSpec()), task=tiny_task(), bank=bank, student=network)
    assert torch.equal(network[0].weight, before)
    assert not torch.equal(result.student.model[0].weight, before)


def test_a_teacher_of_ones_own_needs_the_same_leave(tmp_path, monkeypatch):
    (tmp_path / "blob_net.py").write_text(
        "from torch import nn\n\ndef make(n_classes, n):\n    return nn.Sequential(nn.Linear(n, 128), nn.ReLU(), "
        "nn.Linear(128, n_classes))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    own = replace(TEACHER, model="blob_net:make", config={"n": 4})
    with pytest.raises(ConfigError, match="'blob_net:make' is code of its own"):
        run(recipe(tmp_path, teacher=own), task=tiny_task())
    result = run(recipe(tmp_path, teacher=own), task=tiny_task(), trust_code=True)
    assert result.task.info["teacher_accuracy"]["test"] > 0.6  # a third by chance


@pytest.mark.parametrize(
    ("net", "words"),
    [
        (
            nn.Sequential(nn.Linear(5, 3)),
            r"Sequential cannot read the rows, which are x \[6\] each \(mat1 and mat2",
        ),
        (
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4, 3)),
            "set what it reads in student.config",
        ),
    ],
)
def test_a_network_that_cannot_read_the_rows(net, words, tmp_path, bank):
    with pytest.raises(ConfigError, match=words):
        run(recipe(tmp_path, "supervised", student=StudentSpec()), task=tiny_task(), student=net)
