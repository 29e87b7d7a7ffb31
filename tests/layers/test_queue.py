"""Queues: order, wrapping round, checkpoints, ranks, and numbers of rows."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from limbeck.errors import ConfigError, DataError
from limbeck.layers import Queue, queue, row_numbers


def pushed(made: Queue, *numbers: int) -> None:
    index = torch.tensor(numbers, dtype=torch.long)
    made.push(index, teacher=index[:, None].float() + torch.tensor([0.0, 0.5]))


def test_first_in_first_out_round_the_end():
    made = Queue(4, teacher=2)
    assert len(made) == 0
    assert made.rows("teacher").shape == (0, 2)
    pushed(made, 0, 1, 2)
    assert made.numbers.tolist() == [0, 1, 2]
    pushed(made, 3, 4)
    assert sorted(made.numbers.tolist()) == [1, 2, 3, 4]
    pushed(made, *range(10, 16))
    assert sorted(made.numbers.tolist()) == [12, 13, 14, 15]
    torch.testing.assert_close(made.rows("teacher")[:, 0], made.numbers.float())
    pushed(made)
    assert len(made) == 4


def test_a_checkpoint_goes_on_where_it_was():
    one, other = Queue(4, teacher=2), Queue(4, teacher=2)
    pushed(one, 0, 1, 2, 3, 4)
    other.load_state_dict(one.state_dict())
    for made in (one, other):
        pushed(made, 5, 6)
    assert torch.equal(one.of_teacher, other.of_teacher)
    assert torch.equal(one.numbers, other.numbers)


def test_it_keeps_no_graph():
    made = Queue(2, teacher=1)
    made.push(torch.tensor([1]), teacher=torch.ones(1, 1, requires_grad=True))
    assert not made.rows("teacher").requires_grad


def worker(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    made = Queue(5, teacher=2)
    pushed(made, *([0, 1, 2] if rank == 0 else []))
    pushed(made, *([3] if rank == 0 else [4, 5]))
    torch.save(made.state_dict(), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.full
def test_two_ranks_hold_the_rows_of_both(tmp_path: Path):
    mp.spawn(worker, args=(str(tmp_path),), nprocs=2)
    wanted = Queue(5, teacher=2)
    pushed(wanted, 0, 1, 2)
    pushed(wanted, 3, 4, 5)
    for rank in (0, 1):
        found = torch.load(tmp_path / f"{rank}.pt")
        assert all(torch.equal(found[name], value) for name, value in wanted.state_dict().items())


def test_equal_rows_have_equal_numbers_in_any_batch():
    x = torch.randn(500, 16)
    numbers = row_numbers(x)
    assert len(numbers.unique()) == 500
    assert torch.equal(row_numbers(x[[3, 3, 7]]), numbers[[3, 3, 7]])
    assert torch.equal(row_numbers(x.half()), row_numbers(x.half().float()))
    near = x.clone()
    near[:, 5] = torch.nextafter(near[:, 5], torch.tensor(torch.inf))
    assert not (row_numbers(near) == numbers).any()
    assert not (row_numbers(x.flip(1)) == numbers).any()


def test_bad_input():
    with pytest.raises(ConfigError, match="at least one row, not 0"):
        Queue(0, teacher=2)
    with pytest.raises(DataError, match="A queue of numbers, teacher was given"):
        Queue(2, teacher=2).push(torch.tensor([1]), student=torch.ones(1, 2))
    with pytest.raises(DataError, match="was given"):
        Queue(2, teacher=2).push(torch.tensor([1]), teacher=torch.ones(2, 2))


def test_example():
    assert doctest.testmod(queue, extraglobs={"torch": torch}).failed == 0
