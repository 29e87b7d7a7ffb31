"""Overwriting a bank: the old one stays until the new one is whole, and no reader sees a part of each."""

from __future__ import annotations

import multiprocessing
import pickle
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from limbeck.banks import Bank, bank_info, delete_bank
from limbeck.errors import BankError, LimbeckError, NonFiniteError, OwnCodeError
from limbeck.signals import TeacherOutput
from limbeck.teachers import CallableTeacher

FORK = multiprocessing.get_context("fork")
KEYS = list(range(30))


def rows() -> list[dict[str, Any]]:
    return [{"id": i, "x": torch.tensor([float(i), 1.0])} for i in KEYS]


def teacher(weight: float, fails_at: float, asked: list[float]) -> CallableTeacher:
    def answer(inputs: Any) -> TeacherOutput:
        asked.extend(inputs["x"][:, 0].tolist())
        if (inputs["x"][:, 0] >= fails_at).any():
            raise RuntimeError("the teacher failed")
        return TeacherOutput(features=weight * inputs["x"])

    return CallableTeacher(answer, version=str(weight))


def built(
    folder: Path,
    weight: float = 1.0,
    fails_at: float = float("inf"),
    asked: list[float] | None = None,
    data: Any = None,
    **options: Any,
) -> Bank:
    asks = teacher(weight, fails_at, [] if asked is None else asked)
    return Bank.build(folder, asks, rows() if data is None else data, batch_size=5, shard_size=10, **options)


def weight_of(bank: Bank) -> float:
    said = bank.lookup(KEYS).features
    weights = {float(row[1]) for row in said}
    assert len(weights) == 1, "rows of two teachers"
    return weights.pop()


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".lock", "build.jsonl"}


def test_a_teacher_that_fails_leaves_the_old_bank(tmp_path: Path) -> None:
    built(tmp_path / "b", 1.0)
    with pytest.raises(OwnCodeError, match="the teacher failed"):
        built(tmp_path / "b", 2.0, fails_at=25, overwrite=True)
    assert weight_of(Bank.open(tmp_path / "b")) == 1.0
    Bank.open(tmp_path / "b").verify()
    asked: list[float] = []
    bank = built(tmp_path / "b", 2.0, asked=asked, overwrite=True)
    assert weight_of(bank) == 2.0
    assert asked == [float(i) for i in range(20, 30)], "the shards that were whole were not asked again"
    shards = {f"shard-0000{i}.safetensors" for i in range(3)}
    assert files(tmp_path / "b") == {"bank.json", "index.safetensors", *shards}


def test_what_is_left_of_an_overwrite_is_cleaned_by_the_next_build(tmp_path: Path) -> None:
    built(tmp_path / "b", 1.0)
    before = files(tmp_path / "b")
    with pytest.raises(OwnCodeError):
        built(tmp_path / "b", 2.0, fails_at=25, overwrite=True)
    assert files(tmp_path / "b") == before | {".new"}
    built(tmp_path / "b", 1.0)
    assert files(tmp_path / "b") == before


def test_arrays_that_are_refused_leave_the_old_bank(tmp_path: Path) -> None:
    bank = Bank.from_arrays(tmp_path / "b", keys=KEYS, features=torch.ones(30, 2))
    with pytest.raises(NonFiniteError):
        Bank.from_arrays(tmp_path / "b", keys=KEYS, features=torch.full((30, 2), torch.nan), overwrite=True)
    assert weight_of(Bank.open(tmp_path / "b")) == 1.0
    assert bank.verify() > 0
    assert files(tmp_path / "b") == {"bank.json", "index.safetensors", "shard-00000.safetensors"}


def test_fewer_shards_leave_no_old_ones(tmp_path: Path) -> None:
    built(tmp_path / "b", 1.0)
    Bank.from_arrays(tmp_path / "b", keys=[1], features=torch.ones(1, 2), overwrite=True)
    assert files(tmp_path / "b") == {"bank.json", "index.safetensors", "shard-00000.safetensors"}
    assert bank_info(tmp_path / "b")["shards"] == 1


