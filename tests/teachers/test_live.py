"""A live teacher answers as the bank that was made of it, and trains the same student."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import toy
from torch import nn

from limbeck.banks.bank import Bank
from limbeck.banks.controls import moved_rows, shuffled
from limbeck.data.base import Examples
from limbeck.errors import ConfigError, MissingKeysError
from limbeck.signals.links import Paired
from limbeck.signals.output import TeacherOutput
from limbeck.signals.ragged import Ragged
from limbeck.teachers.live import InClasses, LiveTeacher, OfNoRows, Samples
from limbeck.teachers.module import ModuleTeacher

CLASSES = ("ant", "bee", "cat")


def make(n: int = 48) -> tuple[ModuleTeacher, Examples]:
    torch.manual_seed(0)
    teacher = ModuleTeacher(nn.Sequential(nn.Linear(4, 7), nn.Tanh(), nn.Linear(7, 3)), class_names=CLASSES)
    labels = torch.arange(n) % 3
    return teacher, Examples.classified(
        {"x": torch.randn(n, 4)}, tuple(f"t{i}" for i in range(n)), labels, CLASSES
    )


@pytest.fixture
def both(tmp_path: Path) -> tuple[LiveTeacher, Bank]:
    teacher, rows = make()
    return LiveTeacher(teacher, rows), Bank.build(tmp_path / "bank", teacher, rows, batch_size=16)


def test_its_samples_are_found_as_the_rows_of_a_bank(both: tuple[LiveTeacher, Bank]) -> None:
    live, bank = both
    samples, keys = live.samples, ["t30", "t2", "t2", *(f"t{i}" for i in range(10))]
    found = live.teacher(samples.lookup(keys).inputs)
    for name in ("features", "logits"):
        assert torch.allclose(getattr(found, name), getattr(bank.lookup(keys), name), atol=1e-6)
    assert torch.equal(samples.lookup(keys).labels, bank.lookup(keys).labels)
    assert (tuple(samples.keys), samples.class_names, samples.views) == (
        bank.keys,
        bank.class_names,
        bank.views,
    )
    assert all((a == b).all() for a, b in zip(samples.class_rows(), bank.class_rows()))
    assert len(live) == len(bank) == 48
    assert live.probe["head"][0].shape == (3, 7)
    again = pickle.loads(pickle.dumps(samples))  # to the workers goes no model
    assert torch.equal(again.lookup(["t9"]).inputs["x"], samples.lookup(["t9"]).inputs["x"])


def test_the_shuffled_control_moves_its_samples_as_a_bank_s_signals(both: tuple[LiveTeacher, Bank]) -> None:
    live, bank = both
    link = Paired({f"s{i}": f"t{i}" for i in range(48)})
    moved = Samples(live.samples.examples, moved_rows(live.samples, link, seed=1))
    said = live.teacher(moved.lookup(["t0", "t7"]).inputs)
    assert torch.allclose(said.logits, shuffled(bank, link, seed=1).lookup(["t0", "t7"]).logits, atol=1e-6)


def test_classes_in_the_order_of_the_student(both: tuple[LiveTeacher, Bank]) -> None:
    live, bank = both
    names = ("cat", "ant", "bee")
    teacher = InClasses(live.teacher, [2, 0, 1])
    said, kept = teacher(live.samples.lookup(["t3"]).inputs), bank.with_class_names(names).lookup(["t3"])
    assert torch.allclose(said.logits, kept.logits, atol=1e-6)
    assert torch.equal(said.head[0], kept.head[0])
    assert teacher.access == "weights"


def test_of_no_rows_it_says_nothing_in_the_shapes_of_what_it_says(both: tuple[LiveTeacher, Bank]) -> None:
    class Picky(ModuleTeacher):
        def __call__(self, inputs: Any) -> TeacherOutput:
            if len(inputs["x"]) == 0:
                raise IndexError("as tokenizers do")
            said = super().__call__(inputs)
            kept = Ragged(said.logits.new_ones(3 * len(said), 2), torch.full((len(said),), 3))
            return replace(said, hidden_states={"answer": kept})

    teacher, rows = make()
    live = LiveTeacher(Picky(teacher.model, class_names=CLASSES), rows)
    asked = OfNoRows(live.teacher, live.probe)
    nothing = InClasses(asked, [2, 0, 1])({"x": torch.zeros(0, 4)})
    assert (nothing.logits.shape, nothing.features.shape) == ((0, 3), (0, 7))
    assert (nothing.hidden_states["answer"].values.shape, len(nothing)) == ((0, 2), 0)
    some = rows.rows([1, 2])
    assert torch.equal(asked(some).logits, live.teacher(some).logits)
    assert asked.access == "weights"
    assert torch.equal(InClasses(asked, [2, 0, 1])({"x": torch.zeros(0, 4)}).head[0], nothing.head[0])


def test_bad_input(both: tuple[LiveTeacher, Bank]) -> None:
    teacher, rows = make()
    with pytest.raises(MissingKeysError, match="t99"):
        both[0].samples.lookup(["t1", "t99"])
    with pytest.raises(ConfigError, match=r"view 'teacher' .* or 'same', not 'student'"):
        LiveTeacher(teacher, rows, view="student")

    class Paid:
        access, class_names, head = "text", None, None

        def __call__(self, inputs: Any) -> Any: ...
        def fingerprint(self) -> dict[str, str]: ...
        def collect(self, rows: Any, log: Any) -> Any: ...

    with pytest.raises(ConfigError, match=r"A Paid answers over a network .*limbeck bank build"):
        LiveTeacher(Paid(), rows)


@pytest.mark.parametrize(
    ("method", "link"),
    [
        ("kd", "paired"),
        pytest.param("feature_ot", "by_class", marks=pytest.mark.full),
        pytest.param("bagkd", "bagged", marks=pytest.mark.full),
    ],
)
def test_a_run_with_it_is_a_run_with_the_bank(
    method: str, link: str, both: tuple[LiveTeacher, Bank], tmp_path: Path
) -> None:
    weights = []
    for teacher in both:
        run = toy.trainer(method, tmp_path / type(teacher).__name__, teacher, link=link, double=True)
        run.train()
        weights.append(toy.weights(run))
    assert all(torch.allclose(weights[0][name], weights[1][name], atol=1e-5) for name in weights[0])
