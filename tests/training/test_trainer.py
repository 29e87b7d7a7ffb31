"""What the trainer refuses before the first step, what it scores, and that what it trains learns."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from limbeck.banks.bank import Bank
from limbeck.data.base import Examples
from limbeck.errors import ConfigError, DataError, LinkError, MissingKeysError, MissingSignalError
from limbeck.methods.registry import plan_method
from limbeck.signals.classes import UNLABELLED
from limbeck.signals.links import Paired
from limbeck.training.arguments import DistillationArguments
from limbeck.training.collator import DistillationCollator, LinkedTeacher
from limbeck.training.streams import check_links
from limbeck.training.teacher_reading import check_signals


def test_a_run_learns(toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    everything = toy.examples(n_labelled=toy.N)
    run = toy.trainer("kd", tmp_path, bank, validation=everything, max_steps=100)
    before = run.evaluate()
    run.train()
    after = run.evaluate()
    assert after["eval_accuracy"] > 0.9 > before["eval_accuracy"]
    assert after["eval_loss"] < before["eval_loss"]


def test_the_ema_student_is_the_one_that_is_scored(toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    run = toy.trainer("kd", tmp_path, bank, ema=True, net=toy.noisy_net)
    run.train()
    made, rows = run.model, toy.examples()
    made.eval()
    assert made.scored is made.ema.student
    logits = made(inputs=rows.inputs)["logits"]
    assert torch.equal(logits, made.ema.student(rows.inputs).logits)
    assert not torch.equal(logits, made.student(rows.inputs).logits)


def test_unlabelled_rows_do_not_count_in_accuracy(toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    known, both = toy.examples(12, 12), toy.examples(40, 12)
    run = toy.trainer("kd", tmp_path, bank, validation=known)
    assert (
        run.evaluate()["eval_accuracy"]
        == toy.trainer("kd", tmp_path, bank, validation=both).evaluate()["eval_accuracy"]
    )


@pytest.mark.parametrize("method", ["kd", "fitnets", "feature_ot", "bagkd"])
def test_no_labels_at_all(method: str, toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    """Supervision transfer: everything comes from the teacher."""
    link = "bagged" if method == "bagkd" else "paired"
    run = toy.trainer(method, tmp_path, bank, link=link, rows=toy.examples(n_labelled=0), max_steps=5)
    start = toy.weights(run)
    run.train()
    end = toy.weights(run)
    assert all(torch.isfinite(value).all() for value in end.values())
    assert any(not torch.equal(start[name], end[name]) for name in end)


def test_nothing_to_train_on(toy: ModuleType, tmp_path: Path) -> None:
    run = toy.trainer("supervised", tmp_path, None, rows=toy.examples(n_labelled=0))
    with pytest.raises(ConfigError, match="There is nothing to train on: this data has no labelled rows"):
        run.train()


def test_a_learning_rate_of_the_methods_own_parts(toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    """One more group, under the same schedule; the student's step is not another."""
    usual, own, none = (
        toy.trainer("armada", tmp_path / name, bank, max_steps=4, lr_scheduler_type="linear", **more)
        for name, more in {
            "usual": {},
            "own": {"method_learning_rate": 0.02},
            "none": {"method_learning_rate": 0.0},
        }.items()
    )
    before = toy.weights(none)
    assert len(usual.create_optimizer().param_groups) == 2
    parts = {id(value) for value in own.model.method.parameters()}
    for group in own.create_optimizer().param_groups:
        inside = {id(value) in parts for value in group["params"]}
        assert len(inside) == 1
        assert group["lr"] == (0.02 if inside == {True} else own.args.learning_rate)
    assert {group["weight_decay"] for group in own.optimizer.param_groups} == {0.0, own.args.weight_decay}
    own.train()
    none.train()
    ends = [group["lr"] / group["initial_lr"] for group in own.optimizer.param_groups]
    assert max(ends) == min(ends) < 1
    moved = {name for name, value in toy.weights(none).items() if not torch.equal(value, before[name])}
    assert moved
    assert not any(name.startswith("method.") for name in moved)


