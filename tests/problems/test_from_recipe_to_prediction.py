"""What a task asks, from a table and a recipe to a score, a report, a shipped student, and its answers to new texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from packages import install

from limbeck.banks import Bank
from limbeck.cli import main
from limbeck.distill import distill
from limbeck.recipes import Recipe
from limbeck.students.export.folder import load_exported

ANIMALS, COLOURS = ("cat", "dog", "bird"), ("red", "blue", "big")
N = 90

COUNTS = """
    from dataclasses import dataclass
    from typing import ClassVar

    import torch
    from limbeck.problems import Metric, Problem, Targets

    DEVIANCE = Metric("deviance", better="lower", told="plain", negligible=0.01)
    MEAN_GAP = Metric("mean_gap", better="lower", told="plain", negligible=0.01)

    @dataclass(frozen=True)
    class Counts(Problem):
        '''How often something happens: the logit is the logarithm of the rate.'''

        kind: ClassVar[str] = "counts"
        measures: ClassVar[tuple[Metric, ...]] = (DEVIANCE, MEAN_GAP)
        title: ClassVar[str] = "A model of counts: {names}."
        turned: ClassVar[str] = ".exp()"

        def n_outputs(self):
            return 1

        def loss(self, out, targets):
            rate, y = out.logits[targets.known, 0].float(), targets.values[targets.known]
            return (rate.exp() - y * rate).sum()

        def match(self, logits_s, logits_t, *, temperature=1.0, trains_teacher=False):
            return (logits_s - logits_t.detach()).square().sum()

        def statistics(self, out, targets):
            return {"rate": out.logits[:, 0].float().exp(), "true": targets.values, "known": targets.known}

        def scores(self, s):
            rate, y = s["rate"][s["known"].bool()], s["true"][s["known"].bool()]
            deviance = 2 * (torch.xlogy(y, y / rate) - y + rate).mean()
            return {"deviance": float(deviance), "mean_gap": float((rate - y).abs().mean())}

        def predictions(self, logits):
            return logits.float().exp()

        def answers(self, logits):
            return [{"rate": rate} for (rate,) in self.predictions(logits).tolist()]

        @classmethod
        def label(cls, cell):
            return int(cell)

        @classmethod
        def names_in(cls, labels, column):
            return (column,)

        @classmethod
        def targets_of(cls, labels, names):
            values = torch.tensor([0.0 if label is None else float(label) for label in labels])
            return Targets(values, torch.tensor([label is not None for label in labels]))
"""


def text(i: int) -> str:
    return f"the {COLOURS[i // 3 % 3]} {ANIMALS[i % 3]} sees a {COLOURS[i // 9 % 3]}"


def recipe(folder: Path, bert: Path, problem: Any, label: Any, **training: Any) -> Recipe:
    """Of a table whose labels are ``label(i)``, and a bank that knows animal and colours."""
    import torch

    rows = [{"id": i, "text": text(i), "label": label(i)} for i in range(N)]
    (folder / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    i = torch.arange(N)
    known = torch.cat([torch.eye(3)[k] for k in (i % 3, i // 3 % 3, i // 9 % 3)], dim=1)
    Bank.from_arrays(folder / "bank", keys=list(range(N)), features=known)
    return Recipe.from_dict({
        "data": {"name": "texts", "config": {"path": str(folder / "texts.jsonl"), "problem": problem}},
        "teacher": {"bank": str(folder / "bank")},
        "student": {"model": f"hf:{bert}", "pooling": "mean", "max_length": 12},
        "method": {"name": "armada", "config": {"width": 16}},
        "training": {
            "max_steps": 80, "n_labelled": 8, "n_unlabelled": 8, "learning_rate": 1e-2, "report_to": "none", **training,
        },
        "output_dir": str(folder / "run"),
    })  # fmt: skip


def asked(folder: Path, capsys: pytest.CaptureFixture[str], words: str) -> tuple[str, dict[str, Any]]:
    """What ``limbeck predict`` prints of a text, and the same as JSON."""
    path = folder / "asked.csv"
    path.write_text(f"text\n{words}\n", encoding="utf-8")
    student = str(folder / "run" / "student")
    capsys.readouterr()
    assert main(["predict", student, str(path)]) == 0
    line = capsys.readouterr().out.strip()
    assert main(["predict", student, str(path), "--json"]) == 0
    return line.removeprefix(f"{path}, line 2  "), json.loads(capsys.readouterr().out)[0]


def test_several_labels(tmp_path: Path, word_bert: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = recipe(
        tmp_path, word_bert, "multilabel", lambda i: f"{ANIMALS[i % 3]}|{COLOURS[i // 3 % 3]}", max_steps=200
    )
    result = distill(made)
    assert result.task.problem.metric.name == "micro_f1"
    assert result.scores["test"] > 0.85
    assert set(load_exported(tmp_path / "run" / "student").class_names) == {*ANIMALS, *COLOURS}
    assert "Micro F1" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    line, answer = asked(tmp_path, capsys, text(4))
    assert set(answer["classes"]) == {"dog", "blue"}
    assert line.startswith(" + ".join(answer["classes"]))
    card = (tmp_path / "run" / "student" / "README.md").read_text(encoding="utf-8")
    assert "finds any of 6 classes" in card
    assert ".float().sigmoid()" in card


@pytest.mark.full
def test_a_metric_whose_least_value_is_best(
    tmp_path: Path, word_bert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    problem = {"kind": "regression", "decides": "rmse"}
    made = recipe(tmp_path, word_bert, problem, lambda i: i % 3 + 0.5 * (i // 3 % 3), max_steps=150)
    result = distill(made)
    assert result.task.problem.metric.name == "rmse"
    assert result.scores["test"] < 0.4  # the best constant has 0.9
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "RMSE" in report
    line, answer = asked(tmp_path, capsys, text(2 + 6))
    assert answer["value"] == pytest.approx(3.0, abs=0.6)
    assert line == f"{answer['value']:.4g}"


def test_a_problem_of_another_package(
    tmp_path: Path, word_bert: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "site", monkeypatch, "bird_counts", COUNTS, {"limbeck.problems:counts": "Counts"})
    made = recipe(tmp_path, word_bert, {"kind": "counts", "decides": "mean_gap"}, lambda i: 2 * (i % 3))
    result = distill(made)
    assert result.task.problem.metric.name == "mean_gap"
    assert result.scores["test"] < 0.8  # the best constant has 1.33
    assert "mean_gap" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    exported = load_exported(tmp_path / "run" / "student")
    assert exported.problem.kind == "counts"
    line, answer = asked(tmp_path, capsys, text(2))
    assert answer["rate"] == pytest.approx(4, abs=1.5)
    assert json.loads(line) == {"rate": answer["rate"]}
