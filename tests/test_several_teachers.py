"""Teachers by name: each with its own bank or model, link and control; and a link of a package's own."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from digits import tiny_task
from torch import Tensor, nn

from limbeck.banks import Bank
from limbeck.data.task import TeacherSide
from limbeck.errors import ConfigError, LinkError, MissingSignalError, UnknownNameError
from limbeck.functional import distillation_kl
from limbeck.methods import registry
from limbeck.methods.base import Method, Settings, StepBatch, Weight, weight
from limbeck.recipes import MethodSpec, Recipe, StudentSpec, TeacherSpec
from limbeck.runner import run
from limbeck.signals import Link, TeacherRows
from limbeck.teachers import LiveTeacher, ModuleTeacher

STUDENT = StudentSpec("table_encoder", {"n_columns": 6})
TRAINING = {"max_steps": 8, "n_labelled": 6, "n_unlabelled": 8, "logging_steps": 2, "use_cpu": True}


@dataclass
class BothConfig(Settings):
    weight_supervised: Weight = weight(1.0)
    weight_near: Weight = weight(1.0)
    weight_far: Weight = weight(1.0)


class Both(Method):
    """Two teachers, each matched over its own link."""

    needs = {"logits"}
    links = {"paired", "partly_paired", "by_class", "next_to"}
    units = {"supervised": "labelled", "near": "pair:near", "far": "pair:far"}
    Config = BothConfig

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        terms = {"supervised": b.label_loss()}
        for name, teacher in b.teachers.items():
            rows, said = teacher.paired()
            terms[name] = distillation_kl(b.student.logits[rows], said.log_predictions(), reduction="sum")
        return terms


@pytest.fixture(autouse=True)
def _both_is_a_method(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("of_the_test")
    module.Both = Both  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "of_the_test", module)
    monkeypatch.setitem(registry.METHODS, "both", "of_the_test:Both")


def teacher() -> ModuleTeacher:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    return ModuleTeacher(net, class_names=tiny_task().class_names)


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank.build(tmp_path / "bank", teacher(), tiny_task().teacher.splits["link"], batch_size=16)


def recipe(folder: Path, made: Bank, control: str = "none", **near: Any) -> Recipe:
    own = TeacherSpec(**{"bank": str(made.path), **near})
    return Recipe(
        student=STUDENT,
        method=MethodSpec("both"),
        teachers={"near": own, "far": TeacherSpec(bank=str(made.path), link="by_class")},
        control=control,
        training=TRAINING,
        output_dir=str(folder),
    )


def terms(folder: Path) -> list[dict[str, float]]:
    lines = (folder / "log.jsonl").read_text().splitlines()
    logs = [entry for line in lines if "loss" in (entry := json.loads(line))]
    return [{k: v for k, v in entry.items() if k.startswith("term/")} for entry in logs]


def test_two_banks_over_two_links_and_one_of_them_shuffled(bank: Bank, tmp_path: Path) -> None:
    task = tiny_task()
    found = {}
    for control in ("none", "shuffled:near", "shuffled:far"):
        result = run(recipe(tmp_path / control, bank, control), task=task, show_progress=False)
        assert result.links == {"near": "paired", "far": "by_class"}
        found[control] = terms(tmp_path / control)
    first = {control: logs[0] for control, logs in found.items()}
    assert set(first["none"]) == {"term/supervised", "term/near", "term/far"}
    assert all(value > 0 for value in first["none"].values())
    for control, moved, kept in (("shuffled:near", "near", "far"), ("shuffled:far", "far", "near")):
        # the first steps: the same student meets other answers over the broken link alone
        assert first[control][f"term/{moved}"] != pytest.approx(first["none"][f"term/{moved}"], rel=1e-3)
        assert first[control][f"term/{kept}"] == pytest.approx(first["none"][f"term/{kept}"], rel=0.05)


def test_a_bank_replaced_by_the_live_model_gives_the_same_losses(bank: Bank, tmp_path: Path) -> None:
    task = tiny_task()
    run(recipe(tmp_path / "banked", bank), task=task, show_progress=False)
    live = LiveTeacher(teacher(), task.teacher.splits["link"])
    result = run(recipe(tmp_path / "live", bank), task=task, banks={"near": live}, show_progress=False)
    for mine, other in zip(terms(tmp_path / "live"), terms(tmp_path / "banked"), strict=True):
        assert mine == pytest.approx(other, abs=1e-5)
    saved = [name for name in result.student.state_dict() if "teacher" in name]
    assert saved == []  # the live teacher is nowhere in the student


@pytest.mark.full
def test_a_live_teacher_of_the_recipe_shuffled_is_the_bank_shuffled(bank: Bank, tmp_path: Path) -> None:
    """By recipe alone: a reference network, untrained, asked in every step or once into a bank."""
    model = {"model": "table_encoder", "config": {"n_columns": 4}, "train": False}
    made = {
        name: Recipe(
            student=STUDENT, method=MethodSpec("kd"), teacher=TeacherSpec(**model, **how), control=control,
            training=TRAINING, output_dir=str(tmp_path / f"{name}-{control}"),
        )
        for control in ("none", "shuffled")
        for name, how in (("banked", {}), ("live", {"live": "model"}))
        for name in (f"{name} {control}",)
    }  # fmt: skip
    logs = {}
    for name, settings in made.items():
        run(settings, task=tiny_task(), show_progress=False)
        logs[name] = terms(Path(settings.output_dir))
    for control in ("none", "shuffled"):
        for mine, other in zip(logs[f"live {control}"], logs[f"banked {control}"], strict=True):
            assert mine == pytest.approx(other, abs=1e-5)
    assert logs["live none"] != logs["live shuffled"]


def test_a_live_teacher_may_see_what_the_student_sees(tmp_path: Path) -> None:
    """``view: same``: every row of the batch has an answer, whatever the link."""
    task = tiny_task()
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    live = LiveTeacher(ModuleTeacher(net, class_names=task.class_names), task.splits["train"], view="same")
    settings = Recipe(
        student=STUDENT,
        method=MethodSpec("kd", {"temperature": 1.0}),
        training=TRAINING,
        output_dir=str(tmp_path),
    )
    result = run(settings, task=task, bank=live, show_progress=False)
    assert all(entry["term/distillation"] > 0 for entry in terms(tmp_path))
    assert result.links == {"teacher": "paired"}


# ---- a link of one's own ------------------------------------------------------------------------------------


class NextTo(Link):
    """Each row goes with the teacher row whose number is one higher: a link in one class."""

    name: ClassVar[str] = "next_to"
    gives: ClassVar[str] = "its answer for the sample beside"

    def __init__(self, number: dict[str, int]) -> None:
        self.number = number

    def second_stream(self, keys: Sequence[Any], known: Tensor) -> list[list[int]]:
        return [[row] for row in torch.nonzero(~known).squeeze(1).tolist()]

    def rows(self, source, keys, classes, draws, *, seed, signals=None) -> TeacherRows:
        picks = np.array([(self.number[key] + 1) % len(source) for key in keys])
        return TeacherRows.of(source.take(picks, signals), pair_index=torch.arange(len(keys)), n=len(keys))

    def groups(self, source) -> np.ndarray:
        return np.arange(len(source))


@pytest.mark.parametrize("control", ["none", "shuffled"])
def test_a_new_link_is_one_class(bank: Bank, tmp_path: Path, control: str) -> None:
    task = tiny_task()
    number = {key: i for i, key in enumerate(task.splits["train"].keys)}
    task = replace(task, teachers={"near": TeacherSide(task.teacher.splits, NextTo(number))})
    settings = recipe(tmp_path / "out", bank, "none" if control == "none" else "shuffled:near")
    result = run(settings, task=task, banks={"near": bank, "far": bank}, show_progress=False)
    assert result.links == {"near": "next_to", "far": "by_class"}
    assert all(entry["term/near"] > 0 for entry in terms(tmp_path / "out"))


# ---- recipes ------------------------------------------------------------------------------------------------


def test_a_recipe_with_teachers_round_trips(bank: Bank, tmp_path: Path) -> None:
    made = recipe(tmp_path / "out", bank, "shuffled:far")
    made.save(tmp_path / "recipe.yaml")
    again = Recipe.load(tmp_path / "recipe.yaml")
    assert again.teachers == made.teachers
    assert again.teacher_specs().keys() == {"near", "far"}
    assert (again.control_of("near"), again.control_of("far")) == ("none", "shuffled")
    short = Recipe.from_dict({"teacher": {"bank": "b"}, "control": "random"})
    assert (short.teacher_specs()["teacher"].bank, short.control_of("teacher")) == ("b", "random")


@pytest.mark.parametrize(
    ("changed", "error", "words"),
    [
        ({"control": "shuffled"}, ConfigError, "write shuffled:near, or another of near, far"),
        ({"control": "shuffled:nere"}, UnknownNameError, "names no teacher; did you mean 'near'"),
        (
            {"control": "shufled:near"},
            UnknownNameError,
            "There is no control 'shufled'; did you mean 'shuffled'",
        ),
        ({"teacher": TeacherSpec(bank="b")}, ConfigError, "both teacher and teachers"),
    ],
)
def test_wrong_recipes(
    changed: dict[str, Any], error: type[Exception], words: str, bank: Bank, tmp_path: Path
) -> None:
    with pytest.raises(error, match=words):
        run(replace(recipe(tmp_path, bank), **changed), task=tiny_task(), show_progress=False)


def test_teachers_that_nothing_links(bank: Bank, tmp_path: Path) -> None:
    task = tiny_task()
    two = replace(task, teachers={"one": task.teacher, "two": task.teacher})
    with pytest.raises(
        LinkError, match=r"Nothing links the teacher 'near' .* know 'one', 'two'; .*teachers\.near\.link"
    ):
        run(recipe(tmp_path, bank), task=two, show_progress=False)
    with pytest.raises(LinkError, match="keys that both sides share; there are none"):
        run(recipe(tmp_path, bank, link="paired"), task=task, show_progress=False)


def test_what_a_live_teacher_cannot(bank: Bank, tmp_path: Path) -> None:
    task = tiny_task()
    live = LiveTeacher(teacher(), task.teacher.splits["link"])
    with pytest.raises(ConfigError, match=r"'random' needs a bank: .* take 'shuffled'"):
        run(recipe(tmp_path, bank, "random:near"), task=task, banks={"near": live}, show_progress=False)
    embedding = LiveTeacher(ModuleTeacher(nn.Linear(4, 5), gives="embedding"), task.teacher.splits["link"])
    with pytest.raises(MissingSignalError, match="'both' needs the teacher's 'logits'"):
        run(recipe(tmp_path, bank), task=task, banks={"near": embedding}, show_progress=False)
    with pytest.raises(ConfigError, match="a bank or live, not both"):
        run(recipe(tmp_path, bank, live="model"), task=task, show_progress=False)
    with pytest.raises(ConfigError, match=r"'model' .* or 'hf:PATH', not 'clip'"):
        run(recipe(tmp_path, bank, bank=None, live="clip"), task=task, show_progress=False)


def test_a_paired_link_by_equal_keys(tmp_path: Path) -> None:
    task = tiny_task()
    keys = task.splits["train"].keys
    own = Bank.from_arrays(
        tmp_path / "own",
        keys=keys[6:],
        logits=torch.eye(3)[torch.arange(54) % 3],
        class_names=task.class_names,
    )
    settings = Recipe(
        student=STUDENT, method=MethodSpec("kd"), teacher=TeacherSpec(bank=str(own.path), link="paired"),
        training=TRAINING, output_dir=str(tmp_path / "out"),
    )  # fmt: skip
    result = run(settings, task=replace(task, teachers={}), show_progress=False)
    assert result.links == {"teacher": "partly_paired"}  # six student rows have no teacher row
