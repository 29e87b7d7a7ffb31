"""What a batch holds: views, teacher rows by each link, and counts."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from limbeck.banks.bank import Bank
from limbeck.errors import AbsentClassError, ClassNamesError, LinkError
from limbeck.signals.links import Draw
from limbeck.training.collator import LinkedTeacher, teacher_rows
from limbeck.training.sampler import TwoStreamSampler
from limbeck.training.streams import streams


def draws(collate: Any, step: int = 0, **changed: Any) -> list[list[Draw]]:
    labelled, units = streams(collate, has_teacher=True)
    settings = {"n_labelled": 5, "n_units": 4, "max_steps": 9, "seed": 0, **changed}
    return list(TwoStreamSampler(labelled, units, **settings).micro_batches(step))


def taught(batch: dict[str, Any]) -> Any:
    """The only teacher's rows of a batch."""
    (rows,) = teacher_rows(batch).values()
    return rows


def labels_of(batch: dict[str, Any]) -> torch.Tensor:
    targets = batch["targets"]
    return torch.where(targets["known"], targets["values"], -100)


def by_slot(collate: Any, parts: list[list[Draw]], name: str = "inputs") -> dict[int, torch.Tensor]:
    """The view of each slot of a step, whatever micro-batch it is in."""
    found = {}
    for part in parts:
        batch = collate(part)
        index = range(len(part)) if name == "inputs" else batch["weak_index"].tolist()
        for draw, i in zip(part, index):
            if i >= 0:
                found[draw.slot] = batch[name]["x"][i]
    return found


@pytest.mark.parametrize("link", ["paired", "bagged"])
@pytest.mark.parametrize("name", ["inputs", "weak_inputs"])
def test_views_are_the_same_however_the_batch_is_cut(
    link: str, name: str, toy: ModuleType, bank: Bank
) -> None:
    collate = toy.collator(link, bank, needs_ema=True)
    whole = by_slot(collate, draws(collate, 3), name)
    cut = by_slot(collate, draws(collate, 3, accumulation=4), name)
    assert whole.keys() == cut.keys()
    assert all(torch.equal(whole[slot], cut[slot]) for slot in whole)


def test_views_differ_by_step_use_and_repetition(toy: ModuleType, bank: Bank) -> None:
    collate = toy.collator("paired", bank, needs_ema=True)
    row = collate.examples.rows([2])["x"][0]

    def labelled(step: int, slot: int) -> torch.Tensor:
        return collate([Draw("labelled", 2, step, slot)])["inputs"]["x"][0]

    assert torch.equal(labelled(0, 0), labelled(0, 0))
    assert not torch.equal(labelled(0, 0), labelled(0, 1))  # drawn twice in one step
    assert not torch.equal(labelled(0, 0), labelled(1, 0))
    assert float((labelled(0, 0) - row).abs().max()) < 1
    free = collate([Draw("unlabelled", 20, 0, 0)])
    assert not torch.equal(free["inputs"]["x"][0], free["weak_inputs"]["x"][0])
    torch.rand(10)
    assert torch.equal(labelled(0, 0), labelled(0, 0))  # no global randomness


def test_rows_without_views_are_the_rows(toy: ModuleType, bank: Bank) -> None:
    collate = toy.collator("paired", bank)
    collate.views = {}
    batch = collate([Draw("unlabelled", 20, 0, 0), Draw("labelled", 2, 0, 1), Draw("unlabelled", 30, 0, 2)])
    assert torch.equal(batch["inputs"]["x"], collate.examples.inputs["x"][[20, 2, 30]])
    assert batch["keys"] == ["s20", "s2", "s30"]
    assert labels_of(batch).tolist() == [-100, 2, -100]


# ---- teacher rows -------------------------------------------------------------------------------------------


def test_pairs(toy: ModuleType, bank: Bank) -> None:
    collate = toy.collator("partly_paired", bank)  # every second free row
    batch = collate([Draw("labelled", 2, 0, 0), Draw("unlabelled", 14, 0, 1), Draw("unlabelled", 12, 0, 2)])
    assert taught(batch).pair_index.tolist() == [-1, 0, 1]
    assert torch.equal(taught(batch).said.features, bank.lookup(["t14", "t12"]).features)
    assert batch["counts"] == {
        "labelled": 1, "pair": 2, "pair:teacher": 2, "match": 2, "row": 3, "bag": 0, "position": 3, "batch": 1,
    }  # fmt: skip


def test_partly_paired_rows_without_a_pair_are_not_drawn(toy: ModuleType, bank: Bank) -> None:
    labelled, units = streams(toy.collator("partly_paired", bank), has_teacher=True)
    assert labelled.tolist() == list(range(12))
    assert units.tolist() == list(range(12, toy.N, 2))


def test_bags(toy: ModuleType, bank: Bank) -> None:
    collate = toy.collator("bagged", bank)
    _, units = streams(collate, has_teacher=True)
    assert [len(unit) for unit in units] == [4] * 8 + [3]
    part = [Draw("unlabelled", row, 0, i) for i, row in enumerate([*units[8], *units[2]])]
    batch = collate([*part, Draw("labelled", 1, 0, 9)])
    assert taught(batch).group_s.tolist() == [8] * 3 + [2] * 4 + [-1]
    assert taught(batch).group_t.tolist() == [8] * 3 + [2] * 4
    keys = [f"t{row}" for row in [*units[8], *units[2]]]
    assert torch.equal(taught(batch).said.logits, bank.lookup(keys).logits)
    assert batch["counts"]["bag"] == 2


