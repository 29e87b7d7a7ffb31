from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from limbeck.banks.bank import Bank
from limbeck.evaluation.diagnosis.feature_teacher import with_predictions
from limbeck.seeding import keyed_generator
from limbeck.signals.links import Paired, Unpaired

CLASSES = ("ant", "bee", "cat", "dog")


def bank(folder: Path, classes: torch.Tensor, **columns: Any) -> Bank:
    noise = torch.randn(len(classes), 6, generator=keyed_generator("features"))
    return Bank.from_arrays(
        folder / "features",
        keys=[f"t{i}" for i in range(len(classes))],
        features=2 * torch.eye(4, 6)[classes] + 0.7 * noise,
        class_names=CLASSES,
        overwrite=True,
        **columns,
    )


def accuracy(found: Bank, classes: torch.Tensor) -> float:
    said = found.take(torch.arange(len(classes)).numpy()).log_predictions()
    torch.testing.assert_close(said.exp().sum(1), torch.ones(len(said)))
    return float((said.argmax(1) == classes).double().mean())


def test_a_probe_learns_from_labelled_pairs(case: Callable[..., Any], tmp_path: Path) -> None:
    made = case(labels=10)
    truth, train = made.task.truth, made.task.splits["train"]
    link = Paired({key: f"t{i}" for i, key in enumerate(train.keys)})  # labelled rows too
    found = with_predictions(bank(tmp_path, truth), link, train)
    assert found is not None
    assert "learned from 40 labelled rows" in found[1]
    assert accuracy(found[0], truth) > 0.9


def test_rows_that_taught_the_probe_are_judged_by_one_that_left_them_out(tmp_path: Path, case) -> None:
    """Labels that say nothing of the features: a probe that had seen them would still know them."""
    classes = torch.arange(200) % 4
    noise = torch.randint(4, (200,), generator=keyed_generator("labels"))
    found = with_predictions(bank(tmp_path, classes, labels=noise), Unpaired(), case().task.splits["train"])
    assert found is not None
    assert accuracy(found[0], noise) < 0.35


def test_a_head_speaks_for_its_features_and_nothing_for_none(tmp_path: Path, case) -> None:
    classes, train = torch.arange(200) % 4, case().task.splits["train"]
    found = with_predictions(bank(tmp_path, classes, head=(4 * torch.eye(4, 6), None)), Unpaired(), train)
    assert found is not None
    assert accuracy(found[0], classes) > 0.85
    assert with_predictions(bank(tmp_path, classes), Unpaired(), train) is None
    assert with_predictions(bank(tmp_path, classes), Paired({"s0": "t0"}), train) is None  # one labelled pair
