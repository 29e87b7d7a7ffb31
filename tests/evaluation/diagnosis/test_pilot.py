from __future__ import annotations

import pytest
import torch

from limbeck.evaluation.diagnosis.pilot import Rows, crossed_pilot, pilot
from limbeck.evaluation.diagnosis.ridge import cross_fitted, folds, ridge, standardised
from limbeck.seeding import keyed_generator

C, D = 4, 12


def clouds(n: int, what: str, spread: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    draw = keyed_generator("pilot", what)
    classes = torch.randint(C, (n,), generator=draw)
    return (2 * torch.eye(C, D)[classes] + spread * torch.randn(n, D, generator=draw)).double(), classes


def rows(said: torch.Tensor | None = None, *, n_labels: int = 8, bag: int = 0) -> Rows:
    """Linked rows of which a teacher says the class (or ``said``), in bags of that size."""
    features, classes = clouds(400, "linked")
    features_l, labels = clouds(n_labels, "labelled")
    order = (
        torch.argsort(classes + 2 * torch.rand(400, generator=keyed_generator("order")))
        if bag
        else torch.arange(400)
    )
    probs = torch.eye(C, dtype=torch.float64)[(classes if said is None else said)[order]]
    if not bag:
        return Rows(features_l, labels, features, probs)
    group = torch.arange(400) // bag
    means = torch.stack([probs[group == g].mean(0) for g in range(400 // bag)])
    return Rows(features_l, labels, features[order], means, group)


@pytest.mark.parametrize("bag", [0, 8])
def test_a_right_teacher_gains_and_a_teacher_of_noise_does_not(bag: int) -> None:
    judges = clouds(300, "judges")
    right = pilot(rows(bag=bag), *judges)
    assert right.gain > 0.1
    assert right.low > 0
    assert right.low < right.gain < right.high
    noise = torch.randint(C, (400,), generator=keyed_generator("noise"))
    assert (
        pilot(rows(noise, bag=bag), *judges).gain < right.gain - 0.15
    )  # bags of noise still sort rows by likeness


def test_without_labels_it_is_compared_with_chance() -> None:
    found = pilot(rows(n_labels=0), *clouds(300, "judges"))
    assert found.alone == 1 / C
    assert found.gain == pytest.approx(found.taught - 1 / C)
    assert found.low > 0.4


def test_crossed_judges_are_not_learned_from() -> None:
    found = crossed_pilot(rows(n_labels=40))
    assert found.crossed
    assert found.n == 40
    assert found.alone < 1


def test_ridge_is_the_closed_form() -> None:
    x, classes = clouds(60, "ridge")
    t = torch.eye(C, dtype=torch.float64)[classes]
    w = torch.rand(60, generator=keyed_generator("w")).double()
    found = ridge(x, t, w, strength=0.3)
    share = w / w.sum()
    centred = x - share @ x
    gram = centred.T @ (share[:, None] * centred)
    unit = gram.diagonal().mean()
    slopes = torch.linalg.solve(
        gram + 0.3 * unit * torch.eye(D), centred.T @ (share[:, None] * (t - share @ t))
    )
    torch.testing.assert_close(found.weight, slopes)
    torch.testing.assert_close(found(x).T @ share, t.T @ share)  # no penalty on the offset


def test_the_strength_follows_the_noise() -> None:
    x, _ = clouds(80, "strength")
    signal = x @ torch.randn(D, 1, generator=keyed_generator("map")).double()
    noise = torch.randn(80, 1, generator=keyed_generator("n")).double()
    assert ridge(x, signal).strength < ridge(x, signal + 20 * noise).strength


def test_leaving_out_one_by_one_in_closed_form() -> None:
    """The strength chosen is that of the least error of 30 refits."""
    x, classes = clouds(30, "loo")
    t = (
        torch.eye(C, dtype=torch.float64)[classes]
        + 0.3 * torch.randn(30, C, generator=keyed_generator("e")).double()
    )
    chosen = ridge(x, t).strength

    def left_out(strength: float) -> float:
        error = 0.0
        for i in range(30):
            kept = torch.arange(30) != i
            # the same penalty as with all rows: the unit changes with the rows
            unit_all = (x - x.mean(0)).square().sum() / 30 / D
            unit = (x[kept] - x[kept].mean(0)).square().sum() / 29 / D
            found = ridge(x[kept], t[kept], strength=strength * float(unit_all / unit) * 30 / 29)
            error += float((found(x[i : i + 1]) - t[i]).square().sum())
        return error

    assert left_out(chosen) <= 1.001 * min(left_out(chosen / 10**0.5), left_out(chosen * 10**0.5))


def test_folds_deal_out_each_class_and_cross_fitting_keeps_the_order() -> None:
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    parts = folds(8, 4, labels)
    assert all(labels[part].tolist() == [0, 1] for part in parts)
    seen = cross_fitted(lambda kept: torch.where(kept, -1, torch.arange(8)), 8, 4, labels)
    assert seen.tolist() == list(range(8))


def test_constant_columns_stay_at_zero() -> None:
    x = torch.tensor([[1.0, 5.0], [3.0, 5.0]])
    inside, outside = standardised(x, torch.tensor([[2.0, 9.0]]))
    assert inside.tolist() == [[-1.0, 0.0], [1.0, 0.0]]
    assert outside.tolist() == [[0.0, 0.0]]