def test_by_class_rows_have_the_row_s_class(toy: ModuleType, bank: Bank) -> None:
    collate = toy.collator("by_class", bank)
    for step in range(5):
        (part,) = draws(collate, step, n_labelled=12)
        batch = collate(part)
        assert torch.equal(taught(batch).said.labels, labels_of(batch))
        assert taught(batch).pair_index.tolist() == list(range(12))
        again = [row for cut in draws(collate, step, n_labelled=12, accumulation=3) for row in [*taught(collate(cut)).said.features]]  # fmt: skip  # noqa: E501
        assert torch.equal(torch.stack(again), taught(batch).said.features)


def test_rows_without_labels_take_part_where_nothing_links(toy: ModuleType, bank: Bank) -> None:
    collate = toy.collator("unpaired", bank)
    labelled, unlabelled = streams(collate, has_teacher=True)
    assert sorted([*labelled.tolist(), *unlabelled.tolist()]) == list(range(len(collate.examples)))
    assert streams(toy.collator("by_class", bank), has_teacher=True)[1].tolist() == []


def test_unpaired_rows_are_any_rows(toy: ModuleType, bank: Bank) -> None:
    collate = toy.collator("unpaired", bank)
    seen = set()
    for step in range(20):
        (part,) = draws(collate, step)
        batch = collate(part)
        assert (taught(batch).pair_index == -1).all()
        assert len(taught(batch).said.features) == len(part)
        seen.update(taught(batch).said.features[:, 0].tolist())
    assert len(seen) > toy.N * 0.7


@pytest.mark.parametrize("link", ["paired", "bagged", "by_class"])
def test_a_part_without_linked_rows(link: str, toy: ModuleType, bank: Bank) -> None:
    collate = toy.collator(link, bank, needs_ema=True)
    stream = "unlabelled" if link == "by_class" else "labelled"
    batch = collate([Draw(stream, 1, 0, 0)])
    assert len(taught(batch).said.features) == 0
    assert taught(batch).said.features.shape[1] == 7
    assert batch["counts"]["pair"] == batch["counts"]["bag"] == 0


def test_classes_are_joined_by_name(toy: ModuleType, bank: Bank, tmp_path: Path) -> None:
    order = [2, 0, 1]  # the teacher's classes in another order
    place = torch.tensor([order.index(c) for c in range(3)])
    other = toy.bank(
        tmp_path / "bank",
        class_names=[toy.CLASSES[c] for c in order],
        labels=place[bank.labels],
        logits=bank.lookup(bank.keys).logits[:, order],
    )
    joined = other.with_class_names(toy.CLASSES)
    for link in ("paired", "by_class"):
        parts = draws(toy.collator(link, bank))[0]
        mine, theirs = (taught(toy.collator(link, t)(parts)).said for t in (bank, joined))
        assert torch.equal(mine.logits, theirs.logits)
        assert torch.equal(mine.labels, theirs.labels)
    with pytest.raises(ClassNamesError):
        bank.with_class_names(("ant", "bee", "dog"))


def test_by_class_needs_labels_and_every_class(toy: ModuleType, tmp_path: Path) -> None:
    blind = toy.bank(tmp_path / "blind", labels=None)
    with pytest.raises(LinkError, match="needs a bank with labels"):
        toy.link_to("by_class", toy.examples()).check([], blind)
    poor = toy.bank(tmp_path / "poor", labels=torch.arange(toy.N) % 2)
    with pytest.raises(AbsentClassError, match="The bank has no row of class 'cat'"):
        toy.collator("by_class", poor)([Draw("labelled", 2, 0, 0)])


def test_labelled_rows_in_bags_hide_their_label_there(toy: ModuleType, bank: Bank) -> None:
    """A labelled row that lies in a bag counts once as labelled and once as a member of its bag."""
    from limbeck.signals.links import Bagged

    collate = toy.collator("bagged", bank)
    groups = {f"{{}}{i}": i // 4 for i in range(16)}
    collate = type(collate)(
        collate.examples,
        {
            "teacher": LinkedTeacher(
                bank,
                Bagged(
                    {k.format("s"): g for k, g in groups.items()},
                    {k.format("t"): g for k, g in groups.items()},
                ),
            )
        },
        views={},
        seed=0,
    )
    batch = collate([Draw("labelled", 1, 0, 0), Draw("unlabelled", 1, 0, 1)])
    assert labels_of(batch).tolist() == [1, -100]
    assert taught(batch).group_s.tolist() == [-1, 0]


def test_token_counts_follow_the_attention_mask(toy: ModuleType) -> None:
    rows = toy.examples()
    rows.inputs["attention_mask"] = (torch.arange(4) < (torch.arange(toy.N) % 4 + 1)[:, None]).long()
    collate = toy.collator("unpaired", None, rows=rows)
    collate.views = {}
    assert collate([Draw("labelled", row, 0, row) for row in range(4)])["counts"]["position"] == 1 + 2 + 3 + 4
