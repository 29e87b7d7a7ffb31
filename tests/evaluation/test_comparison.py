"""A comparison runs each cell once, whatever interrupts it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from filelock import FileLock

from limbeck.errors import ConfigError, DataError
from limbeck.evaluation import Arm, Comparison, Row, compare, read_metrics

ARMS = [Arm("supervised", config={"steps": 5}), Arm("paired", ("shuffled",), {"steps": 5})]


class Runner:
    """Answers with one row a run and remembers what was asked; stops after ``limit`` runs."""

    def __init__(self, limit: int = 1000) -> None:
        self.asked: list[tuple[str, str, int]] = []
        self.limit = limit

    def __call__(self, arm: Arm, control: str, seed: int) -> list[Row]:
        if len(self.asked) == self.limit:
            raise KeyboardInterrupt
        self.asked.append((arm.name, control, seed))
        return [Row(arm.name, "kd", "paired", control, seed, "test", "accuracy", 0.5 + seed / 100, 0.1, 5)]


def go(folder: Path, run: Runner, arms: list[Arm] = ARMS) -> Comparison:
    return compare(arms, run, [0, 1], output=folder, info={"machine": "x"}, show_progress=False)


def test_all_cells_seed_by_seed(tmp_path: Path) -> None:
    run = Runner()
    result = go(tmp_path, run)
    assert run.asked == [
        (name, control, seed)
        for seed in (0, 1)
        for name, control in (("supervised", "none"), ("paired", "none"), ("paired", "shuffled"))
    ]
    assert read_metrics(tmp_path) == (result.rows, {"machine": "x"})
    assert result.n_resumed == 0


@pytest.mark.parametrize("limit", [0, 1, 4, 5])
@pytest.mark.parametrize("half_line", ["", '{"arm": "paired", "con', '{"arm'])
def test_goes_on_where_it_stopped(tmp_path: Path, limit: int, half_line: str) -> None:
    first, second = Runner(limit), Runner()
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path, first)
    assert not (tmp_path / "metrics.json").exists()
    with (tmp_path / "runs.jsonl").open("a") as file:
        file.write(half_line)
    result = go(tmp_path, second)
    assert result.n_resumed == limit
    assert first.asked + second.asked == (whole := Runner(), go(tmp_path / "whole", whole))[0].asked
    assert result.rows == read_metrics(tmp_path / "whole").rows
    again = Runner()
    assert go(tmp_path, again).rows == result.rows
    assert again.asked == []


def test_changed_config_runs_again(tmp_path: Path) -> None:
    go(tmp_path, Runner())
    run = Runner()
    go(tmp_path, run, [ARMS[0], Arm("paired", ("shuffled",), {"steps": 6})])
    assert {name for name, _, _ in run.asked} == {"paired"}


def test_damaged_line_is_named(tmp_path: Path) -> None:
    go(tmp_path, Runner())
    journal = tmp_path / "runs.jsonl"
    lines = journal.read_text().splitlines()
    lines[1] = lines[1][:30]
    journal.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=r"runs\.jsonl, line 2 is not a finished run"):
        go(tmp_path, Runner())
    entry = json.loads(lines[0])
    entry["rows"][0].pop("value")
    journal.write_text(json.dumps(entry) + "\n")
    with pytest.raises(DataError, match=r"line 1 lacks 'value'"):
        go(tmp_path, Runner())


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'supervised' was given twice"):
        go(tmp_path, Runner(), [ARMS[0], ARMS[0]])
    with pytest.raises(ConfigError, match="at least one seed"):
        compare(ARMS, Runner(), [], output=tmp_path)
    with pytest.raises(DataError, match="gave no rows"):
        compare(ARMS, lambda arm, control, seed: [], [0], output=tmp_path, show_progress=False)
    stray = Runner()(Arm("other"), "none", 0)
    with pytest.raises(DataError, match="gave a row of"):
        compare(ARMS, lambda arm, control, seed: stray, [0], output=tmp_path, show_progress=False)
    with (
        FileLock(tmp_path / ".runs.jsonl.lock"),
        pytest.raises(ConfigError, match="Another comparison"),
    ):
        go(tmp_path, Runner())


def test_progress_is_shown_on_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    compare(ARMS, Runner(), [0], output=tmp_path)
    assert "3/3" in capsys.readouterr().err
