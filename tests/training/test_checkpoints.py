"""Damage to a checkpoint is never gone on from: the sentence names the file, and the checkpoint before it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from limbeck.banks.bank import Bank
from limbeck.errors import CheckpointError, MachineError
from limbeck.training.checkpoints import HASHES_FILE, check_files, last_checkpoint, publish

FILES = (
    "hashes.json", "method.json", "model.safetensors", "optimizer.pt", "rng_state.pth", "scheduler.pt",
    "trainer_state.json",
)  # fmt: skip


def made(toy: ModuleType, bank: Bank, folder: Path, **changed: Any) -> Any:
    values = {"save_strategy": "steps", "save_steps": 5, "max_steps": 10, "ema": True, **changed}
    return toy.trainer("kd", folder, bank, **values)


@pytest.fixture(scope="module")
def saved(toy: ModuleType, bank: Bank, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with checkpoints of steps 5 and 10."""
    folder = tmp_path_factory.mktemp("saved")
    made(toy, bank, folder).train()
    assert {path.name for path in (folder / "checkpoints" / "checkpoint-10").iterdir()} == set(FILES)
    return folder


@pytest.fixture
def run(saved: Path, tmp_path: Path) -> Path:
    shutil.copytree(saved / "checkpoints", tmp_path / "checkpoints")
    return tmp_path


def gone(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def grown(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [gone, cut, emptied, grown, flipped])
def test_damage_is_named(
    name: str, damage: Callable[[Path], None], toy: ModuleType, bank: Bank, run: Path
) -> None:
    damage(run / "checkpoints" / "checkpoint-10" / name)
    with pytest.raises(
        CheckpointError, match=rf"checkpoint-10 is damaged: {name} .*checkpoint-5 before it\.$"
    ):
        made(toy, bank, run).train(resume_from_checkpoint=True)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(FILES), place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_no_bit_flips_unnoticed(name: str, place: float, bit: int, saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint-10"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(saved / "checkpoints" / "checkpoint-10", folder)
    content = bytearray((folder / name).read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    (folder / name).write_bytes(bytes(content))
    with pytest.raises(
        CheckpointError, match=rf"is damaged: {HASHES_FILE if name == HASHES_FILE else name} "
    ):
        check_files(folder)


def test_the_one_before_must_be_whole_too(toy: ModuleType, bank: Bank, run: Path) -> None:
    for step in (5, 10):
        gone(run / "checkpoints" / f"checkpoint-{step}" / "optimizer.pt")
    with pytest.raises(CheckpointError, match="no whole checkpoint before it, so start afresh"):
        made(toy, bank, run).train(resume_from_checkpoint=True)


def test_what_the_sentence_says_works(toy: ModuleType, bank: Bank, saved: Path, run: Path) -> None:
    flipped(run / "checkpoints" / "checkpoint-10" / "optimizer.pt")
    shutil.rmtree(run / "checkpoints" / "checkpoint-10")
    resumed = made(toy, bank, run)
    resumed.train(resume_from_checkpoint=True)
    paths = [folder / "checkpoints" / "checkpoint-10" / "model.safetensors" for folder in (saved, run)]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_file_of_another_checkpoint(toy: ModuleType, bank: Bank, run: Path) -> None:
    """Swapped files are whole each, and not these ones."""
    checkpoints = run / "checkpoints"
    shutil.copy(checkpoints / "checkpoint-5" / "optimizer.pt", checkpoints / "checkpoint-10" / "optimizer.pt")
    with pytest.raises(CheckpointError, match=r"damaged: optimizer\.pt is not what was written"):
        made(toy, bank, run).train(resume_from_checkpoint=True)


def test_a_file_that_was_not_written_with_it(toy: ModuleType, bank: Bank, run: Path) -> None:
    folder = run / "checkpoints" / "checkpoint-10"
    (folder / "notes.txt").write_text("mine")
    check_files(folder)
    torch.save({}, folder / "scaler.pt")
    with pytest.raises(CheckpointError, match=r"damaged: scaler\.pt was not written with it"):
        made(toy, bank, run).train(resume_from_checkpoint=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_that_may_not_be_read_is_not_called_damaged(run: Path) -> None:
    path = run / "checkpoints" / "checkpoint-10" / "optimizer.pt"
    path.chmod(0)
    with pytest.raises(CheckpointError, match=r"cannot be read: .*optimizer\.pt: Permission denied"):
        check_files(run / "checkpoints" / "checkpoint-10")


def test_trouble_of_the_machine_is_not_called_damage(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(path: Path) -> str:
        raise OSError(24, "Too many open files", str(path))

    monkeypatch.setattr("limbeck.training.checkpoints.file_hash", fails)
    with pytest.raises(MachineError, match="too many open files") as caught:
        check_files(run / "checkpoints" / "checkpoint-10")
    assert "delete" not in str(caught.value)


def test_weights_alone_are_not_gone_on_from(toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    made(toy, bank, tmp_path, save_only_model=True).train()
    with pytest.raises(
        CheckpointError, match=r"holds weights and no optimizer\.pt \(training.save_only_model\)"
    ):
        made(toy, bank, tmp_path).train(resume_from_checkpoint=True)


def test_a_damaged_best_checkpoint_is_not_loaded(toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    choosing = {"load_best_model_at_end": True, "eval_strategy": "steps", "eval_steps": 5}
    run = made(toy, bank, tmp_path, validation=toy.examples(24, 24), **choosing)
    original = run._load_best_model

    def damaged() -> None:
        flipped(Path(run.state.best_model_checkpoint) / "model.safetensors")
        original()

    run._load_best_model = damaged
    with pytest.raises(CheckpointError, match=r"model\.safetensors is not what was written"):
        run.train()


def test_a_lost_best_checkpoint_is_missed_at_the_start(toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    choosing = {"load_best_model_at_end": True, "eval_strategy": "steps", "eval_steps": 5}
    # the largest loss, which is the first
    choosing |= {
        "validation": toy.examples(24, 24),
        "metric_for_best_model": "loss",
        "greater_is_better": True,
    }
    made(toy, bank, tmp_path, **choosing).train()
    state = json.loads((tmp_path / "checkpoints" / "checkpoint-10" / "trainer_state.json").read_text())
    assert state["best_global_step"] == 5
    shutil.rmtree(tmp_path / "checkpoints" / "checkpoint-5")
    with pytest.raises(CheckpointError, match=r"best checkpoint so far, .*checkpoint-5, is gone"):
        made(toy, bank, tmp_path, **choosing).train(resume_from_checkpoint=True)


def test_no_checkpoint_to_go_on_from(toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint in .* to go on from"):
        made(toy, bank, tmp_path).train(resume_from_checkpoint=True)
    assert last_checkpoint(str(tmp_path), None) is None
    assert last_checkpoint(str(tmp_path), False) is None


def test_publish_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    for content in ("one", "two"):
        unfinished = tmp_path / "unfinished"
        (unfinished / "inner").mkdir(parents=True)
        (unfinished / "inner" / "file.bin").write_text(content)
        publish(unfinished, tmp_path / "checkpoint-1")
    assert (tmp_path / "checkpoint-1" / "inner" / "file.bin").read_text() == "two"
    check_files(tmp_path / "checkpoint-1")
    gone(tmp_path / "checkpoint-1" / "inner" / "file.bin")
    with pytest.raises(CheckpointError, match=r"inner/file\.bin is missing"):
        check_files(tmp_path / "checkpoint-1")
