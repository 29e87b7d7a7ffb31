"""The demo on small generated data: one comparison with its files, going on after an interruption."""

from __future__ import annotations

import json
import logging
import sys

import pytest
from raw_files import fsdd_folder, mnist_folder

from limbeck import cli
from limbeck.arms import recipe_arms
from limbeck.commands import demo as command
from limbeck.demo import ARMS_FILE, DemoOptions, demo_arms, demo_recipe, run_demo
from limbeck.errors import ConfigError, UnknownNameError
from limbeck.evaluation import read_metrics
from limbeck.recipes import Recipe


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    mnist, fsdd = mnist_folder(tmp_path_factory.mktemp("mnist")), fsdd_folder(tmp_path_factory.mktemp("fsdd"))
    return {"images": f"mnist:{mnist}", "audio": f"fsdd:{fsdd}"}


@pytest.fixture
def options(sources, tmp_path, monkeypatch):
    monkeypatch.setattr("limbeck.teacher_stage.TEACHER_TRAINING", {"max_steps": 3, "n_labelled": 8})
    return {**sources, "output": str(tmp_path / "demo"), "seeds": 1, "steps": 2, "labels": 2}


def test_every_arm_has_rows_a_control_and_a_place_in_the_report(options, tmp_path):
    found = run_demo(DemoOptions(**options, unseen_speakers=("bob",)), show_progress=False)
    metrics = read_metrics(found.folder)
    assert metrics.rows == found.rows
    runs = {
        (row.arm, row.method, row.link, row.control, row.split)
        for row in metrics.rows
        if row.split != "train"
    }
    arms = {
        ("supervised", "supervised", "none"): ["none"],
        ("ucmkd", "ucmkd", "by_class"): ["none", "shuffled"],
        ("paired", "kd", "paired"): ["none", "shuffled"],
        ("bagged", "bagkd", "bagged"): ["none", "shuffled"],
    }
    splits = ("validation", "test", "test_unseen")
    assert runs == {(*arm, c, split) for arm, controls in arms.items() for c in controls for split in splits}
    near = {row.arm for row in metrics.rows if row.metric == "teacher_agreement"}
    assert near == {"paired"}  # nowhere else is it known which image goes with a clip
    for row in metrics.rows:
        assert (row.seed, row.steps) == (0, 2)
        assert row.value >= 0
    page = (found.folder / "report.html").read_text(encoding="utf-8")
    for text in (
        "16 images for each 16 unlabelled clips",
        "Learning curves",
        "unseen",
        "Class by class",
        "Cost",
    ):
        assert text in page
    assert len(list((found.folder / "teachers").rglob("bank.json"))) == 1  # one teacher, asked once
    assert logging.getLogger("limbeck").level == logging.NOTSET


@pytest.mark.full
def test_started_again_it_runs_what_is_missing_and_keeps_settings_apart(options):
    options["arms"] = ("supervised", "paired")
    assert run_demo(DemoOptions(**options), show_progress=False).n_resumed == 0
    more = run_demo(DemoOptions(**options | {"seeds": 2}), show_progress=False)
    assert (len(more.cells), more.n_resumed) == (6, 3)
    other = run_demo(DemoOptions(**options | {"steps": 1}), show_progress=False)
    assert (other.n_resumed, {row.steps for row in other.rows}) == (0, {1})
    back = run_demo(DemoOptions(**options), show_progress=False)
    assert (back.n_resumed, {(row.seed, row.steps) for row in back.rows}) == (3, {(0, 2)})
    folder = back.folder / "runs" / next(cell for cell in back.cells if cell.arm == "paired").folder_name
    assert Recipe.load(folder / "recipe.yaml").training["max_steps"] == 2


def test_json_is_all_that_standard_output_gets(options, capsys):
    given = [x for name, value in options.items() for x in (f"--{name}", str(value))]
    assert cli.main(["demo", "--arms", "paired", "--json", *given]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert {row["split"] for row in printed["rows"]} == {"validation", "test", "train"}
    assert {entry["arm"] for entry in printed["summary"]} == {"supervised", "paired"}
    assert cli.main(["demo", "--arms", "paired", *given]) == 0
    out, err = capsys.readouterr()
    assert printed["report"] in out
    assert "no teacher" in out
    assert err == ""


def test_quick_changes_what_is_not_given(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr("limbeck.demo.run_demo", asked.append)
    monkeypatch.setattr("limbeck.commands.comparison.print_comparison", lambda found, as_json: None)
    for more in ((), ("--seeds", "3")):
        command.command(["--quick", "--json", "--output", str(tmp_path), *more])
    assert [(options.seeds, options.steps, options.labels) for options in asked] == [(1, 120, 5), (3, 120, 5)]


def test_wrong_options_are_refused():
    with pytest.raises(UnknownNameError, match="'bagged'"):
        DemoOptions(arms=("baged",))
    with pytest.raises(ConfigError, match=r"--labels must lie in \[1, 1,000,000\]"):
        DemoOptions(labels=0)
    with pytest.raises(ConfigError, match="no arm with a teacher"):
        DemoOptions(arms=("supervised",))


def test_every_arm_is_a_valid_recipe():
    arms = {name: patch for name, patch in demo_arms().items() if name != "supervised"}
    found = recipe_arms(demo_recipe(DemoOptions()), arms=arms, controls=("shuffled",))
    assert [arm.name for arm in found] == list(demo_arms()), ARMS_FILE
    assert all(arm.recipe.training["ema"] for arm in found)


@pytest.mark.full
def test_the_table_is_the_same_whatever_the_jobs(options, tmp_path):
    options["arms"] = ("paired", "bagged")
    one = run_demo(DemoOptions(**options), show_progress=False)
    two = run_demo(DemoOptions(**options | {"output": str(tmp_path / "two"), "jobs": 2}), show_progress=False)
    assert values(one) == values(two)


def values(found):
    return [
        (*cell[:3], row.split, row.metric, row.value)
        for cell in found.done
        for row in found.outcomes[cell].rows
    ]


@pytest.mark.parametrize(
    "missing", [["sklearn", "espeakng_loader", "soundfile"], ["espeakng_loader"], ["soundfile"]]
)
def test_from_a_bare_wheel_it_names_the_extra(missing, monkeypatch, tmp_path, capsys):
    """Without what the extra brings; the clips of an earlier demo are not taken for it."""
    for name in list(sys.modules):
        if name.partition(".")[0] in missing:
            monkeypatch.delitem(sys.modules, name)
    for name in missing:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))
    assert cli.main(["demo", "--quick", "--output", str(tmp_path / "demo")]) != 0
    said = capsys.readouterr().err
    assert "pip install 'limbeck[demo]'" in said
    assert "Traceback" not in said
