"""A run that was stopped and goes on ends with the bits of one that was not; a broken checkpoint is never taken."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from levels import some_of
from torch import Tensor
from transformers.trainer_utils import get_last_checkpoint

from limbeck.banks.bank import Bank
from limbeck.errors import CheckpointError
from limbeck.training.callbacks import RunLog

DIES_IN = ("_save", "_save_optimizer_and_scheduler", "_save_rng_state")
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "supervised": ("supervised", {}),
    "kd, EMA": ("kd", {"ema": True}),
    "bagkd, accumulated": ("bagkd", {"ema": True, "gradient_accumulation_steps": 2, "config": {"ramp": 0.5}}),
    "ucmkd joint": ("ucmkd", {}),
    "ucmkd bilevel": ("ucmkd", {"config": {"scheme": "bilevel"}}),
}


def made(toy: ModuleType, bank: Bank, folder: Path, name: str, **changed: Any) -> Any:
    """With BatchNorm, dropout, and evaluation in between."""
    method, arguments = CASES[name]
    settings = {"save_strategy": "steps", "save_steps": 7, "eval_strategy": "steps", "eval_steps": 3}
    settings |= {"net": toy.noisy_net, "validation": toy.examples(24, 24), **arguments, **changed}
    return toy.trainer(method, folder, bank, **settings)


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("name", some_of(CASES, "bagkd, accumulated"))
def test_resumed_is_uninterrupted(name: str, toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    whole = made(toy, bank, tmp_path, name)
    whole.train()
    torch.rand(100)  # whatever else the process has drawn
    resumed = made(toy, bank, tmp_path, name)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoints" / "checkpoint-7"))
    assert resumed.state.global_step == 20
    assert same(toy.weights(whole), toy.weights(resumed))
    after = [[e for e in run.state.log_history if e["step"] > 10] for run in (whole, resumed)]
    for mine, other in zip(*after, strict=True):
        timed = {key for key in mine if "runtime" in key or "per_second" in key or key == "train_loss"}
        assert {k: mine[k] for k in mine.keys() - timed - {"total_flos"}} == {
            k: other[k] for k in other.keys() - timed - {"total_flos"}
        }


def test_a_checkpoint_holds_no_pickled_objects(toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    made(toy, bank, tmp_path, "kd, EMA", max_steps=7).train()
    folder = tmp_path / "checkpoints" / "checkpoint-7"
    names = {path.name for path in folder.iterdir()}
    assert {
        "model.safetensors",
        "method.json",
        "trainer_state.json",
        "optimizer.pt",
        "rng_state.pth",
    } <= names
    assert "training_args.bin" not in names
    from transformers.trainer_pt_utils import safe_globals

    for path in [*folder.glob("*.pt"), *folder.glob("*.pth"), *folder.glob("*.bin")]:
        with safe_globals():  # numpy's random state, which the Trainer allows too
            torch.load(path, weights_only=True)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"method": "fitnets"}, "of method 'kd', this run uses 'fitnets'"),
        ({"config": {"temperature": 2.0}}, "temperature=4.0, this run has temperature=2.0"),
        ({"net": "plain_net"}, "is of another student"),
        ({"ema": False}, "is of another student: 'peers.ema."),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(
    changed: dict[str, Any], words: str, toy: ModuleType, bank: Bank, tmp_path: Path
) -> None:
    made(toy, bank, tmp_path, "kd, EMA", max_steps=7).train()
    if "net" in changed:
        changed = {"net": getattr(toy, changed["net"])}
    method = changed.pop("method", "kd") if "method" in changed else "kd"
    arguments = {"net": toy.noisy_net, "ema": True, **changed}
    other = toy.trainer(method, tmp_path, bank, **arguments)
    with pytest.raises(CheckpointError, match=words):
        other.train(resume_from_checkpoint=str(tmp_path / "checkpoints" / "checkpoint-7"))


def test_a_folder_that_is_no_checkpoint(toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    (tmp_path / "checkpoints" / "checkpoint-3").mkdir(parents=True)
    with pytest.raises(CheckpointError, match=r"is no checkpoint of a distillation run: it holds no model"):
        made(toy, bank, tmp_path, "supervised").train(
            resume_from_checkpoint=str(tmp_path / "checkpoints" / "checkpoint-3")
        )


@pytest.mark.parametrize(
    "dies_in",
    some_of(("_save", "_save_optimizer_and_scheduler", "_save_rng_state"), "_save_optimizer_and_scheduler"),
)
def test_a_half_written_checkpoint_is_not_seen(
    dies_in: str, toy: ModuleType, bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(toy, bank, tmp_path, "kd, EMA")
    original, calls = getattr(run, dies_in), []

    def dying(*args: Any, **kwargs: Any) -> None:
        original(*args, **kwargs)
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(run, dies_in, dying)
    with pytest.raises(KeyboardInterrupt):
        run.train()
    checkpoints = tmp_path / "checkpoints"
    assert get_last_checkpoint(str(checkpoints)) == str(checkpoints / "checkpoint-7")
    resumed = made(toy, bank, tmp_path, "kd, EMA")
    resumed.train(resume_from_checkpoint=True)
    whole = made(toy, bank, tmp_path / "whole", "kd, EMA")
    whole.train()
    assert same(toy.weights(whole), toy.weights(resumed))
    assert sorted(path.name for path in checkpoints.iterdir()) == [
        "checkpoint-14",
        "checkpoint-20",
        "checkpoint-7",
    ]


def test_the_limit_of_kept_checkpoints_holds(toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    run = made(toy, bank, tmp_path, "supervised", save_total_limit=2, save_steps=5)
    run.train()
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["checkpoint-15", "checkpoint-20"]
    assert run.args.save_total_limit == 2


def test_the_best_checkpoint_is_loaded_at_the_end(toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    run = made(
        toy, bank, tmp_path, "kd, EMA", save_steps=6, load_best_model_at_end=True, metric_for_best_model="accuracy"
    )  # fmt: skip
    run.train()
    best = Path(run.state.best_model_checkpoint)
    assert best.parent == tmp_path / "checkpoints"
    assert best.is_dir()
    state = json.loads((best / "trainer_state.json").read_text())
    assert state["best_model_checkpoint"] == str(best)
    from safetensors.torch import load_file

    assert same(load_file(best / "model.safetensors"), toy.weights(run))


def test_warnings_survive(toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    run = made(toy, bank, tmp_path, "supervised", max_steps=7)
    run.terms.warn("Something is odd at step 3.")
    run.train()
    resumed = made(toy, bank, tmp_path, "supervised")
    resumed.train(resume_from_checkpoint=True)
    assert resumed.terms.warnings[0] == "Something is odd at step 3."


def test_the_log_goes_on_where_the_checkpoint_is(toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    def logged() -> Any:
        run = made(toy, bank, tmp_path, "supervised")
        run.run_log = RunLog(tmp_path)
        run.add_callback(run.run_log)
        return run

    logged().train()
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 19, "lo')  # a kill has cut the last line
    resumed = logged()
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoints" / "checkpoint-7"))
    steps = [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    evaluated = [step for step, _ in resumed.run_log.entries["eval_accuracy"]]
    assert steps == sorted(steps)
    assert evaluated == [3, 6, 9, 12, 15, 18, 20]
    again = logged()
    again.train()
    assert len(again.run_log.entries["eval_accuracy"]) == 7
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == len(steps)


KILLED = """
import sys; sys.path.insert(0, sys.argv[1])
import torch, toy
from pathlib import Path
torch.set_num_threads(1)
folder = Path(sys.argv[2])
bank = toy.bank(folder / "bank")
run = toy.trainer("kd", folder, bank, net=toy.noisy_net, ema=True, max_steps=400, save_strategy="steps", save_steps=1,
                  save_total_limit=3)
print("ready", flush=True)
run.train()
"""


@pytest.mark.slow
def test_killed_at_any_moment(toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    """SIGKILL while a checkpoint is written every step: the last one is always whole, and the run goes on from it."""
    for attempt in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(Path(__file__).parents[1]), str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        assert process.stdout is not None
        process.stdout.readline()
        checkpoints, patience = tmp_path / "checkpoints", time.monotonic() + 60
        while not list(checkpoints.glob("checkpoint-*")) and time.monotonic() < patience:
            time.sleep(0.01)
        time.sleep(0.137 * attempt)
        process.send_signal(signal.SIGKILL)
        process.wait()
        last = get_last_checkpoint(str(checkpoints))
        assert last is not None
        resumed = toy.trainer(
            "kd", tmp_path, bank, net=toy.noisy_net, ema=True, max_steps=int(last.split("-")[-1]) + 2
        )
        resumed.train(resume_from_checkpoint=last)