def test_a_generator_is_read_once_and_replaces_the_bank(tmp_path: Path) -> None:
    built(tmp_path / "b", 1.0)
    bank = built(tmp_path / "b", 2.0, data=iter(rows()), overwrite=True)
    assert weight_of(bank) == 2.0


class Paid:
    """A teacher that is asked ahead, and answers no row twice."""

    class_names, head, access = None, None, "features"

    def __init__(self, weight: float, silent: int) -> None:
        self.weight, self.silent, self.known = weight, silent, set()

    def fingerprint(self) -> dict[str, str]:
        return {"weights": str(self.weight)}

    def collect(self, batches: Any, log: Any) -> dict[int, str]:
        for batch in batches:
            self.known |= set(batch.keys)
        return {self.silent: "refused"}

    def __call__(self, inputs: Any) -> TeacherOutput:
        assert self.known >= {int(value) for value in inputs["x"][:, 0]}, "it was not asked"
        return TeacherOutput(features=self.weight * inputs["x"])


def test_another_paid_teacher_is_asked_beside_the_finished_bank(tmp_path: Path) -> None:
    def bank(weight: float, silent: int) -> Bank:
        with pytest.warns(UserWarning, match="lacks rows"):
            return Bank.build(tmp_path / "b", Paid(weight, silent), rows(), batch_size=5, overwrite=True)

    assert bank(1.0, 3).manifest.missing == {"refused": [3]}
    new = bank(2.0, 7)
    assert new.manifest.missing == {"refused": [7]}
    assert new.lookup([3]).features[0, 1] == 2.0
    assert (tmp_path / "b" / "build.jsonl").read_text().count('"event": "start"') == 1


def test_an_open_reader_is_told_and_never_mixes(tmp_path: Path) -> None:
    """Shards that it has read stay the old bank's; one that it has not is refused."""
    bank = built(tmp_path / "b", 1.0)
    before = bank.lookup([0]).features
    sent = pickle.dumps(bank)
    built(tmp_path / "b", 2.0, overwrite=True)
    assert torch.equal(bank.lookup([0]).features, before)
    with pytest.raises(BankError, match="was overwritten or deleted while it was open; open it again"):
        bank.lookup([25])
    with pytest.raises(BankError, match="overwritten"):
        bank.verify()
    with pytest.raises(BankError, match="overwritten while it was open"):
        pickle.loads(sent)
    assert weight_of(Bank.open(tmp_path / "b")) == 2.0


def test_a_bank_that_was_mended_while_it_was_open_goes_on(tmp_path: Path) -> None:
    """Other files with the same bytes are the same bank."""
    bank = built(tmp_path / "b", 1.0)
    (tmp_path / "b" / "shard-00002.safetensors").unlink()
    built(tmp_path / "b", 1.0)
    assert weight_of(bank) == 1.0


def test_a_deleted_bank_is_told(tmp_path: Path) -> None:
    bank = built(tmp_path / "b", 1.0)
    delete_bank(tmp_path / "b")
    with pytest.raises(BankError, match="deleted while it was open"):
        bank.lookup([0])


def overwrites(folder: Path, until: float) -> None:
    weight = 0
    while time.monotonic() < until:
        weight += 1
        Bank.from_arrays(folder, keys=KEYS, features=torch.full((30, 2), float(weight)), overwrite=True)


def test_readers_beside_a_process_that_overwrites(tmp_path: Path) -> None:
    """Whatever is read is of one bank, or is refused in a sentence."""
    Bank.from_arrays(tmp_path / "b", keys=KEYS, features=torch.zeros(30, 2))
    until, seen, told = time.monotonic() + 2, set(), set()
    writer = FORK.Process(target=overwrites, args=(tmp_path / "b", until))
    writer.start()
    while writer.is_alive():
        try:
            bank = Bank.open(tmp_path / "b")
            bank.verify()
            seen.add(weight_of(bank))
        except LimbeckError as error:
            told.add(str(error))
    writer.join()
    assert writer.exitcode == 0
    assert all("overwritten" in sentence for sentence in told), told
    assert len(seen) > 1
