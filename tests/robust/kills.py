"""Kill a process at every file operation that it makes, and look at what it leaves.

The operation is found by Python's audit events, so a kill falls *between* any two of them, however quick they are. Add
a :class:`Scenario` to ``SCENARIOS``, and it is killed with the others.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import toy
from robust.subjects import N, Said, arrays, of_arrays, rows, said_by

from limbeck.banks import AnswerStore, Bank
from limbeck.banks.answers import Answer
from limbeck.signals import TeacherOutput
from limbeck.training.checkpoints import check_files, last_checkpoint

FORK = multiprocessing.get_context("fork")
CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.truncate", "shutil.rmtree"}


@dataclass(frozen=True)
class Scenario:
    """Work that is killed.

    Args:
        name: unique.
        prepare: what lies in the folder before.
        work: what is killed; started again it goes on.
        look: what is there after a kill, of what must always be there; AssertionError, or any error, = it is lost.
        done: what the finished work gives, comparable.
    """

    name: str
    prepare: Callable[[Path], object]
    work: Callable[[Path], object]
    look: Callable[[Path], object]
    done: Callable[[Path], Any]


def killed(
    scenario: Scenario, n: int, folder: Path, *, seed: int = 0, until: float = float("inf")
) -> tuple[int, list[str]]:
    """Kill up to ``n`` times; returns how often, and what was lost, told so that it can be repeated."""
    draw = random.Random(f"{scenario.name} {seed}")
    whole = folder / "undisturbed"
    scenario.prepare(whole)
    n_operations = _child(scenario, whole, None)
    expected, kills, lost = scenario.done(whole), 0, []
    moments = _moments(n_operations, draw)
    while kills < n and time.monotonic() < until:
        place = folder / f"killed-{kills}"
        scenario.prepare(place)
        told = []
        for _ in range(draw.choice((1, 1, 2, 3))):
            moment = next(moments)
            told.append(moment)
            if _child(scenario, place, moment) >= 0:  # it had less to do than that, since it went on
                break
            kills += 1
            if why := _why(lambda place=place: scenario.look(place)):
                lost.append(f"{scenario.name}, seed {seed}, killed before operations {told}: {why}")
                break
        if why := _why(lambda place=place: _finished(scenario, place, expected)):
            lost.append(f"{scenario.name}, seed {seed}, after kills before operations {told}: {why}")
        shutil.rmtree(place, ignore_errors=True)
    return kills, lost


def _moments(n: int, draw: random.Random) -> Iterator[int]:
    """Each operation once, in any order, and then any."""
    yield from draw.sample(range(1, n + 1), n)
    while True:
        yield draw.randint(1, n)


def _finished(scenario: Scenario, place: Path, expected: Any) -> None:
    scenario.work(place)
    assert scenario.done(place) == expected, "the finished work is not that of an undisturbed process"


def _why(look: Callable[[], object]) -> str | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            look()
    except Exception:
        return traceback.format_exc(limit=-3)
    return None


def _child(scenario: Scenario, place: Path, moment: int | None) -> int:
    """Do the work in a process that kills itself before its file operation ``moment``; the number of operations of one
    that came to its end, else -1."""
    ours, theirs = FORK.Pipe()
    process = FORK.Process(target=_work, args=(scenario, place, moment, theirs))
    process.start()
    theirs.close()
    try:
        count = ours.recv()
    except EOFError:
        count = -1
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL), f"the work of {scenario.name} failed by itself"
    return count


def _work(scenario: Scenario, place: Path, moment: int | None, pipe: Any) -> None:
    warnings.simplefilter("ignore")
    seen = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if not _changes(event, arguments, str(place)):
            return
        seen += 1
        if seen == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    scenario.work(place)
    pipe.send(seen)


def _changes(event: str, arguments: tuple[Any, ...], place: str) -> bool:
    if event == "open":
        path, mode, flags = arguments
        writes = bool(set(mode or "") & set("wax+")) or bool((flags or 0) & (os.O_WRONLY | os.O_RDWR))
        return writes and place in str(path)
    return event in CHANGES and place in str(arguments[0])


# ---- what is killed ------------------------------------------------------------------------------------------


def nothing(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)


def build(folder: Path, variant: int = 0, **options: Any) -> Bank:
    return Bank.build(folder / "bank", Shifted(variant), rows(), batch_size=4, shard_size=8, **options)


class Shifted(Said):
    """Another teacher by its fingerprint too."""

    def fingerprint(self) -> dict[str, str]:
        return {"weights": str(self.shift)}


class Paid(Shifted):
    """Keeps each answer in a store, and a line of each question that it asks."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.store, self.log = AnswerStore(folder / "answers.sqlite"), folder / "asked"

    def collect(self, batches: Iterable[Any], log: Callable[..., None]) -> Mapping[Any, str]:
        for batch in batches:
            for key, x in zip(batch.keys, batch.inputs["x"]):
                if self.store.get(key) is None:
                    with open(self.log, "a") as file:
                        file.write(f"{key}\n")
                    self.store.put(key, Answer({"x": x.tolist()}))
        log("asked", requests=1)
        return {}

    def __call__(self, inputs: Any) -> TeacherOutput:
        keys = [f"key {int(v)}é" for v in inputs["x"][:, 0]]
        said = [self.store.get(key) for key in keys]
        return super().__call__({"x": torch.tensor([answer.data["x"] for answer in said if answer])})