@pytest.mark.parametrize(("on", "spared"), [("weights", True), ("all", False)])
def test_weight_decay(on: str, spared: bool, toy: ModuleType, tmp_path: Path) -> None:
    run = toy.trainer("supervised", tmp_path, None, net=toy.noisy_net, weight_decay_on=on)
    decayed = set(run.get_decay_parameter_names(run.model))
    assert "student.model.0.weight" in decayed
    assert ("student.model.0.bias" in decayed) is not spared
    assert ("student.model.1.weight" in decayed) is not spared  # BatchNorm


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"max_steps": 0}, r"training.max_steps must lie in \[1, "),
        ({"n_labelled": -1}, r"training.n_labelled must lie in \[0, .*; it is -1"),
        ({"n_bags": 0}, r"training.n_bags must lie in \[1, .*; it is 0"),
        ({"ema_decay": 1.0}, r"training.ema_decay must lie in \[0, 1\); it is 1.0"),
    ],
)
def test_arguments_out_of_range(values: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        DistillationArguments(output_dir=str(tmp_path), **values)


# ---- capability and link ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "signals", "access", "words"),
    [
        (
            "kd",
            {"features"},
            "features",
            "'kd' needs the teacher's 'logits', .* holds only features .*'features'",
        ),
        ("fitnets", {"logits"}, "logits", "'fitnets' needs the teacher's 'features'"),
        ("ucmkd", {"features", "logits"}, "logits", "'head', .* access level 'weights' gives it"),
        ("bagkd", set(), None, "holds only nothing .*'unknown'"),
    ],
)
def test_a_missing_signal(method: str, signals: set[str], access: str | None, words: str) -> None:
    with pytest.raises(MissingSignalError, match=words):
        check_signals(method, plan_method(method).declared.needs, frozenset(signals), access)


def test_log_probs_do_for_logits() -> None:
    check_signals("kd", {"logits"}, frozenset({"log_probs"}), "logits")


def test_a_link_that_the_method_cannot_use(toy: ModuleType, bank: Bank) -> None:
    collate = toy.collator("bagged", bank)
    with pytest.raises(
        LinkError, match=r"'kd' works with data linked as by_class, paired, partly_paired; .* 'bagged'"
    ):
        check_links("kd", plan_method("kd").declared, collate)
    check_links("bagkd", plan_method("bagkd").declared, collate)
    check_links("supervised", plan_method("supervised").declared, collate)


def linked(toy: ModuleType, bank: Bank, teacher_of: dict[str, str]) -> DistillationCollator:
    return DistillationCollator(
        toy.examples(), {"teacher": LinkedTeacher(bank, Paired(teacher_of))}, views={}, seed=0
    )


def test_keys_that_the_bank_or_the_data_lack(toy: ModuleType, bank: Bank) -> None:
    declared = plan_method("kd").declared
    with pytest.raises(MissingKeysError, match="t99"):
        check_links("kd", declared, linked(toy, bank, {"s20": "t20", "s21": "t99"}))
    with pytest.raises(DataError, match="student keys that the data does not have: 'x1'"):
        check_links("kd", declared, linked(toy, bank, {"s20": "t20", "x1": "t21"}))


def test_data_of_one_class_only(toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    """A class absent from the labelled rows is no error: the teacher may know it."""
    rows = toy.examples()
    labels = torch.where(rows.labels == 1, rows.labels, UNLABELLED)
    run = toy.trainer(
        "kd",
        tmp_path,
        bank,
        rows=Examples.classified(rows.inputs, rows.keys, labels, rows.class_names),
        max_steps=2,
    )
    run.train()
    assert run.state.global_step == 2


@pytest.mark.parametrize("what", ["pair_index", "group_s"])
@pytest.mark.parametrize("n", [1, 99])
def test_teacher_rows_of_another_number_of_student_rows(
    what: str, n: int, toy: ModuleType, bank: Bank, tmp_path: Path
) -> None:
    run = toy.trainer("kd", tmp_path, bank, max_steps=1)
    batch = next(iter(run.get_train_dataloader()))
    batch["teachers"]["teacher"][what] = torch.full((n,), -1)
    given = {name: value for name, value in batch.items() if name not in ("keys", "counts")}
    with pytest.raises(
        DataError, match=rf"{what} of 'teacher' has the shape \[{n}\] beside 13 student rows; give"
    ):
        run.model.train()(**given)
