"""The log of terms: what it shows, what it warns of, what it stops."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from limbeck.banks.bank import Bank
from limbeck.errors import NonFiniteError
from limbeck.methods.base import Curve, Method, Settings, Weight, weight
from limbeck.training.callbacks import ProgressBar, TermLog, suspects

N_STEPS = 20


@pytest.mark.parametrize("method", ["supervised", "kd", "feature_ot", "bagkd"])
def test_each_log_shows_terms_weights_and_shares(
    method: str, toy: ModuleType, bank: Bank, tmp_path: Path
) -> None:
    run = toy.trainer(method, tmp_path, bank)
    run.train()
    logs = [entry for entry in run.state.log_history if "loss" in entry]
    assert [entry["step"] for entry in logs] == [5, 10, 15, 20]
    for entry in logs:
        for kind in ("term", "weight", "gradient_share"):
            names = {key.partition("/")[2] for key in entry if key.startswith(f"{kind}/")}
            assert names == set(run.model.method.plan.units), kind
        assert sum(v for k, v in entry.items() if k.startswith("gradient_share/")) == pytest.approx(1.0)


def test_the_logged_terms_make_up_the_loss(toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    run = toy.trainer("kd", tmp_path, bank, config={"weight_distillation": 0.3})
    run.train()
    for entry in run.state.log_history[:-1]:
        total = sum(entry[f"weight/{n}"] * entry[f"term/{n}"] for n in ("supervised", "distillation"))
        assert entry["loss"] == pytest.approx(total, rel=1e-3)


def test_inner_terms_are_logged_too(toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    run = toy.trainer("ucmkd", tmp_path, bank, config={"scheme": "bilevel"}, max_steps=5)
    run.train()
    logged = run.state.log_history[0].keys()
    assert {"term/feature", "term/label", "term/supervised"} <= logged
    assert run.terms.warnings == []  # what is descended inside has no share outside, and that is no fault


# ---- terms that do nothing ----------------------------------------------------------------------------------


@dataclass
class TwoTermsConfig(Settings):
    factor: float = 1.0
    weight_main: Weight = weight(1.0)
    weight_other: Weight = weight(1.0)


class TwoTerms(Method):
    units = {"main": "labelled", "other": "labelled"}
    Config = TwoTermsConfig

    def losses(self, b: Any) -> dict[str, Tensor]:
        square, factor = b.student.logits.square().sum(), self.config.factor
        return {"main": square, "other": square * factor if factor else square.detach()}


class Detached(TwoTerms):
    detached = {"other"}


def run_two_terms(toy: ModuleType, folder: Path, cls: type[Method] = TwoTerms, **settings: Any) -> list[str]:
    run = toy.trainer("supervised", folder, None)
    run.model.method = run.terms.method = cls(TwoTermsConfig(**settings), run.model.method.shapes)
    run.train()
    return run.terms.warnings


def test_a_term_without_gradient_is_named_once(toy: ModuleType, tmp_path: Path, caplog: Any) -> None:
    with caplog.at_level(logging.WARNING, logger="limbeck"):
        warnings = run_two_terms(toy, tmp_path, factor=0.0)
    assert warnings == ["Term 'other' of method 'supervised' has no gradient: it teaches nothing."]
    assert len([r for r in caplog.records if r.message == warnings[0]]) == 1


def test_a_declared_detached_term_is_not_named(toy: ModuleType, tmp_path: Path) -> None:
    assert run_two_terms(toy, tmp_path, cls=Detached, factor=0.0) == []


def test_a_term_100_times_weaker_is_named_once(toy: ModuleType, tmp_path: Path) -> None:
    (warning,) = run_two_terms(toy, tmp_path, factor=0.005)
    assert "'other'" in warning
    assert "more than 100 times below the largest; raise weight_other" in warning
    assert run_two_terms(toy, tmp_path, factor=0.02) == []


def test_nothing_is_said_before_the_ramp_ends(toy: ModuleType, tmp_path: Path) -> None:
    assert run_two_terms(toy, tmp_path, factor=0.0, weight_main=Curve(0, 1, 1.0)) == []
    assert len(run_two_terms(toy, tmp_path, factor=0.0, weight_main=Curve(0, 1, 0.5))) == 1


def test_no_false_alarm_when_a_micro_batch_lacks_a_term(toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    """Two labelled rows in eight parts: most micro-batches have no supervised term."""
    run = toy.trainer("kd", tmp_path, bank, n_labelled=2, gradient_accumulation_steps=8)
    run.train()
    assert run.terms.warnings == []


# ---- terms that are not finite ------------------------------------------------------------------------------


class Broken:
    """A bank that gives NaN for t20 and t30."""

    def __init__(self, bank: Bank) -> None:
        self.bank = bank

    def __len__(self) -> int:
        return len(self.bank)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.bank, name)

    def lookup(self, keys: Any, **options: Any) -> Any:
        found = self.bank.lookup(keys, **options)
        bad = torch.tensor([key in ("t20", "t30") for key in keys])
        return found.map_tensors(
            lambda v: v.float().masked_fill(bad[:, None], float("nan")) if v.ndim == 2 else v
        )


def poisoned(toy: ModuleType, bank: Bank, folder: Path, method: str, **settings: Any) -> Any:
    """A run whose teacher gives NaN for t20 and t30."""
    run = toy.trainer(method, folder, bank, n_unlabelled=36, **settings)
    run.collate.teachers = {"teacher": replace(run.collate.teachers["teacher"], source=Broken(bank))}
    return run


def test_nan_from_the_teacher_stops_the_run_and_is_named(toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    run = poisoned(toy, bank, tmp_path, "kd")
    with pytest.raises(NonFiniteError) as caught:
        run.train()
    message = str(caught.value)
    assert message.startswith("Term 'distillation' of method 'kd' is not finite at step 0 (rows with keys 's")
    named = set(re.findall(r"'(s\d+)'", message))
    assert named
    assert named <= {"s20", "s30"}
    assert "look at these rows and at the teacher's values for them" in message


def test_suspects() -> None:
    nan = float("nan")
    batch: dict[str, Any] = {
        "keys": ["a", "b", "c"],
        "inputs": {"x": torch.zeros(3, 2), "ids": torch.zeros(3, dtype=torch.long)},
        "teachers": {
            "teacher": {
                "said": {"logits": torch.tensor([[1.0], [nan]])},
                "pair_index": torch.tensor([-1, 1, 0]),
                "group_s": torch.full((3,), -1),
                "group_t": torch.full((2,), -1),
            }
        },
    }
    assert suspects(batch) == ["b"]
    bagged = {
        "pair_index": torch.full((3,), -1),
        "group_s": torch.tensor([4, 7, 4]),
        "group_t": torch.tensor([7, 4]),
    }
    other = {"teachers": {"teacher": batch["teachers"]["teacher"] | bagged}}
    assert suspects(batch | other) == ["a", "c"]
    batch["inputs"]["x"][2, 0] = float("inf")
    assert suspects(batch) == ["b", "c"]
    assert suspects({"keys": ["a", "b"]}) == ["a", "b"]


@pytest.mark.filterwarnings("ignore:transport")
def test_nan_in_an_inner_term_names_that_term(toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    run = toy.trainer("ucmkd", tmp_path, bank, link="paired", config={"scheme": "bilevel"})
    run.collate.teachers = {"teacher": replace(run.collate.teachers["teacher"], source=Broken(bank))}
    with pytest.raises(NonFiniteError, match=r"'feature'.* of method 'ucmkd' .*at step"):
        run.train()


def outputs(**terms: float) -> dict[str, Any]:
    return {"terms": {name: torch.tensor(value) for name, value in terms.items()}}


def test_under_fp16_a_bad_step_passes_and_the_third_in_a_row_stops(toy: ModuleType) -> None:
    log = TermLog(toy.distiller("supervised", None).method, "kd")
    nan = float("nan")
    log.record(0, outputs(a=1.0, b=2.0), {"keys": ["k0"]}, fp16=True)
    log.record(1, outputs(a=nan, b=2.0), {"keys": ["k1"]}, fp16=True)
    log.record(1, outputs(a=nan, b=2.0), {"keys": ["k2"]}, fp16=True)  # another micro-batch of the same step
    log.record(2, outputs(a=nan, b=2.0), {"keys": ["k3"]}, fp16=True)
    log.record(3, outputs(a=1.0, b=2.0), {"keys": ["k4"]}, fp16=True)  # a good step: the count starts again
    assert log.warnings == [
        "Term 'a' of method 'kd' is not finite at step 1 (rows with keys 'k1'); the step is skipped."
    ]
    for step in (4, 5):
        log.record(step, outputs(a=1.0, b=nan), {"keys": [f"k{step}"]}, fp16=True)
    with pytest.raises(
        NonFiniteError, match=r"Term 'b' of method 'kd' is not finite at step 6 \(rows with keys 'k6'"
    ):
        log.record(6, outputs(a=1.0, b=nan), {"keys": ["k6"]}, fp16=True)


def test_a_skipped_step_does_not_spoil_the_log(toy: ModuleType) -> None:
    log = TermLog(toy.distiller("supervised", None).method, "supervised")
    log.record(0, outputs(supervised=2.0), {"keys": ["k"]}, fp16=True)
    log.record(1, outputs(supervised=float("inf")), {"keys": ["k"]}, fp16=True)
    assert log.summary(1.0)["term/supervised"] == 2.0


def test_the_bar_goes_away_when_the_training_fails(toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    run = poisoned(toy, bank, tmp_path, "kd")
    bar = ProgressBar("kd")
    run.add_callback(bar)
    closed = []
    bar._stack.callback(closed.append, True)
    with pytest.raises(NonFiniteError):
        run.train()
    assert closed == [True]


@pytest.mark.full
def test_tensorboard_s_events_stay_in_the_run_folder(tmp_path, monkeypatch):
    import yaml
    from raw_files import write_csv
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from limbeck.cli import main

    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "n.csv", ("id", "a", "found"), [(i, i % 7, "xy"[i % 2]) for i in range(60)])
    side = {"source": "n.csv", "modality": "table", "label": "found"}
    recipe = {
        "data": {"name": "own", "config": {"student": side}},
        "student": {"model": "table_encoder", "config": {"hidden": [4]}},
        "method": {"name": "supervised"},
        "training": {"max_steps": 4, "n_labelled": 4, "logging_steps": 2, "report_to": "tensorboard"},
        "output_dir": "run",
    }
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
    assert main(["distill", "--config", "r.yaml"]) == 0
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert {"train/term/supervised", "eval/accuracy"} <= set(events.Tags()["scalars"])
