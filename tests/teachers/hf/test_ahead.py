"""Pictures and sounds decoded beside the model: the same bank, the same errors, a bounded number ahead."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from limbeck.banks import Bank
from limbeck.banks.engines.ahead import ahead, in_thread
from limbeck.errors import DataError, UnreadableRowsError
from limbeck.teachers import HFTeacher

Image = pytest.importorskip("PIL.Image")


def jpeg(seed: int) -> bytes:
    file, rng = io.BytesIO(), np.random.default_rng(seed)
    Image.fromarray(rng.integers(0, 255, (24 + seed, 20, 3), dtype=np.uint8)).save(file, format="JPEG")
    return file.getvalue()


def rows(n: int = 11) -> list[dict[str, Any]]:
    return [{"id": f"p{i}", "image": {"bytes": jpeg(i), "path": None}} for i in range(n)]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


class Watched(HFTeacher):
    """Notes which thread decodes, how far ahead, and dies at the ``dies``-th forward."""

    def __init__(self, source: Path, dies: int | None = None) -> None:
        super().__init__(source)
        self.threads: set[str] = set()
        self.n_prepared = self.n_read = self.most_ahead = 0
        self.dies = dies

    def prepare(self, inputs, most=None):
        self.threads.add(threading.current_thread().name)
        self.n_prepared += 1
        self.most_ahead = max(self.most_ahead, self.n_prepared - self.n_read)
        return super().prepare(inputs, most)

    def read(self, prepared):
        self.n_read += 1
        if self.n_read == self.dies:
            raise RuntimeError("killed")
        return super().read(prepared)


def test_the_bank_is_the_same_to_the_byte_however_many_threads_decode(tiny, tmp_path):
    teachers = {workers: Watched(tiny["vit"]) for workers in (0, 1, 3)}
    for workers, teacher in teachers.items():
        Bank.build(tmp_path / str(workers), teacher, rows(), batch_size=2, shard_size=4, workers=workers)
    assert contents(tmp_path / "0") == contents(tmp_path / "1") == contents(tmp_path / "3")
    names = {thread.partition("_")[0] for teacher in (teachers[1], teachers[3]) for thread in teacher.threads}
    assert names == {"ahead"}
    assert teachers[3].most_ahead <= 5  # that of which the answer is awaited, and one more than threads
    assert teachers[0].threads == {threading.main_thread().name}


def test_a_build_that_died_goes_on_at_its_shard_with_the_same_bytes(tiny, tmp_path):
    sizes = {"batch_size": 2, "shard_size": 4}
    Bank.build(tmp_path / "whole", Watched(tiny["vit"]), rows(), workers=0, **sizes)
    with pytest.raises(RuntimeError, match="killed"):
        Bank.build(tmp_path / "died", Watched(tiny["vit"], dies=4), rows(), workers=2, **sizes)
    assert len(contents(tmp_path / "died")) == 1  # the shards that were whole, none of what was ahead
    again = Watched(tiny["vit"])
    Bank.build(tmp_path / "died", again, rows(), workers=2, **sizes)
    assert again.n_read == again.n_prepared == 4  # 7 of 11 rows are left, in shards of 4
    assert contents(tmp_path / "died") == contents(tmp_path / "whole")


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_picture_is_named_when_its_turn_comes(tiny, tmp_path, workers):
    broken = rows()
    broken[9]["image"] = {"bytes": b"no picture", "path": None}
    teacher = Watched(tiny["vit"])
    with pytest.raises(UnreadableRowsError, match=r"1 of 2 pictures.*Keys: 'p9'"):
        Bank.build(tmp_path / "b", teacher, broken, batch_size=2, shard_size=4, workers=workers)
    assert teacher.n_read == 4
    assert len(contents(tmp_path / "b")) == 2


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_of_the_data_comes_after_what_was_read_before_it(tiny, tmp_path, workers):
    twice = [*rows(), rows()[0]]
    with pytest.raises(DataError, match="'p0' comes twice"):
        Bank.build(tmp_path / "b", Watched(tiny["vit"]), twice, batch_size=2, shard_size=2, workers=workers)
    assert len(contents(tmp_path / "b")) == 5


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
def test_no_thread_outlives_a_build_that_is_stopped(tiny, tmp_path, stop):
    class Stopped(HFTeacher):
        def read(self, prepared):
            raise stop

    with pytest.raises(stop):
        Bank.build(tmp_path / "b", Stopped(tiny["vit"]), iter(rows()), batch_size=2, workers=2)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


def test_what_a_derived_teacher_does_in_its_own_call_is_done(tiny, tmp_path):
    class Halved(HFTeacher):
        def __call__(self, inputs, most=None):
            output = super().__call__(inputs, most)
            return replace(output, features=output.features / 2)

    whole = Bank.build(tmp_path / "whole", HFTeacher(tiny["vit"]), rows(3), workers=2)
    half = Bank.build(tmp_path / "half", Halved(tiny["vit"]), rows(3), workers=2)
    keys = ["p0", "p1", "p2"]
    assert half.lookup(keys).features.equal(whole.lookup(keys).features / 2)


def test_an_opened_picture_is_left_to_the_thread_that_answers(tiny, tmp_path):
    for name, data in (("a.jpg", jpeg(3)), ("b.jpg", jpeg(4))):
        (tmp_path / name).write_bytes(data)
    teacher = HFTeacher(tiny["vit"])
    opened = [Image.open(tmp_path / name) for name in ("a.jpg", "b.jpg")]
    prepared = teacher.prepare({"image": opened})
    assert prepared.parts[0][1] is None
    files = teacher.prepare({"image": [str(tmp_path / name) for name in ("a.jpg", "b.jpg")]})
    assert set(files.parts[0][1] or ()) == {"pixel_values"}
    torch.testing.assert_close(teacher.read(prepared).features, teacher.read(files).features, rtol=0, atol=0)


def test_items_come_in_order_and_no_further_ahead_than_said():
    made: list[int] = []

    def items(stop: int) -> Iterator[int]:
        for i in range(stop):
            made.append(i)
            yield i
        raise KeyError("broken")

    asked = in_thread(items(9), 3)
    assert next(asked) == 0
    asked.close()
    assert len(made) <= 3
    got: list[int] = []
    with pytest.raises(KeyError, match="broken"):
        got.extend(in_thread(items(5), 2))
    assert got == [0, 1, 2, 3, 4]
    assert [double for _, double in ahead(iter([1, 2, 3]), 2, lambda i: 2 * i)] == [2, 4, 6]
