"""What makes a row of the list of systems work, on data of a few kilobytes: it runs from files to a shipped student
that predicts, and its defining terms move the student, which a run with their weights at 0 does not show."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from raw_files import write_csv, write_grating

from limbeck import distill as distilling
from limbeck.banks.bank import Bank
from limbeck.fit import RunResult
from limbeck.predict import predict_files
from limbeck.recipes import Recipe
from limbeck.runner import run

NAMES = ("cat", "dog", "owl")
N, WIDTH, CHANNELS, SIDE = 72, 7, 5, 4
COLUMNS = ("height", "weight", "age", "hue")
# an eighth of the rows is labelled, so that the student learns from its teacher or not at all
TRAINING = {"max_steps": 24, "learning_rate": 2e-2, "n_labelled": 6, "n_unlabelled": 24, "logging_steps": 8}
TRAINING |= {"save_strategy": "no", "eval_strategy": "no"}


@dataclass(frozen=True)
class Ran:
    """A run, the terms that it logged last, unweighted, and their shares of the gradient at the student's outputs."""

    result: RunResult
    terms: dict[str, float]
    shares: dict[str, float]


@dataclass(frozen=True)
class Evidence:
    """Files of one small world: a table and pictures of the same animals, and a bank of what a teacher says of them."""

    root: Path

    @cached_property
    def live(self) -> dict[str, Any]:
        """A teacher of the student's modality that is asked in every step; it was trained and shipped before."""
        recipe = self.recipe(
            self.root / "teacher", "supervised", student="picture", training={"max_steps": 40}
        )
        folder = distilling.distill(recipe).folder / "student"
        spec = {"live": "model", "view": "same", "init": str(folder)}
        return {"teacher": {**spec, "model": "small_conv_net", "config": {"channels": [4, 8]}}}

    def recipe(
        self, folder: Path, method: str, config: Mapping[str, Any] | None = None, **changed: Any
    ) -> Recipe:
        """Of a student of the table (``student="picture"``: of the pictures; ``model``: the section ``student``)."""
        picture = changed.pop("student", "table") == "picture"
        source = {"source": str(self.root / "pictures.csv"), "modality": "image", "size": [16, 16]}
        if not picture:
            source = {"source": str(self.root / "table.csv"), "modality": "table"}
        values: dict[str, Any] = {
            "data": {"name": "own", "config": {"student": source, "teacher": None}},
            "teacher": {"bank": str(self.root / "bank"), "link": "paired"},
            "student": {"model": "table_encoder"},
            "method": {"name": method, "config": dict(config or {})},
            "training": {**TRAINING, **changed.pop("training", {})},
            "output_dir": str(folder),
        }
        if picture:
            values["student"] = {"model": "small_conv_net", "config": {"channels": [4, 8]}}
        if "model" in changed:
            values["student"] = changed.pop("model")
        return Recipe.from_dict(values | changed)

    def ran(self, folder: Path, method: str, config: Mapping[str, Any] | None = None, **changed: Any) -> Ran:
        """Trained, not shipped."""
        return logged(run(self.recipe(folder, method, config, **changed), show_progress=False))

    def holds(
        self,
        folder: Path,
        method: str,
        *terms: str,
        config: Mapping[str, Any] | None = None,
        student: str = "table",
        **changed: Any,
    ) -> Ran:
        """Assert all of it for a method (or preset) and its defining terms; the run, for more."""
        recipe = self.recipe(folder / "on", method, config, student=student, **changed)
        on = logged(distilling.distill(recipe))
        zeroed = {**(config or {}), **{f"weight_{term}": 0.0 for term in terms}}
        off = self.ran(folder / "off", method, zeroed, student=student, **changed)
        for term in terms:
            assert on.terms[term] < off.terms[term], f"training by the term {term} does not lower it"
        assert moved(on.result, off.result), "the defining terms change nothing"
        self.ships(on.result, student)
        return on

    def ships(self, result: RunResult, student: str = "table") -> None:
        """The folder holds the student alone, and it reads raw files."""
        kept = {name for name, _ in result.student.named_parameters()}
        assert not any("method" in name for name in kept)
        raw = self.root / "table.csv" if student == "table" else self.root / "pictures" / "cat0.png"
        rows = predict_files(result.folder / "student", [raw])
        assert len(rows) == (N if student == "table" else 1)
        for row in rows:
            assert set(row["probabilities"]) == set(NAMES)
            assert abs(sum(row["probabilities"].values()) - 1) < 1e-5


def logged(result: RunResult) -> Ran:
    lines = [json.loads(line) for line in (result.folder / "log.jsonl").read_text().splitlines()]
    last = [line for line in lines if "loss" in line][-1]

    def of(kind: str) -> dict[str, float]:
        return {name.removeprefix(kind): value for name, value in last.items() if name.startswith(kind)}

    return Ran(result, of("term/"), of("gradient_share/"))


def moved(a: RunResult, b: RunResult) -> bool:
    ours, theirs = a.student.state_dict(), b.student.state_dict()
    return any(not torch.equal(value, theirs[name]) for name, value in ours.items())


def written(root: Path) -> Evidence:
    """The files."""
    draw = np.random.default_rng(0)
    classes = np.arange(N) % len(NAMES)
    keys = [f"{NAMES[c]}{i // len(NAMES)}" for i, c in enumerate(classes)]
    told = [NAMES[c] if i % 4 == 0 else "" for i, c in enumerate(classes)]
    numbers = 2 * draw.standard_normal((len(NAMES), len(COLUMNS)))[classes] + draw.standard_normal(
        (N, len(COLUMNS))
    )
    rows = [(k, t, *map(float, x.round(4))) for k, t, x in zip(keys, told, numbers)]
    write_csv(root / "table.csv", ("key", "label", *COLUMNS), rows)
    for key, c, i in zip(keys, classes, range(N)):
        write_grating(root / "pictures" / f"{key}.png", int(c), seed=i)
    write_csv(
        root / "pictures.csv",
        ("key", "label", "file"),
        [(k, t, f"pictures/{k}.png") for k, t in zip(keys, told)],
    )
    Bank.from_arrays(
        root / "bank", keys=keys, labels=torch.from_numpy(classes), class_names=NAMES, **said(classes, draw)
    )
    return Evidence(root)


def said(classes: np.ndarray, draw: np.random.Generator) -> dict[str, Any]:
    """What the teacher says: features around class means, maps whose mean over positions they are not, and a head."""

    def around(*shape: int) -> torch.Tensor:
        means = draw.standard_normal((len(NAMES), *shape))
        return torch.from_numpy((means[classes] + 0.3 * draw.standard_normal((N, *shape))).astype("float32"))

    maps = around(WIDTH, SIDE, SIDE)
    head = torch.from_numpy(draw.standard_normal((len(NAMES), WIDTH)).astype("float32"))
    states = {"maps": maps, "tokens": around(SIDE * SIDE, WIDTH), "seen": maps[:, 0].abs()}
    logits = 3 * torch.eye(len(NAMES))[classes] + 0.5 * around(len(NAMES))
    return {"features": around(WIDTH), "logits": logits, "hidden_states": states, "head": (head, None)}
