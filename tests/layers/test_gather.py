"""Gathering over two gloo processes equals one process."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from limbeck.layers import gather_with_grad

ROWS = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
CUTS = {"unequal": [(0, 3), (3, 5)], "empty": [(0, 0), (0, 5)]}


def coupled_loss(x: torch.Tensor) -> torch.Tensor:
    return (x @ x.T).exp().sum().log()


def worker(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    weight = torch.ones(3, dtype=torch.float64, requires_grad=True)
    result = {}
    for name, cuts in CUTS.items():
        start, stop = cuts[rank]
        rows = gather_with_grad(ROWS[start:stop] * weight)
        (gradient,) = torch.autograd.grad(coupled_loss(rows), weight)
        dist.all_reduce(gradient)  # what DDP does
        labels = gather_with_grad(torch.arange(start, stop))
        result[name] = (rows.detach(), gradient / 2, labels, gather_with_grad(labels > 1))
    torch.save(result, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_without_ranks_it_is_the_identity():
    assert gather_with_grad(ROWS) is ROWS


@pytest.mark.full
def test_two_ranks_with_unequal_rows_equal_one_process(tmp_path: Path):
    mp.spawn(worker, args=(str(tmp_path),), nprocs=2)
    weight = torch.ones(3, dtype=torch.float64, requires_grad=True)
    (wanted,) = torch.autograd.grad(coupled_loss(ROWS * weight), weight)
    for rank in (0, 1):
        for rows, gradient, labels, flags in torch.load(tmp_path / f"{rank}.pt").values():
            assert torch.equal(rows, ROWS)
            torch.testing.assert_close(gradient, wanted)
            assert labels.tolist() == [0, 1, 2, 3, 4]
            assert flags.shape == (10,)
