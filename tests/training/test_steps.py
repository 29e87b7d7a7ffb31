"""What makes a step quick changes nothing of it: walks without names, flags that stand, rows by length."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from accelerate import optimizer
from torch import Tensor, nn
from transformers import TrainerCallback

from limbeck.banks.bank import Bank
from limbeck.methods.registry import plan_method
from limbeck.signals.links.base import Draw
from limbeck.training.sampler import TwoStreamSampler
from limbeck.training.step.lengths import regroups, row_lengths
from limbeck.training.step.walks import Flags, buffers_of, modules_of, parameters_of


class Shared(nn.Module):
    """Tied weights, a module that is there twice, a missing one, a missing parameter and buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 2, bias=False)
        self.b.weight = self.a.weight
        self.again, self.none = self.a, None
        self.register_module("absent", None)
        self.rest = nn.Sequential(nn.BatchNorm1d(2), nn.ModuleList([nn.BatchNorm1d(2, affine=False), self.b]))
        self.register_buffer("nothing", None)


def test_the_walks_are_torchs_own() -> None:
    net = Shared()
    assert [*map(id, modules_of(net))] == [*map(id, net.modules())]
    assert [*map(id, parameters_of(modules_of(net)))] == [*map(id, net.parameters())]
    assert [*map(id, buffers_of(modules_of(net)))] == [*map(id, net.buffers())]


def test_flags_hold_until_somebody_moves_one() -> None:
    net, flags = Shared(), Flags()
    assert not flags.hold(True)
    flags.keep(net)
    assert flags.hold(True)
    assert not flags.hold(False)
    net.rest[0].eval()
    assert not flags.hold(True)
    net.train()
    flags.keep(net)
    net.rest[1].append(nn.Dropout().eval())  # as a part from a checkpoint comes
    assert not flags.hold(True)
    net.train()
    flags.keep(net)
    net.rest[0] = nn.BatchNorm1d(2).eval()
    assert not flags.hold(True)


def test_a_callback_that_evaluates_the_student_leaves_the_next_step_in_training(
    toy: ModuleType, bank: Bank, tmp_path: Path
) -> None:
    run = toy.trainer("kd", tmp_path, bank, net=toy.noisy_net, max_steps=4)
    seen: list[bool] = []

    class Evaluates(TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            run.model.student.eval()

    run.model.student.model.register_forward_pre_hook(lambda module, _: seen.append(module.training))
    run.add_callback(Evaluates())
    run.train()
    assert seen == [True] * 4


def test_zero_grad_clears_all(toy: ModuleType, bank: Bank) -> None:
    made = toy.distiller("kd", bank)
    for kept in (True, False):
        for value in made.parameters():
            value.grad = torch.ones_like(value)
        made.zero_grad(set_to_none=kept)
        assert all((value.grad is None) if kept else not value.grad.any() for value in made.parameters())


def test_accelerate_is_as_it_was(toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    before = optimizer.is_lomo_available
    toy.trainer("kd", tmp_path, bank, max_steps=1).train()
    assert optimizer.is_lomo_available is before


# ---- rows by length -----------------------------------------------------------------------------------------


def sampler(lengths: Tensor | None, accumulation: int = 1, rank: int = 0, world_size: int = 1) -> Any:
    return TwoStreamSampler(
        torch.arange(40), torch.arange(40, 100), n_labelled=9, n_units=14, max_steps=3, seed=5,
        accumulation=accumulation, rank=rank, world_size=world_size, lengths=lengths,
    )  # fmt: skip


def padded(parts: list[list[Draw]], lengths: Tensor) -> int:
    return sum(len(part) * max(int(lengths[draw.row]) for draw in part) for part in parts)


@pytest.mark.parametrize(("accumulation", "world_size"), [(4, 1), (2, 2), (1, 3)])
def test_the_parts_hold_the_draws_of_the_step_and_less_padding(accumulation: int, world_size: int) -> None:
    lengths = torch.randint(3, 120, (100,), generator=torch.Generator().manual_seed(0))

    def parts(by: Tensor | None) -> list[list[Draw]]:
        cuts = [sampler(by, accumulation, rank, world_size) for rank in range(world_size)]
        return [part for cut in cuts for part in cut.micro_batches(1)]

    (whole,) = sampler(lengths).micro_batches(1)
    assert whole == next(iter(sampler(None).micro_batches(1)))  # of one part the order is that of the draws
    found, before = parts(lengths), parts(None)
    assert sorted(draw.slot for part in found for draw in part) == [draw.slot for draw in whole]
    assert {draw for part in found for draw in part} == set(whole)
    assert sorted(map(len, found)) == sorted(map(len, before))
    assert padded(found, lengths) < 0.8 * padded(before, lengths)


def test_which_methods_regroup() -> None:
    assert regroups(plan_method("kd").declared)
    assert not regroups(plan_method("feature_ot").declared)
    assert not regroups(plan_method("ucmkd", {"scheme": "bilevel"}).declared)


def test_the_lengths_of_rows(toy: ModuleType) -> None:
    rows = toy.examples()
    assert row_lengths(rows) is None
    mask = (torch.arange(6) < torch.arange(toy.N)[:, None] % 6 + 1).long()
    rows.inputs["attention_mask"] = mask
    assert row_lengths(rows).tolist() == mask.sum(1).tolist()
    rows.inputs["attention_mask"] = torch.stack([mask, mask.flip(0)], dim=1)  # of two choices the longer one
    assert row_lengths(rows).tolist() == torch.maximum(mask.sum(1), mask.flip(0).sum(1)).tolist()
