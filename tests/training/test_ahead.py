"""Batches made ahead are those of the steps, and the thread that makes them ends with the training."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from limbeck.banks.bank import Bank
from limbeck.errors import MissingKeysError
from limbeck.training.step import ahead
from limbeck.training.step.ahead import Ahead, AheadLoader, reads_large_banks


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "limbeck-ahead"]


def counted(n: int, made: list[int]) -> Iterator[int]:
    for i in range(n):
        made.append(i)
        yield i


def test_items_come_in_order_and_few_are_made_ahead() -> None:
    made: list[int] = []
    items = Ahead(counted(50, made), depth=3)
    assert [next(items) for _ in range(10)] == list(range(10))
    time.sleep(0.3)
    assert len(made) <= 10 + 3 + 1
    assert list(items) == list(range(10, 50))
    items.thread.join(5)
    assert not items.thread.is_alive()


def test_an_error_stands_in_its_place() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise MissingKeysError("not there")

    found = Ahead(items())
    assert next(found) == 1
    with pytest.raises(MissingKeysError, match="not there"):
        next(found)
    assert list(found) == []


def test_a_closed_one_ends_its_thread() -> None:
    items = Ahead(counted(10**6, []))
    next(items)
    items.close()
    assert not items.thread.is_alive()
    assert list(items) == []


def test_which_banks_are_large(
    toy: ModuleType, bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not reads_large_banks(toy.trainer("kd", tmp_path, bank).collate)
    assert not isinstance(toy.trainer("kd", tmp_path, bank).get_train_dataloader(), AheadLoader)
    monkeypatch.setattr(ahead, "LARGE", 1)
    assert reads_large_banks(toy.trainer("kd", tmp_path, bank).collate)
    assert not reads_large_banks(toy.trainer("supervised", tmp_path, None).collate)


@pytest.mark.parametrize("method", ["kd", "feature_ot"])
def test_a_run_is_the_same(
    method: str, toy: ModuleType, bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for name, least in (("plain", 10**12), ("ahead", 1)):
        monkeypatch.setattr(ahead, "LARGE", least)
        run = toy.trainer(method, tmp_path / name, bank, net=toy.noisy_net, max_steps=6)
        run.train()
        assert isinstance(run._loader, AheadLoader) is (name == "ahead")
        found.append(toy.weights(run))
        assert not threads()
    for name, value in found[0].items():
        assert torch.equal(value, found[1][name]), name


def test_what_a_look_up_raises_is_told_and_the_thread_ends(
    toy: ModuleType, bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "LARGE", 1)
    run = toy.trainer("kd", tmp_path, bank, max_steps=6)
    collate, calls = run.data_collator, []

    def broken(draws: Any) -> Any:
        calls.append(len(draws))
        if len(calls) == 3:
            raise MissingKeysError("The bank has lost a row.")
        return collate(draws)

    run.data_collator = broken
    with pytest.raises(MissingKeysError, match="has lost a row"):
        run.train()
    assert run.state.global_step == 2
    assert not threads()


def test_a_run_that_goes_on_is_the_same(
    toy: ModuleType, bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "LARGE", 1)
    saving = {"save_strategy": "steps", "save_steps": 3, "max_steps": 6}
    whole = toy.trainer("kd", tmp_path / "whole", bank, **saving)
    whole.train()
    resumed = toy.trainer("kd", tmp_path / "resumed", bank, **saving)
    resumed.train(str(tmp_path / "whole" / "checkpoints" / "checkpoint-3"))
    for name, value in toy.weights(whole).items():
        assert torch.equal(value, toy.weights(resumed)[name]), name
