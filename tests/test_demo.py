"""The demo on small generated data: its files, going on after an interruption, and no mixing of settings."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from raw_files import fsdd_folder, mnist_folder

from limbeck import cli
from limbeck.demo import ARMS, Demo, DemoOptions
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


def count_runs(monkeypatch) -> list[str]:
    """The output folders of the student runs from now on."""
    import limbeck.runner as module

    real, folders = module.run, []

    def counted(recipe, **settings):
        folders.append(recipe.output_dir)
        return real(recipe, **settings)

    monkeypatch.setattr(module, "run", counted)
    return folders


def test_every_arm_has_rows_a_control_and_a_place_in_the_report(options):
    demo = Demo(DemoOptions(**options, unseen_speakers=("bob",)))
    report = demo.run(show_progress=False)
    assert not (demo.folder / "map.json").exists()  # one test clip of a class is too few
    metrics = read_metrics(demo.folder)
    assert metrics.rows == demo.rows
    found = {(row.arm, row.method, row.link, row.control, row.split) for row in metrics.rows}
    arms = {
        ("supervised", "supervised", "none"): ["none"],
        ("ucmkd", "ucmkd", "by_class"): ["none", "shuffled"],
        ("paired", "kd", "paired"): ["none", "shuffled"],
        ("bagged", "bagkd", "bagged"): ["none", "shuffled"],
    }
    splits = ("validation", "test", "test_unseen")
    assert found == {(*arm, c, split) for arm, controls in arms.items() for c in controls for split in splits}
    for row in metrics.rows:
        assert row.metric in ("accuracy", "macro_f1", "calibration_error")
        assert (row.seed, row.steps) == (0, 2)
        assert 0 <= row.value <= 1
        assert row.seconds > 0
    page = report.read_text(encoding="utf-8")
    for text in ("16 images for each 16 unlabelled clips", "Learning curves", "unseen"):
        assert text in page
    assert all(warning.startswith(("paired, seed 0: ", "bagged, seed 0: ")) for warning in demo.warnings)
    assert logging.getLogger("limbeck").level == logging.NOTSET


@pytest.mark.full
def test_started_again_it_runs_what_is_missing_and_keeps_settings_apart(options, monkeypatch):
    options["arms"] = ("supervised", "paired")
    Demo(DemoOptions(**options)).run(show_progress=False)
    runs = count_runs(monkeypatch)
    more = Demo(DemoOptions(**options | {"seeds": 2}))
    more.run(show_progress=False)
    assert [folder.rsplit("/", 1)[1] for folder in runs] == [
        "supervised-none-1",
        "paired-none-1",
        "paired-shuffled-1",
    ]

    other = Demo(DemoOptions(**options | {"steps": 1, "arms": ("supervised",)}))
    other.run(show_progress=False)
    rows = read_metrics(other.folder).rows
    assert {(row.arm, row.seed, row.steps) for row in rows} == {("supervised", 0, 1)}
    assert not (other.folder / "map.json").exists()
    log = Path(other.recipe("supervised").output_dir, "log.jsonl").read_text()
    assert max(json.loads(line)["step"] for line in log.splitlines()) == 1

    runs.clear()
    back = Demo(DemoOptions(**options))
    back.run(show_progress=False)
    assert runs == []
    assert {(row.seed, row.steps) for row in back.rows} == {(0, 2)}
    saved = Recipe.load(back.recipe("paired").output_dir + "/recipe.yaml")
    assert saved.training["max_steps"] == 2
    assert (back.folder / "map.json").exists()


def test_json_is_all_that_standard_output_gets(options, capsys):
    given = [x for name, value in options.items() for x in (f"--{name}", str(value))]
    assert cli.main(["demo", "--arms", "supervised", "--json", *given]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert {row["split"] for row in printed["rows"]} == {"validation", "test"}
    assert cli.main(["demo", "--arms", "supervised", *given]) == 0
    out, err = capsys.readouterr()
    assert printed["report"] in out
    assert "no teacher" in out
    assert err == ""


def test_quick_changes_what_is_not_given(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(Demo, "run", lambda demo: asked.append(demo.options) or tmp_path)
    for more in ((), ("--seeds", "3")):
        cli.main(["demo", "--quick", "--json", "--output", str(tmp_path), *more])
    assert [(options.seeds, options.steps, options.labels) for options in asked] == [(1, 120, 5), (3, 120, 5)]


def test_wrong_options_are_refused():
    with pytest.raises(UnknownNameError, match="'bagged'"):
        DemoOptions(arms=("baged",))
    with pytest.raises(ConfigError, match="--labels must be at least 1"):
        DemoOptions(labels=0)


@pytest.mark.parametrize("name", sorted(ARMS))
def test_every_arm_is_a_valid_recipe(name):
    from limbeck.recipes.recipe import check_recipe

    check_recipe(Demo(DemoOptions()).recipe(name))
