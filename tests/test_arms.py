"""From a recipe to arms, and a whole comparison on a task of clouds."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import toy
from levels import some_of

import limbeck
from limbeck.arms import compare, recipe_arms
from limbeck.banks import Bank
from limbeck.data.splits import Splits
from limbeck.data.task import Task, TeacherSide
from limbeck.errors import ConfigError, DataError, LimbeckError, LinkError, SplitError, UnknownNameError
from limbeck.evaluation import Comparison
from limbeck.methods.registry import plan_method
from limbeck.recipes import DataSpec, MethodSpec, Recipe, StudentSpec, TeacherSpec
from limbeck.recipes.arms_file import ArmPatch, read_arms
from limbeck.teachers.live import LiveTeacher
from limbeck.tuning.own_copy import check_self

TRAINING = {"max_steps": 3, "n_labelled": 6, "n_unlabelled": 8, "use_cpu": True, "eval_steps": 1}


def task(name: str, config: dict | None = None, *, seed: int = 0) -> Task:
    """Clouds; ``config`` may name the link and how many rows are tested."""
    config = config or {}
    rows = toy.examples(n_labelled=12)
    test = toy.examples(n=config.get("n_test", 48), n_labelled=config.get("known", 48))
    asked = replace(rows, keys=tuple(f"t{i}" for i in range(len(rows))))
    side = TeacherSide(Splits(link=asked), toy.link_to(config.get("link", "paired"), rows))
    return Task("toy", Splits(train=rows, validation=test, test=test), {"teacher": side})


@pytest.fixture
def recipe(tmp_path, monkeypatch) -> Recipe:
    for place in ("limbeck.arms.make_task", "limbeck.arm_run.make_task", "limbeck.tuning.arms.make_task"):
        monkeypatch.setattr(place, task)
    toy.bank(tmp_path / "bank")
    return Recipe(
        data=DataSpec("toy", {}),
        teacher=TeacherSpec(bank=str(tmp_path / "bank")),
        student=StudentSpec("table_encoder", {"n_columns": toy.WIDTH, "hidden": [8]}),
        method=MethodSpec("kd", {"temperature": 2.0}),
        training=dict(TRAINING),
    )


def run(recipe: Recipe, tmp_path: Path, **more) -> Comparison:
    return compare(recipe, **{"seeds": 2, "output": tmp_path / "out", "show_progress": False, **more})


def test_one_field_changes_in_each_arm(recipe):
    arms = recipe_arms(
        recipe, methods=("kd", "feature_ot"), controls=("shuffled", "label_smoothing", "supervised")
    )
    assert [(a.name, a.recipe.method, a.controls) for a in arms] == [
        ("supervised", MethodSpec("supervised"), ("label_smoothing",)),
        ("kd", MethodSpec("kd", {"temperature": 2.0}), ("shuffled",)),
        ("feature_ot", MethodSpec("feature_ot"), ("shuffled",)),
    ]
    assert all(replace(a.recipe, method=recipe.method) == recipe for a in arms)
    varied = recipe_arms(recipe, vary={"method.config.temperature": [1, 4]})
    assert [(a.name, a.recipe.method.config) for a in varied[1:]] == [
        ("kd, temperature=1", {"temperature": 1}),
        ("kd, temperature=4", {"temperature": 4}),
    ]


@pytest.mark.parametrize(
    ("file", "base"),
    some_of(
        [
            ("systems", "av_digits_paired"),
            ("systems_bagged", "av_digits_bagged"),
            ("systems_labels", "av_digits_paired"),
            ("systems_text", "armada_glyphs"),
        ],
        ("systems_bagged", "av_digits_bagged"),
    ),
)
def test_arms_of_published_systems_fit_their_recipe(file, base):
    """Every arm is a recipe, its shuffled teacher beside it where it has one; a link that the method knows."""
    shipped = read_arms(file)
    values = Recipe.load(base)
    arms = recipe_arms(values, arms=shipped.arms, controls=shipped.controls or ())
    assert [arm.name for arm in arms] == ["supervised", *shipped.arms]
    for arm in arms[1:]:
        declared = plan_method(arm.recipe.method.name, arm.recipe.method.config).declared
        assert arm.controls == (("shuffled",) if declared.has_teacher else ())
        assert not declared.links or values.data.config.get("link", "paired") in declared.links
        assert not declared.problems or "classification" in declared.problems
        assert arm.given


def test_an_average_that_one_method_keeps_is_scored_in_all(recipe):
    recipe = replace(recipe, data=DataSpec("toy", {"link": "bagged"}))
    arms = recipe_arms(recipe, methods=("bagkd", "feature_ot"))
    assert [arm.recipe.training["ema"] for arm in arms] == [True] * 3
    assert "ema" not in recipe_arms(recipe, methods=("feature_ot",))[0].recipe.training


def test_a_teacher_of_other_classes_is_compared_by_what_its_features_give(recipe, tmp_path):
    """armada reads its features alone; that student and teacher cannot agree on a class is no error."""
    known = Bank.open(tmp_path / "bank").class_names
    toy.bank(tmp_path / "other", class_names=tuple(f"other {name}" for name in known))
    recipe = replace(recipe, teacher=TeacherSpec(bank=str(tmp_path / "other")), method=MethodSpec("armada"))
    found = run(recipe, tmp_path, seeds=1)
    assert not found.missing
    assert {row.arm for row in found.rows} == {"supervised", "armada"}
    assert "teacher_agreement" not in {row.metric for row in found.rows}


def test_a_comparison_from_end_to_end(recipe, tmp_path):
    found = run(recipe, tmp_path, controls=("shuffled", "random", "uniform", "label_smoothing"), jobs=1)
    assert not found.missing
    told = json.loads((found.folder / "compare.json").read_text())
    entries = {(entry["arm"], entry["control"]): entry for entry in told["summary"]}
    assert list(entries) == [
        ("supervised", "none"),
        ("supervised", "label_smoothing"),
        ("kd", "none"),
        ("kd", "shuffled"),
        ("kd", "random"),
        ("kd", "uniform"),
    ]
    own = entries["kd", "none"]
    assert {"arm", "method", "control", "mean", "sd", "gain", "low", "high", "p", "p_holm", "verdict"} <= set(
        own
    )
    kinds = {"teacher_helps", "distillation_helps", "no_gain_seen", "hurts", "one_run"}
    assert {entry["verdict"] for entry in entries.values()} - {None} <= kinds
    assert entries["supervised", "none"]["verdict"] is None
    assert set(own["over"]) == {"shuffled", "random", "uniform", "label_smoothing"}
    assert {row["metric"] for row in told["rows"]} >= {
        "accuracy",
        "brier",
        "teacher_agreement",
        "teacher_divergence",
    }
    near = {row["arm"] for row in told["rows"] if row["metric"] == "teacher_agreement"}
    assert near == {"supervised", "kd"}
    cost = found.outcomes[found.cells[-1]].cost
    assert cost.wall > 0
    assert cost.memory > 50
    assert cost.teacher_calls == toy.N
    assert (found.folder / "table.md").read_text().count("\n| ") == 3
    assert "\\toprule" in (found.folder / "table.tex").read_text()
    again = run(recipe, tmp_path, controls=("shuffled", "random", "uniform", "label_smoothing"))
    assert again.n_resumed == len(again.cells) == 12


def test_a_student_taught_by_an_earlier_copy_of_itself(recipe, tmp_path):
    """The copy is the student of the arm without a teacher, and answers for the rows that the link names."""
    found = run(recipe, tmp_path, controls=("self",), seeds=1)
    told = json.loads((found.folder / "compare.json").read_text())
    assert [(e["arm"], e["control"]) for e in told["summary"]][1:] == [("kd", "none"), ("kd", "self")]
    (folder,) = (found.folder / "runs").glob("kd-self-*")
    copy = Bank.open(folder / "copy" / "bank_teacher")
    rows = task("toy").splits["train"]
    assert set(copy.keys) == {f"t{i}" for i in range(len(rows)) if rows.labels[i] < 0}
    scores = {row.arm: row.value for row in found.rows if (row.split, row.metric) == ("test", "accuracy")}
    alone = limbeck.run(
        replace(recipe, method=MethodSpec("supervised"), output_dir=str(tmp_path / "alone")),
        task=task("toy"),
        show_progress=False,
    )
    assert alone.scores["test"] == scores["supervised"]
    keys = list(copy.keys)
    x = rows.rows([int(key[1:]) for key in keys])
    torch.testing.assert_close(copy.lookup(keys).logits, alone.student(x).logits.detach())


def test_where_no_copy_can_answer(recipe):
    made, bank = task("toy"), Bank.open(recipe.teacher.bank)
    with pytest.raises(ConfigError, match="'hints' reads the teacher's hidden_states; take 'shuffled'"):
        check_self(plan_method("hints"), bank, made)
    with pytest.raises(ConfigError, match="'armada' reads the teacher's texts"):
        check_self(plan_method("armada", {"teacher": "text"}), bank, made)
    live = LiveTeacher(lambda inputs: None, made.splits["train"])
    with pytest.raises(ConfigError, match="ask the live teacher into a bank first"):
        check_self(plan_method("kd"), live, made)
    check_self(plan_method("armada"), bank, made)


@pytest.mark.parametrize(
    ("link", "method"), [("bagged", "feature_ot"), ("by_class", "kd"), ("unpaired", "feature_ot")]
)
@pytest.mark.full
def test_a_copy_answers_over_every_link(link, method, recipe, tmp_path):
    other = replace(recipe, data=DataSpec("toy", {"link": link}))
    found = run(other, tmp_path, methods=(method,), controls=("self",), seeds=1)
    assert {row.control for row in found.rows} == {"none", "self"}


def test_one_run_and_one_test_item(recipe, tmp_path):
    one = replace(recipe, data=DataSpec("toy", {"n_test": 1, "known": 1}))
    found = run(one, tmp_path, seeds=1)
    told = json.loads((found.folder / "compare.json").read_text())
    assert told["summary"][1]["verdict"] == "one_run"
    page = (found.folder / "report.html").read_text()
    assert "1 test item:" in page
    assert "Classes without a test row: bee, cat" in page


@pytest.mark.full
def test_pictures_of_the_first_seed(recipe, tmp_path):
    found = run(recipe, tmp_path, methods=("feature_ot",), controls=("shuffled",))
    drawn = {cell[:3]: outcome.pictures for cell, outcome in found.outcomes.items() if outcome.pictures}
    assert list(drawn) == [("feature_ot", "none", 0)]
    pictures = drawn["feature_ot", "none", 0]
    assert set(pictures["map"]["modality"]) == {"teacher", "student before", "student after"}
    shares = pictures["plan"]["shares"]
    assert (len(shares), len(shares[0])) == (3, 3)
    assert all(sum(row) == pytest.approx(100, abs=0.1) for row in shares)


def test_the_best_checkpoint_is_chosen_on_validation_and_test_rows_stay_shut(recipe, tmp_path):
    """The step that validation likes best is scored; before the end nobody can read a test row."""
    best = {
        "load_best_model_at_end": True,
        "metric_for_best_model": "accuracy",
        "eval_strategy": "steps",
        "save_strategy": "steps",
        "save_steps": 1,
        "learning_rate": 0.3,
        "max_steps": 6,
    }
    found = run(replace(recipe, training={**TRAINING, **best}), tmp_path, seeds=1)
    for cell in found.cells:
        outcome = found.outcomes[cell]
        chosen = {row.split: row.value for row in outcome.rows if row.metric == "accuracy"}
        assert chosen["validation"] == pytest.approx(max(value for _, value in outcome.curve))
    with pytest.raises(SplitError, match="before the final evaluation"):
        task("toy").splits["test"]


def test_a_teacher_is_asked_for_the_layers_that_some_arm_reads(recipe, tmp_path):
    trained = TeacherSpec(model="table_encoder", config={"n_columns": toy.WIDTH, "hidden": [8]}, train=False)
    layers = {"a": "0=0", "b": "0=2"}
    arms = {
        arm: ArmPatch({"method": {"name": "hints", "config": {"layers": [pair]}}})
        for arm, pair in layers.items()
    }
    run(replace(recipe, teacher=trained), tmp_path, arms=arms, controls=(), seeds=1)
    [bank] = (tmp_path / "out" / "teachers").glob("*/bank")
    opened = Bank.open(bank)
    assert set(opened.lookup(opened.keys[:1]).hidden_states) == {"0", "2"}


def test_a_live_teacher_is_counted(recipe, tmp_path):
    live = TeacherSpec(model="table_encoder", config={"n_columns": toy.WIDTH}, train=False, live="model")
    found = run(replace(recipe, teacher=live), tmp_path, seeds=1, controls=("shuffled",))
    calls = {(c.arm, c.control): found.outcomes[c].cost.teacher_calls for c in found.cells}
    assert calls["supervised", "none"] == 0
    assert calls["kd", "none"] == calls["kd", "shuffled"] > 3 * TRAINING["n_unlabelled"] - 1


@pytest.mark.parametrize(
    ("more", "error", "words"),
    [
        ({"methods": ("kdd",)}, LimbeckError, "'kdd'"),
        ({"controls": ("shufled",)}, UnknownNameError, "did you mean 'shuffled'"),
        ({"controls": ("shuffled:clip",)}, UnknownNameError, "names no teacher"),
        ({"methods": ("feature_ot",), "controls": ("uniform",)}, ConfigError, "control 'uniform'"),
        ({"controls": ("self:clip",)}, UnknownNameError, "names no teacher"),
        ({"controls": ("prototype",)}, DataError, "they say nothing of the teacher's rows"),
        (
            {"vary": {"data.config.link": ["unpaired"]}, "methods": ("feature_ot",)},
            LinkError,
            "no such control",
        ),
        ({"vary": {"training.max_step": [1]}}, LimbeckError, "max_step"),
        ({"vary": {"method.config.temperature": []}}, ConfigError, "varied over no value"),
        ({"seeds": []}, ConfigError, "at least one seed"),
        ({"methods": ("supervised",)}, ConfigError, "nothing to compare"),
        ({"arms": {"a": ArmPatch({})}, "methods": ("b",)}, UnknownNameError, "no arm 'b'"),
        (
            {"vary": {"data.config.n_test": [20, 30]}},
            DataError,
            r"'kd, n_test=20' do not have the same data \(test",
        ),
    ],
)
def test_what_is_refused_before_anything_runs(recipe, tmp_path, more, error, words):
    with pytest.raises(error, match=words):
        run(recipe, tmp_path, **more)
    assert not list((tmp_path / "out").glob("runs/*"))


def test_a_recipe_with_a_control(recipe, tmp_path):
    with pytest.raises(ConfigError, match="name it under controls"):
        run(replace(recipe, control="random"), tmp_path)


SPACE = {
    "method.config.temperature": [1.0, 2.0, 4.0],
    "training.learning_rate": {"low": 1e-3, "high": 0.5, "log": True},
}


@pytest.mark.full
def test_tuned_arms_have_the_same_number_of_trials_and_keep_their_best(recipe, tmp_path):
    found = run(replace(recipe, tune=SPACE), tmp_path, tune=3)
    told = json.loads((found.folder / "compare.json").read_text())["info"]
    tried = told["tune"]["arms"]
    assert told["tune"]["seed"] not in {cell.seed for cell in found.cells}
    assert {arm: len(entry["trials"]) for arm, entry in tried.items()} == {"supervised": 3, "kd": 3}
    assert {key for trial in tried["supervised"]["trials"] for key in trial["values"]} == {
        "training.learning_rate"
    }
    for arm, entry in tried.items():
        best = entry["trials"][entry["best"]]
        assert best["score"] == max(trial["score"] for trial in entry["trials"])
        for key, value in best["values"].items():
            assert told["arms"][arm].get(key, 2.0) == value  # the recipe's own temperature is no change
        for cell in (cell for cell in found.cells if cell.arm == arm):
            used = Recipe.load(found.folder / "runs" / cell.folder_name / "recipe.yaml")
            assert used.training["learning_rate"] == best["values"]["training.learning_rate"]
    page = (found.folder / "report.html").read_text()
    assert "Tuning" in page
    assert "All trials" in page
    assert page.count("training.learning_rate = ") >= 8  # two best and six trials


@pytest.mark.full
def test_finished_trials_are_not_run_again(recipe, tmp_path, monkeypatch):
    from limbeck.tuning import arms as tuning

    tried, real = [], tuning.run
    monkeypatch.setattr(tuning, "run", lambda r, **k: tried.append(r.output_dir) or real(r, **k))
    first = run(recipe, tmp_path, tune=2, space=SPACE, seeds=1)
    assert len(tried) == 4
    again = run(recipe, tmp_path, tune=2, space=SPACE, seeds=1)
    assert (len(tried), again.n_resumed) == (4, len(first.cells))
    more = run(recipe, tmp_path, tune=3, space=SPACE, seeds=2)  # neither more trials nor seeds begin anew
    assert len(tried) == 6
    whole = run(recipe, tmp_path / "whole", tune=3, space=SPACE, seeds=1)
    values = [[t["values"] for t in f.info["tune"]["arms"]["kd"]["trials"]] for f in (more, whole)]
    assert values[0] == values[1]


@pytest.mark.full
def test_no_trial_has_a_test_row(recipe, tmp_path, monkeypatch):
    from limbeck.tuning import arms as tuning

    seen, real = [], tuning.run

    def watched(recipe, **more):
        result = real(recipe, **more)
        seen.append((more["task"].splits.roles, set(result.scores)))
        return result

    monkeypatch.setattr(tuning, "run", watched)
    run(recipe, tmp_path, tune=1, space=SPACE, seeds=1)
    assert seen == [(("train", "validation"), {"validation"})] * 2


@pytest.mark.full
def test_an_arm_without_a_key_to_tune_has_no_trials(recipe, tmp_path):
    found = run(recipe, tmp_path, tune=2, space={"method.config.temperature": [1.0, 4.0]}, seeds=1)
    assert {arm: len(e["trials"]) for arm, e in found.info["tune"]["arms"].items()} == {
        "supervised": 0,
        "kd": 2,
    }
    assert "none of the keys are its own" in (found.folder / "report.html").read_text()


@pytest.mark.parametrize(
    ("space", "tune", "words"),
    [
        (SPACE, 0, "at least 1 trial"),
        ({}, 2, "no search space"),
        ({"method.config.temprature": [1.0]}, 2, "did you mean 'method.config.temperature'"),
        ({"training.learning_rat": [1.0]}, 2, "learning_rat"),
        ({"data.config.n_test": [20, 30]}, 2, "'data.config.n_test' cannot be tuned"),
        ({"method.config.temperature": [1.0, -1.0]}, 2, "temperature"),
        ({"method.config.temperature": {"low": 4, "high": 2}}, 2, "to a greater high"),
    ],
)
def test_tuning_that_is_refused_before_anything_runs(recipe, tmp_path, space, tune, words):
    with pytest.raises(LimbeckError, match=words):
        run(recipe, tmp_path, tune=tune, space=space)
    assert not (tmp_path / "out").exists()


def test_tuning_without_validation_rows(recipe, tmp_path, monkeypatch):
    def untold(name, config=None, *, seed=0):
        known = task(name, config, seed=seed)
        return replace(known, splits=known.splits.without("validation"))

    monkeypatch.setattr("limbeck.tuning.arms.make_task", untold)
    with pytest.raises(ConfigError, match="no validation rows"):
        run(recipe, tmp_path, tune=2, space=SPACE)


def test_tuning_without_optuna(recipe, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"pip install 'limbeck\[tune\]'"):
        run(recipe, tmp_path, tune=2, space=SPACE)
