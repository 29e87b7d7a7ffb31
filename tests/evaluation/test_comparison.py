"""A comparison runs each cell once, whatever interrupts it, and refuses what cannot be compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from limbeck.errors import ConfigError, DataError
from limbeck.evaluation import Arm, Comparison, Outcome, Row, read_comparison, read_metrics, run_arms
from limbeck.evaluation.comparison import RUNS_FOLDER
from limbeck.evaluation.outcome import RESULT_FILE
from limbeck.files import LOCK_FILE

ARMS = [Arm("supervised", config={"steps": 5}), Arm("paired", ("shuffled",), {"steps": 5})]


class Runner:
    """Answers with one row a run and remembers what was asked; stops after ``limit`` runs."""

    def __init__(self, limit: int = 1000) -> None:
        self.asked: list[tuple[str, str, int]] = []
        self.limit = limit

    def __call__(self, arm: Arm, control: str, seed: int, folder: Path) -> Outcome:
        if len(self.asked) == self.limit:
            (folder / "half").write_text("written")
            raise KeyboardInterrupt
        self.asked.append((arm.name, control, seed))
        return outcome(arm, control, seed)


def outcome(arm: Arm, control: str, seed: int, *, data: str = "d", metric: str = "accuracy") -> Outcome:
    row = Row(arm.name, "kd", "paired", control, seed, "test", metric, 0.5 + seed / 100, 0.1, 5)
    kept = {"test": {"right": torch.arange(4)}}
    return Outcome([row], items=kept, data={"test": data}, metrics=[{"name": "accuracy"}])


def drawn(arm: Arm, control: str, seed: int, folder: Path) -> Outcome:
    """A value that threads and processes must not change."""
    torch.manual_seed(seed)
    value = float(torch.randn(300, 300).matmul(torch.randn(300, 300)).softmax(0).sum(1).std())
    row = Row(
        arm.name, "kd", "paired", control, seed, "test", "accuracy", value, 0.1, torch.get_num_threads()
    )
    return Outcome([row])


def go(folder: Path, run: Runner, arms: list[Arm] = ARMS) -> Comparison:
    return run_arms(arms, run, [0, 1], output=folder, info={"machine": "x"}, show_progress=False)


def test_all_cells_seed_by_seed(tmp_path: Path) -> None:
    run = Runner()
    result = go(tmp_path, run)
    assert run.asked == [
        (name, control, seed)
        for seed in (0, 1)
        for name, control in (("supervised", "none"), ("paired", "none"), ("paired", "shuffled"))
    ]
    assert read_metrics(tmp_path) == (result.rows, {"machine": "x"})
    assert (result.n_resumed, result.missing) == (0, [])
    assert result.outcomes[result.cells[0]].items["test"]["right"].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("limit", [0, 1, 4, 5])
def test_goes_on_where_it_stopped(tmp_path: Path, limit: int) -> None:
    first, second = Runner(limit), Runner()
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path, first)
    assert not (tmp_path / "metrics.json").exists()
    assert len(read_comparison(tmp_path).missing) == 6 - limit
    result = go(tmp_path, second)
    assert result.n_resumed == limit
    assert first.asked + second.asked == (whole := Runner(), go(tmp_path / "whole", whole))[0].asked
    assert result.rows == read_metrics(tmp_path / "whole").rows
    assert not list(tmp_path.glob(f"{RUNS_FOLDER}/*/half"))
    again = Runner()
    assert go(tmp_path, again).rows == result.rows
    assert again.asked == []


def test_of_an_unfinished_one_the_whole_seeds_count(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path, Runner(4))
    found = read_comparison(tmp_path)
    assert {row.seed for row in found.rows} == {0}
    assert [str(cell) for cell in found.missing] == ["paired, seed 1", "paired (shuffled), seed 1"]


@pytest.mark.parametrize("change", ["no result.json", "half of items.safetensors"])
def test_a_half_written_result_is_never_read(tmp_path: Path, change: str) -> None:
    folder = tmp_path / RUNS_FOLDER / go(tmp_path, Runner()).cells[1].folder_name
    if change == "no result.json":  # it is written last
        (folder / RESULT_FILE).rename(folder / f".{RESULT_FILE}.partial")
        run = Runner()
        go(tmp_path, run)
        assert run.asked == [("paired", "none", 0)]
    else:
        items = folder / "items.safetensors"
        items.write_bytes(items.read_bytes()[:30])
        with pytest.raises(DataError, match="does not hold a whole result"):
            go(tmp_path, Runner())


def test_changed_config_runs_again(tmp_path: Path) -> None:
    go(tmp_path, Runner())
    run = Runner()
    go(tmp_path, run, [ARMS[0], Arm("paired", ("shuffled",), {"steps": 6})])
    assert {name for name, _, _ in run.asked} == {"paired"}


@pytest.mark.full
def test_processes_give_the_same_table(tmp_path: Path) -> None:
    one = run_arms(ARMS, drawn, [0, 1], output=tmp_path / "one", show_progress=False)
    two = run_arms(ARMS, drawn, [0, 1], output=tmp_path / "two", jobs=2, show_progress=False)
    assert one.rows == two.rows
    assert {row.steps for row in two.rows} == {1}  # threads


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    def other_data(arm: Arm, control: str, seed: int, folder: Path) -> Outcome:
        return outcome(arm, control, seed, data=control)

    with pytest.raises(
        DataError, match=r"supervised, seed 0 and paired \(shuffled\), seed 0 do not have the same"
    ):
        run_arms(ARMS, other_data, [0], output=tmp_path / "a", show_progress=False)

    def other_metric(arm: Arm, control: str, seed: int, folder: Path) -> Outcome:
        return outcome(arm, control, seed, metric="accuracy" if control == "none" else "f1")

    with pytest.raises(DataError, match=r"paired \(shuffled\), seed 0 lacks the metric 'accuracy'"):
        run_arms(ARMS, other_metric, [0], output=tmp_path / "b", show_progress=False)


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'supervised' was given twice"):
        go(tmp_path, Runner(), [ARMS[0], ARMS[0]])
    with pytest.raises(ConfigError, match="at least one seed"):
        run_arms(ARMS, Runner(), [], output=tmp_path)
    with pytest.raises(ConfigError, match="at least 1 for jobs; it is 0"):
        run_arms(ARMS, Runner(), [0], output=tmp_path, jobs=0)
    with pytest.raises(DataError, match="gave no rows"):
        run_arms(ARMS, lambda *_: Outcome([]), [0], output=tmp_path, show_progress=False)
    stray = outcome(Arm("other"), "none", 0)
    with pytest.raises(DataError, match="gave a row of"):
        run_arms(ARMS, lambda *_: stray, [0], output=tmp_path, show_progress=False)
    with (
        FileLock(tmp_path / LOCK_FILE),
        pytest.raises(ConfigError, match="Another comparison is writing"),
    ):
        go(tmp_path, Runner())
    with pytest.raises(DataError, match="There is no comparison"):
        read_comparison(tmp_path / "nothing")
    (tmp_path / "arms.json").write_text(json.dumps({"cells": [{"arm": 1}]}))
    with pytest.raises(DataError, match="is damaged"):
        read_comparison(tmp_path)


def test_progress_is_shown_on_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    run_arms(ARMS, Runner(), [0], output=tmp_path)
    assert "3/3" in capsys.readouterr().err
