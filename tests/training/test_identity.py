"""Which run a checkpoint belongs to: what differs is named, what does not matter may differ."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from limbeck.banks.bank import Bank
from limbeck.banks.controls import shuffled
from limbeck.data.base import Examples, texts
from limbeck.errors import CheckpointError
from limbeck.methods.registry import plan_method
from limbeck.methods.settings import config_told
from limbeck.problems.base import Targets
from limbeck.problems.regression import Regression
from limbeck.signals.links import ByClass, Paired, Unpaired
from limbeck.training.identity import (
    bank_digest,
    check_same_run,
    flat,
    layers_digest,
    length_note,
    link_digest,
    rows_digests,
    sampled_digest,
    weights_digest,
    without_places,
)

WHERE = Path("run/checkpoint-5")


def refused(found: dict[str, Any], now: dict[str, Any]) -> str:
    with pytest.raises(CheckpointError) as caught:
        check_same_run(WHERE, found, now)
    return str(caught.value)


def test_every_setting_that_differs_is_told() -> None:
    had = {"seed": 0, "control": "none", "data": {"name": "folders", "config": {"link": "paired"}}}
    now = {"seed": 1, "control": "none", "data": {"name": "folders", "config": {"labels_per_class": 5}}}
    said = refused({"settings": had}, {"settings": now})
    assert "was made with seed=0, this run has seed=1; " in said
    assert "made with no data.config.labels_per_class, this run has data.config.labels_per_class=5" in said
    assert "made with data.config.link='paired', this run has no data.config.link" in said
    assert "control" not in said
    assert said.endswith("start afresh in another output_dir.")


def test_many_differences_are_counted() -> None:
    said = refused({"settings": {f"a{i}": 0 for i in range(9)}}, {"settings": {f"a{i}": 1 for i in range(9)}})
    assert said.count("made with") == 5
    assert "and 4 more" in said


def test_digests_are_told_by_name_where_no_setting_explains_them() -> None:
    had = {"settings": {"seed": 0}, "digests": {"the bank": "a", "the link": "b"}}
    now = {"settings": {"seed": 0}, "digests": {"the bank": "c", "the link": "b"}}
    assert "run/checkpoint-5 differs from this run in the bank; resume" in refused(had, now)
    assert "bank" not in refused(had, now | {"settings": {"seed": 1}})


def test_the_same_run_passes() -> None:
    facts = {"settings": {"rate": 0.1, "config": {"x": (1, 2), "y": None}}, "digests": {"rows": "a"}}
    check_same_run(WHERE, {"settings": flat(facts["settings"]), "digests": {"rows": "a", "more": "b"}}, facts)


def test_a_place_is_no_setting(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "rows.csv").touch()
    one, two = ({"student": str(tmp_path / f / "rows.csv"), "link": "paired"} for f in ("one", "two"))
    assert without_places(one) == without_places(two)
    assert without_places({"model": f"hf:{tmp_path / 'one'}"}) == {"model": "hf:one"}
    assert without_places({"a": "nowhere/at/all", "b": ["x"], "c": 3}) == {
        "a": "nowhere/at/all",
        "b": ["x"],
        "c": 3,
    }


# ---- digests -------------------------------------------------------------------------------------------------


def test_rows_by_keys_labels_and_content(toy: ModuleType) -> None:
    rows = toy.examples()
    names = list(rows_digests("training", rows))
    assert names == [f"the {part} of the training rows" for part in ("keys", "labels", "content")]
    moved = {name: value.clone() for name, value in rows.inputs.items()}
    moved["x"][3, 1] += 1e-6
    changed = {
        0: replace(rows, keys=("other", *rows.keys[1:])),
        1: replace(rows, targets=rows.targets.rows(torch.arange(len(rows)).roll(1))),
        2: replace(rows, inputs=moved),
    }
    for place, others in changed.items():
        same = [
            a == b
            for a, b in zip(
                rows_digests("training", rows).values(), rows_digests("training", others).values()
            )
        ]
        assert same == [i != place for i in range(3)]


def test_class_names_targets_and_texts_count() -> None:
    def rows(inputs: Any = None, class_names: tuple[str, ...] = ("x", "y")) -> Examples:
        inputs = inputs or {"text": texts(["a", "b"])}
        return Examples.classified(inputs, (1, 2), torch.tensor([0, 1]), class_names)

    values = Targets(torch.tensor([0.5, 1.0]), torch.ones(2).bool())
    digests = [
        tuple(rows_digests("training", changed).values())
        for changed in (
            rows(),
            rows(class_names=("y", "x")),
            replace(rows(), targets=values, problem=Regression(("x", "y"))),
            rows({"text": texts(["a", "c"])}),
            rows({"words": texts(["a", "b"])}),
        )
    ]
    assert len(set(digests)) == len(digests)


def test_long_tensors_are_sampled_evenly() -> None:
    value = torch.arange(1000.0)
    assert sampled_digest(value, 10) == sampled_digest(value.clone(), 10)
    changed = value.clone()
    changed[300] = -1
    assert sampled_digest(value, 10) != sampled_digest(changed, 10)
    assert sampled_digest(value, 10) != sampled_digest(value[:900], 10)
    assert sampled_digest(value, 10) != sampled_digest(value.double(), 10)


def test_weights_and_layers() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU())
    before = weights_digest(net.state_dict())
    with torch.no_grad():
        net[0].bias[1] += 1e-3
    assert weights_digest(net.state_dict()) != before
    assert layers_digest(net) == layers_digest(torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU()))
    assert layers_digest(net) != layers_digest(torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh()))


def test_links() -> None:
    pairs = Paired({"a": "x", "b": "y"})
    assert link_digest(pairs) == link_digest(Paired({"b": "y", "a": "x"}))
    assert link_digest(pairs) != link_digest(Paired({"a": "y", "b": "x"}))
    assert link_digest(Unpaired()) != link_digest(ByClass())


def test_banks(toy: ModuleType, tmp_path: Path) -> None:
    one = toy.bank(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "moved")
    assert bank_digest(one) == bank_digest(Bank.open(tmp_path / "moved"))
    other = toy.bank(tmp_path / "other", logits=torch.eye(3)[torch.arange(toy.N) % 3])
    assert bank_digest(one) != bank_digest(other)
    pairing = toy.link_to("paired", toy.examples())
    assert bank_digest(one) != bank_digest(shuffled(one, pairing, 0))


# ---- the length of a run -------------------------------------------------------------------------------------


def note(step: int, had: int, now: int, **changed: Any) -> str | None:
    options = {"schedule": "linear", "warmup": 0.0, "ramp_end": 0.0, "where": WHERE} | changed
    return length_note(step, had, now, **options)


def test_a_run_made_longer_says_what_follows_its_length() -> None:
    assert note(10, 20, 20) is None
    assert "from step 10 of 20, to step 40: from there on max_steps=40 sets the learning rate, so" in str(
        note(10, 20, 40)
    )
    assert "sets the learning rate and the weights of the terms" in str(note(10, 20, 15, ramp_end=0.5))
    assert "sets the weights of the terms" in str(note(10, 20, 40, schedule="constant", ramp_end=0.5))
    assert "sets the learning rate" in str(note(10, 20, 40, schedule="constant_with_warmup", warmup=0.1))


@pytest.mark.parametrize("schedule", ["constant", "constant_with_warmup", "inverse_sqrt"])
def test_a_schedule_without_end_goes_on_as_if_it_had_been_longer(schedule: str) -> None:
    assert note(20, 20, 40, schedule=schedule) is None
    assert note(20, 20, 40, schedule=schedule, warmup=5) is None


def test_a_checkpoint_behind_the_end_is_refused() -> None:
    assert note(10, 20, 10) is None  # done already
    with pytest.raises(CheckpointError, match=r"at step 10, behind the end of this run \(max_steps=9\)"):
        note(10, 20, 9)


# ---- the trainer ---------------------------------------------------------------------------------------------

SAVING = {"save_strategy": "steps", "save_steps": 7, "max_steps": 14}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"seed": 4}, "seed=3, this run has seed=4"),
        (
            {"learning_rate": 1e-3},
            r"training\.learning_rate=0\.01, this run has training\.learning_rate=0\.001",
        ),
        ({"n_labelled": 6}, r"training\.n_labelled=5, this run has training\.n_labelled=6"),
        ({"gradient_accumulation_steps": 2}, r"training\.gradient_accumulation_steps=1"),
        ({"optim": "sgd"}, r"training\.optim='adamw_torch_fused', this run has training\.optim='sgd'"),
        ({"bf16": True}, r"training\.bf16=False, this run has training\.bf16=True"),
        ({"link": "by_class"}, "differs from this run in the link"),
        ({"validation": "other"}, "differs from this run in .* of the validation rows"),
        ({"rows": "other"}, "differs from this run in the content of the training rows"),
        ({"net": "relu"}, "differs from this run in the student's layers"),
    ],
)
def test_another_run_is_refused(
    changed: dict[str, Any], words: str, toy: ModuleType, bank: Bank, tmp_path: Path
) -> None:
    rows = toy.examples()
    others = {
        "validation": toy.examples(12, 12),
        "rows": replace(rows, inputs={"x": rows.inputs["x"] + 1.0}),
        "net": lambda: torch.nn.Sequential(
            torch.nn.Linear(toy.WIDTH, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)
        ),
    }
    changed = {name: others.get(name, value) for name, value in changed.items()}
    usual = {**SAVING, "validation": toy.examples(24, 24)}
    toy.trainer("kd", tmp_path, bank, **usual).train()
    with pytest.raises(CheckpointError, match=words):
        toy.trainer("kd", tmp_path, bank, **usual | changed).train(resume_from_checkpoint=True)


def test_another_bank_is_refused(toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    toy.trainer("kd", tmp_path, bank, **SAVING).train()
    other = toy.bank(tmp_path / "other", logits=torch.eye(3)[torch.arange(toy.N) % 3])
    with pytest.raises(CheckpointError, match="differs from this run in the bank"):
        toy.trainer("kd", tmp_path, other, **SAVING).train(resume_from_checkpoint=True)


def test_settings_that_change_nothing_may_differ_and_are_followed(
    toy: ModuleType, bank: Bank, tmp_path: Path
) -> None:
    whole = toy.trainer("kd", tmp_path / "whole", bank, net=toy.noisy_net, **SAVING)
    whole.train()
    toy.trainer("kd", tmp_path / "cut", bank, net=toy.noisy_net, **SAVING).train()
    moved = shutil.move(tmp_path / "cut", tmp_path / "moved")
    told = {"logging_steps": 2, "save_steps": 4, "save_total_limit": 9, "logging_first_step": True}
    resumed = toy.trainer("kd", Path(moved), bank, net=toy.noisy_net, **SAVING | told)
    resumed.train(resume_from_checkpoint=str(Path(moved) / "checkpoints" / "checkpoint-7"))
    mine, other = toy.weights(whole), toy.weights(resumed)
    assert all(torch.equal(mine[name], other[name]) for name in mine)
    assert [entry["step"] for entry in resumed.state.log_history if "loss" in entry][-4:] == [8, 10, 12, 14]
    names = {path.name for path in (Path(moved) / "checkpoints").iterdir()}
    assert names == {"checkpoint-7", "checkpoint-8", "checkpoint-12", "checkpoint-14"}


def test_longer_by_a_constant_rate_is_the_longer_run(toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    constant = {"lr_scheduler_type": "constant", "net": toy.noisy_net}
    whole = toy.trainer("kd", tmp_path / "whole", bank, **SAVING | constant)
    whole.train()
    toy.trainer("kd", tmp_path / "cut", bank, **SAVING | constant | {"max_steps": 7}).train()
    resumed = toy.trainer("kd", tmp_path / "cut", bank, **SAVING | constant)
    resumed.train(resume_from_checkpoint=True)
    assert not resumed.terms.warnings
    mine, other = toy.weights(whole), toy.weights(resumed)
    assert all(torch.equal(mine[name], other[name]) for name in mine)


def test_longer_by_another_rate_is_said(toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    toy.trainer("kd", tmp_path, bank, **SAVING | {"max_steps": 7}).train()
    resumed = toy.trainer("kd", tmp_path, bank, **SAVING)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == 14
    assert any("max_steps=14 sets the learning rate" in said for said in resumed.terms.warnings)
    again = toy.trainer("kd", tmp_path, bank, **SAVING | {"max_steps": 6})
    with pytest.raises(CheckpointError, match="at step 14, behind the end"):
        again.train(resume_from_checkpoint=True)


@pytest.mark.parametrize(
    ("name", "later"),
    [
        ("supervised", {"mixup": 0.5}),
        ("mixed", {"shares": "row", "partial": 0.5, "labels": "mixtures", "standardise": True}),
        ("armada_writing", {"pretrain": "reconstruction"}),
        ("armada_writing", {"aligner": "frozen"}),
    ],
)
def test_a_setting_later_than_the_first_checkpoints_counts_where_it_is_set(
    name: str, later: dict[str, object]
) -> None:
    plain, other = (config_told(plan_method(name, config).config) for config in ({}, later))
    assert not set(later) & set(plain)
    assert {key: other[key] for key in later} == later
    assert {key: other[key] for key in plain} == plain