def paid(folder: Path) -> Bank:
    return Bank.build(folder / "bank", Paid(folder), rows(), batch_size=4, shard_size=8)


def kept_answers(folder: Path) -> None:
    """Every question was asked once, but for the one that was in flight at each of at most three kills."""
    asked = (folder / "asked").read_text().splitlines() if (folder / "asked").is_file() else []
    assert len(asked) <= N + 3, f"{len(asked)} questions were asked about {N} rows"


def one_of_two(folder: Path) -> None:
    """The old bank or the new one, whole."""
    bank = Bank.open(folder / "bank")
    bank.verify()
    assert said_by(bank) in EITHER[bank.access == "weights"], "a part of each"


def listing(folder: Path) -> tuple[Any, list[str]]:
    """What the bank says, and the files that are there: no leftovers."""
    bank = Bank.open(folder / "bank")
    bank.verify()
    return said_by(bank), sorted(p.name for p in (folder / "bank").iterdir() if p.name != ".lock")


def train(folder: Path) -> None:
    bank = Bank.open(folder / "bank")
    trainer = toy.trainer("kd", folder / "run", bank, save_strategy="steps", save_steps=2, max_steps=6)
    there = any((folder / "run").glob("checkpoints/checkpoint-*"))
    trainer.train(resume_from_checkpoint=there)
    torch.save({k: v.clone() for k, v in trainer.model.state_dict().items()}, folder / "weights.pt")


def whole_checkpoint(folder: Path) -> None:
    if any((folder / "run").glob("checkpoints/checkpoint-*")):
        found = last_checkpoint(str(folder / "run" / "checkpoints"), True)
        assert found is not None
        check_files(found)


def weights(folder: Path) -> dict[str, list[Any]]:
    return {
        name: value.tolist() for name, value in torch.load(folder / "weights.pt", weights_only=True).items()
    }


def _either() -> dict[bool, list[Any]]:
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        found = {True: [], False: []}
        for variant in (0, 1):
            found[True].append(said_by(of_arrays(folder / f"arrays-{variant}", variant)))
            found[False].append(said_by(build(folder / f"built-{variant}", variant)))
    return found


EITHER = _either()
SCENARIOS: tuple[Scenario, ...] = (
    Scenario("build", nothing, build, lambda folder: None, listing),
    Scenario("build of a paid teacher", nothing, paid, kept_answers, listing),
    Scenario(
        "arrays over another bank",
        lambda folder: of_arrays(folder / "bank"),
        lambda folder: Bank.from_arrays(folder / "bank", **arrays(1), overwrite=True),
        one_of_two,
        listing,
    ),
    Scenario(
        "build over another bank", build, partial(build, variant=1, overwrite=True), one_of_two, listing
    ),
    Scenario("training", lambda folder: toy.bank(folder / "bank"), train, whole_checkpoint, weights),
)
