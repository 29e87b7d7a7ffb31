"""Building a bank: killed, resumed, raced, and fed with bad answers."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch
from levels import some_of

from limbeck.banks import Bank, bank_info, delete_bank
from limbeck.banks.files import builder_lock
from limbeck.data.base import Examples
from limbeck.errors import (
    BankBusyError,
    BankError,
    ClassNamesError,
    CorruptShardError,
    DataError,
    InconsistentOutputError,
    NonFiniteError,
    StaleFingerprintError,
)
from limbeck.signals import TeacherOutput

NAMES = ("no", "yes")
FORK = multiprocessing.get_context("fork")


class LinearTeacher:
    """A deterministic teacher that notes in a file which inputs it was asked about."""

    class_names = NAMES
    access = "weights"

    def __init__(self, log: Path | None = None, pause: float = 0.0, weights: str = "1") -> None:
        g = torch.Generator().manual_seed(0)
        self.matrix, self.log, self.pause, self.weights = torch.randn(3, 5, generator=g), log, pause, weights
        self.last: torch.Tensor | None = None

    @property
    def head(self):
        """Known only after a call, as with a model whose head is found in its forward."""
        return None if self.last is None else (self.matrix[:2], None)

    def __call__(self, inputs):
        time.sleep(self.pause)
        x = inputs["x"]
        if self.log is not None:
            with open(self.log, "a") as file:
                file.writelines(f"{int(value)}\n" for value in x[:, 0])
        self.last = x @ self.matrix
        texts = [f"seen {int(value)}" for value in x[:, 0]]
        return TeacherOutput(features=self.last, logits=self.last[:, :2], text=texts)

    def fingerprint(self):
        return {"weights": self.weights, "preprocessing": "none"}


def examples(n: int = 60) -> Examples:
    x = torch.randn(n, 3, generator=torch.Generator().manual_seed(1))
    x[:, 0] = torch.arange(n)
    return Examples.classified({"x": x}, tuple(f"key {i}" for i in range(n)), torch.arange(n) % 2, NAMES)


def content(folder: Path) -> dict[str, bytes]:
    """The bytes of a bank, less its log of times and the lock."""
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name not in (".lock", "build.jsonl")}


def changed(data: Examples, row: int) -> Examples:
    x = data.inputs["x"].clone()
    x[row] += 1
    return Examples.classified({"x": x}, data.keys, data.labels, data.class_names)


def test_a_bank_holds_what_the_teacher_said(tmp_path):
    data, teacher = examples(), LinearTeacher()
    bank = Bank.build(tmp_path / "b", teacher, data, batch_size=7, shard_size=20, licence="MIT, by us")
    out = bank.lookup(data.keys)
    torch.testing.assert_close(out.features, data.inputs["x"] @ teacher.matrix)
    assert out.text[3] == "seen 3"
    assert torch.equal(out.labels, data.labels)
    assert bank.class_names == NAMES
    assert bank.access == "weights"
    assert bank.licence == "MIT, by us"
    assert set(bank.fingerprint) == {"weights", "preprocessing", "inputs"}
    assert bank_info(tmp_path / "b")["shards"] == 3
    assert bank.verify() > 0


def test_no_batch_crosses_a_shard(tmp_path):
    sizes = []
    teacher = LinearTeacher()
    real = LinearTeacher.__call__
    teacher.__class__ = type(
        "T", (LinearTeacher,), {"__call__": lambda s, i: sizes.append(len(i["x"])) or real(s, i)}
    )
    Bank.build(tmp_path / "b", teacher, examples(50), batch_size=8, shard_size=20)
    assert sizes == [8, 8, 4, 8, 8, 4, 8, 2]


def test_a_finished_bank_is_not_asked_again(tmp_path):
    data, log = examples(), tmp_path / "asked"
    Bank.build(tmp_path / "b", LinearTeacher(log), data, shard_size=20)
    Bank.build(tmp_path / "b", LinearTeacher(log), data, shard_size=7, batch_size=3)
    assert len(log.read_text().split()) == 60


@pytest.mark.parametrize("dtype", some_of(("float32", "float16"), "float16"))
@pytest.mark.full
def test_killed_at_20_moments_the_bank_has_the_same_bytes(tmp_path, dtype):
    """SIGKILL during the build: it goes on where it stopped, and only the open shard is asked again."""
    data, options = examples(), {"batch_size": 4, "shard_size": 12, "dtype": dtype}
    start = time.perf_counter()
    Bank.build(tmp_path / "undisturbed", LinearTeacher(pause=0.002), data, **options)
    duration = time.perf_counter() - start
    rng, n_kills = random.Random(0), 0
    for trial in range(20):
        folder, log = tmp_path / f"killed {trial}", tmp_path / f"asked {trial}"
        for _ in range(3):
            child = FORK.Process(
                target=Bank.build, args=(folder, LinearTeacher(log, 0.002), data), kwargs=options
            )
            child.start()
            child.join(rng.uniform(0, duration))
            if child.is_alive():
                os.kill(child.pid, signal.SIGKILL)
                n_kills += 1
            child.join()
        Bank.build(folder, LinearTeacher(log, 0.002), data, **options)
        assert content(folder) == content(tmp_path / "undisturbed")
        asked = len(log.read_text().split())
        assert asked <= 60 + 3 * 12, "more than the open shard was asked again"
        delete_bank(folder)
    assert n_kills  # how many depends on the load of the machine


def test_of_two_builders_the_second_waits_or_names_the_holder(tmp_path):
    data, log = examples(), tmp_path / "asked"
    first = FORK.Process(target=Bank.build, args=(tmp_path / "b", LinearTeacher(log, 0.3), data))
    first.start()
    named = tmp_path / "b" / ".builder.json"
    while not (named.is_file() and named.read_text().endswith("}")):  # there, and written
        time.sleep(0.01)
    with pytest.raises(BankBusyError, match=f"built by process {first.pid} on "):
        Bank.build(tmp_path / "b", LinearTeacher(log), data, wait=0)
    with pytest.raises(BankBusyError):
        delete_bank_when_begun(tmp_path / "b")
    bank = Bank.build(tmp_path / "b", LinearTeacher(log), data)
    first.join()
    assert len(bank) == len(log.read_text().split()) == 60


def delete_bank_when_begun(folder: Path) -> None:
    while not (folder / "bank.json").is_file():
        time.sleep(0.01)
    delete_bank(folder)


def test_the_lock_of_this_process_is_named(tmp_path):
    with (
        builder_lock(tmp_path / "b"),
        pytest.raises(BankBusyError, match=f"process {os.getpid()}"),
        builder_lock(tmp_path / "b", wait=0.1),
    ):
        pass


def test_an_unfinished_bank_does_not_open(tmp_path):
    class Stops(LinearTeacher):
        def __call__(self, inputs):
            if inputs["x"][0, 0] >= 40:
                raise KeyboardInterrupt
            return super().__call__(inputs)

    with pytest.raises(KeyboardInterrupt):
        Bank.build(tmp_path / "b", Stops(), examples(), batch_size=10, shard_size=20)
    with pytest.raises(BankError, match=r"unfinished \(2 shards written\); run its build again"):
        Bank.open(tmp_path / "b")
    log = tmp_path / "asked"
    Bank.build(tmp_path / "b", LinearTeacher(log), examples(), batch_size=10)
    assert len(log.read_text().split()) == 20


def test_a_lost_shard_alone_is_asked_again(tmp_path):
    data, log = examples(), tmp_path / "asked"
    Bank.build(tmp_path / "b", LinearTeacher(), data, shard_size=20)
    before = content(tmp_path / "b")
    (tmp_path / "b" / "shard-00001.safetensors").unlink()
    with pytest.raises(CorruptShardError, match=r"shard-00001.* missing"):
        Bank.open(tmp_path / "b")
    Bank.build(tmp_path / "b", LinearTeacher(log), data)
    assert content(tmp_path / "b") == before
    assert log.read_text().split() == [str(i) for i in range(20, 40)]
    (tmp_path / "b" / "index.safetensors").unlink()
    Bank.build(tmp_path / "b", LinearTeacher(), data)
    assert content(tmp_path / "b") == before


@pytest.mark.parametrize("lost", ["text-00001.parquet", "head.safetensors", "index.safetensors"])
def test_any_other_lost_file_is_made_again(tmp_path, lost):
    Bank.build(tmp_path / "b", LinearTeacher(), examples(), shard_size=20)
    before = content(tmp_path / "b")
    (tmp_path / "b" / lost).unlink()
    with pytest.raises(CorruptShardError, match=lost):
        Bank.open(tmp_path / "b")
    Bank.build(tmp_path / "b", LinearTeacher(), examples())
    assert content(tmp_path / "b") == before


def test_a_shard_that_changed_before_the_resume_is_found(tmp_path):
    class Stops(LinearTeacher):
        def __call__(self, inputs):
            if inputs["x"][0, 0] >= 40:
                raise KeyboardInterrupt
            return super().__call__(inputs)

    with pytest.raises(KeyboardInterrupt):
        Bank.build(tmp_path / "b", Stops(), examples(), shard_size=20)
    path = tmp_path / "b" / "shard-00000.safetensors"
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[whole.index(b"}   ") + 60 if b"}   " in whole else len(whole) // 2] ^= 1
    path.write_bytes(flipped)
    with pytest.raises((CorruptShardError, StaleFingerprintError), match=r"shard-00000|inputs|keys|labels"):
        Bank.build(tmp_path / "b", LinearTeacher(), examples())
    path.write_bytes(whole[:-4])
    with pytest.raises(CorruptShardError, match=r"shard-00000.*delete this file"):
        Bank.build(tmp_path / "b", LinearTeacher(), examples())
    path.unlink()
    assert Bank.build(tmp_path / "b", LinearTeacher(), examples()).verify() > 0


def test_a_damaged_bank_can_be_overwritten_or_deleted(tmp_path):
    Bank.build(tmp_path / "b", LinearTeacher(), examples())
    path = tmp_path / "b" / "bank.json"
    path.write_text(path.read_text()[:60])
    with pytest.raises(CorruptShardError, match="overwrite=True"):
        Bank.build(tmp_path / "b", LinearTeacher(), examples())
    assert Bank.build(tmp_path / "b", LinearTeacher(), examples(), overwrite=True).verify() > 0
    path.write_text(path.read_text()[:60])
    delete_bank(tmp_path / "b")
    assert not path.parent.exists()


# ---- stale banks ---------------------------------------------------------------------------------------


def _stale_cases():
    data = examples()
    fewer = data.subset(range(59))
    moved = data.subset([1, 0, *range(2, 60)])
    relabelled = Examples.classified(data.inputs, data.keys, data.labels.flip(0), NAMES)
    return {
        "other 'weights'": (LinearTeacher(weights="2"), data, {}),
        "other 'inputs' .*'key 41'": (LinearTeacher(), changed(data, 41), {}),
        "other 'rows' .60 then, 59 now": (LinearTeacher(), fewer, {}),
        "other 'keys' .from key 'key 1'": (LinearTeacher(), moved, {}),
        "other 'labels' .*'key 0'": (LinearTeacher(), relabelled, {}),
        "other 'dtype' .float32 then, float16": (LinearTeacher(), data, {"dtype": "float16"}),
    }


@pytest.mark.parametrize("message", list(_stale_cases()))
def test_a_stale_bank_says_which_part(tmp_path, message):
    Bank.build(tmp_path / "b", LinearTeacher(), examples(), shard_size=20)
    teacher, data, options = _stale_cases()[message]
    with pytest.raises(StaleFingerprintError, match=message):
        Bank.build(tmp_path / "b", teacher, data, **options)
    fresh = Bank.build(tmp_path / "b", teacher, data, overwrite=True, **options)
    assert fresh.verify() > 0
    assert len(fresh) == len(data)


def test_rows_that_were_added_or_taken_from_a_stream_are_noticed(tmp_path):
    def stream(n):
        return ({"id": i, "x": torch.tensor([i, 0.0, 1.0])} for i in range(n))

    Bank.build(tmp_path / "b", LinearTeacher(), stream(40), shard_size=20)
    assert len(Bank.build(tmp_path / "b", LinearTeacher(), stream(40))) == 40
    with pytest.raises(StaleFingerprintError):
        Bank.build(tmp_path / "b", LinearTeacher(), stream(41))
    with pytest.raises(StaleFingerprintError):
        Bank.build(tmp_path / "b", LinearTeacher(), stream(20))
    assert len(Bank.build(tmp_path / "b", LinearTeacher(), stream(20), overwrite=True)) == 20


# ---- bad answers ---------------------------------------------------------------------------------------


class Answers(LinearTeacher):
    """A teacher whose second batch is spoilt by a function."""

    def __init__(self, spoil, signal="features"):
        super().__init__()
        self.spoil, self.signal, self.n_calls = spoil, signal, 0

    def __call__(self, inputs):
        answer = TeacherOutput(**{self.signal: super().__call__(inputs).features})
        self.n_calls += 1
        return self.spoil(answer) if self.n_calls == 2 else answer


def _set(value, rows):
    def spoil(answer):
        answer.features[rows] = value
        return answer

    return spoil


BAD = {
    "features hold NaN or Inf for 2 keys: 'key 11', 'key 12'": (_set(float("nan"), [1, 2]), NonFiniteError),
    "features hold NaN or Inf for 1 keys: 'key 13'": (_set(float("-inf"), 3), NonFiniteError),
    "beyond float16 .largest 6.55e.04. for 1 keys: 'key 10'": (_set(7e4, 0), NonFiniteError),
    "shape .5, 1. in the batch that starts at key 'key 10', but .5. before": (
        lambda a: TeacherOutput(features=a.features[:, :, None]),
        InconsistentOutputError,
    ),
    "dtype float64 in the batch that starts at key 'key 10', but float32 before": (
        lambda a: TeacherOutput(features=a.features.double()),
        InconsistentOutputError,
    ),
    "gave features, log_probs in the batch that starts at key 'key 10'": (
        lambda a: TeacherOutput(features=a.features, log_probs=a.features[:, :2].log_softmax(-1)),
        InconsistentOutputError,
    ),
    "9 rows for 10 inputs": (lambda a: TeacherOutput(features=a.features[1:]), BankError),
    "features must be .rows, width.; they have shape .10.": (
        lambda a: TeacherOutput(features=a.features[:, 0]),
        BankError,
    ),
    "says nothing": (lambda _: TeacherOutput(), BankError),
}


@pytest.mark.parametrize("message", list(BAD))
def test_bad_answers_are_named(tmp_path, message):
    spoil, error = BAD[message]
    with pytest.raises(error, match=message):
        Bank.build(tmp_path / "b", Answers(spoil), examples(), batch_size=10, shard_size=20, dtype="float16")


def test_a_bad_answer_after_a_resume_is_compared_with_the_first_shard(tmp_path):
    def boom(answer):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Bank.build(tmp_path / "b", Answers(boom), examples(), batch_size=20, shard_size=20)

    class Wider(Answers):
        def __call__(self, inputs):
            return TeacherOutput(features=torch.zeros(len(inputs["x"]), 8))

    with pytest.raises(InconsistentOutputError, match=r"shape \[8\].*'key 20', but \[5\]"):
        Bank.build(tmp_path / "b", Wider(boom), examples(), batch_size=20)


# ---- class names ---------------------------------------------------------------------------------------


def test_labels_are_joined_to_the_teachers_classes_by_name(tmp_path):
    teacher = LinearTeacher()
    teacher.class_names = ("yes", "no")
    bank = Bank.build(tmp_path / "b", teacher, examples())
    assert bank.class_names == ("yes", "no")
    assert torch.equal(bank.labels, 1 - examples().labels)


def test_class_names_that_do_not_join_are_refused(tmp_path):
    teacher = LinearTeacher()
    teacher.class_names = ("ja", "nein")
    with pytest.raises(ClassNamesError, match=r"only the data has 'no', 'yes'"):
        Bank.build(tmp_path / "b", teacher, examples())
    bank = Bank.build(tmp_path / "b", teacher, examples(), class_map={"yes": "ja", "no": "nein"})
    assert torch.equal(bank.labels, 1 - examples().labels)


def test_logits_and_class_names_must_agree_in_number(tmp_path):
    teacher = LinearTeacher()
    teacher.class_names = ("no", "yes", "perhaps")
    with pytest.raises(ClassNamesError, match="2 logits for 3 class names"):
        Bank.build(tmp_path / "b", teacher, examples())


def test_a_teacher_without_class_names_is_warned_about(tmp_path):
    teacher = LinearTeacher()
    teacher.class_names = None
    with pytest.warns(UserWarning, match="does not name its classes"):
        assert Bank.build(tmp_path / "b", teacher, examples()).class_names == NAMES


# ---- data ----------------------------------------------------------------------------------------------


def test_an_empty_data_set(tmp_path):
    for nothing in ([], iter([]), examples().subset([])):
        with pytest.raises(DataError, match="data set is empty"):
            Bank.build(tmp_path / "b", LinearTeacher(), nothing)


def test_bad_labels(tmp_path):
    data = examples()
    data.labels[5] = 2
    with pytest.raises(DataError, match="below 2; they are not for the keys 'key 5'"):
        Bank.build(tmp_path / "b", LinearTeacher(), data)


def test_times_go_to_the_log_alone(tmp_path):
    Bank.build(tmp_path / "b", LinearTeacher(), examples(), shard_size=30)
    lines = [json.loads(line) for line in (tmp_path / "b" / "build.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["start", "shard", "shard", "complete"]
    assert lines[1]["rows"] == 30
    assert lines[-1]["asked"] == 60
    assert not [
        word for word in ("time", "seconds", "host") if word in (tmp_path / "b" / "bank.json").read_text()
    ]
