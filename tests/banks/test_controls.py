"""Links say what they need, and a control breaks exactly the link that it is the control of."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.banks import Bank, oracle_like, prototype_like, random_like, shuffled, uniform_like
from limbeck.banks.controls import _deranged
from limbeck.errors import DataError, LinkError, UnknownNameError
from limbeck.signals.links import Bagged, ByClass, Paired, Unpaired


def groups_of(bank: Bank, size: int = 8) -> dict:
    return {key: i // size for i, key in enumerate(bank.keys)}


def moved_from(bank: Bank, control: Bank) -> list[int]:
    """For each row of the control the row of the bank whose features it has."""
    real, moved = bank.lookup(bank.keys).features, control.lookup(bank.keys).features
    return torch.cdist(moved.double(), real.double()).argmin(1).tolist()


# ---- shuffled ------------------------------------------------------------------------------------------


def test_shuffled_pairs_keep_no_row(bank):
    control = shuffled(bank, Paired(bank.keys), seed=3)
    origin = moved_from(bank, control)
    assert sorted(origin) == list(range(200)), "every signal is used once"
    assert all(i != row for row, i in enumerate(origin))
    assert control.keys == bank.keys
    assert torch.equal(control.labels, bank.labels)
    assert torch.equal(control.head[0], bank.head[0])


def test_shuffled_bags_move_whole_groups(bank):
    link = Bagged(groups_of(bank), groups_of(bank))
    origin = np.array(moved_from(bank, shuffled(bank, link, seed=3))) // 8
    by_group = origin.reshape(-1, 8)
    assert (by_group == by_group[:, :1]).all(), "a group's signals come from one group"
    assert (by_group[:, 0] != np.arange(25)).all(), "and that is another one"
    assert sorted(by_group[:, 0]) == list(range(25))


def test_shuffled_classes_are_deranged(bank):
    origin = bank.labels[moved_from(bank, shuffled(bank, ByClass(), seed=3))]
    for c in range(4):
        assert len(set(origin[bank.labels == c].tolist())) == 1
        assert (origin[bank.labels == c] != c).all()


def test_rows_outside_the_link_move_among_themselves(bank):
    inside = dict(list(groups_of(bank).items())[:160])
    origin = moved_from(bank, shuffled(bank, Bagged(inside, inside), seed=0))
    assert sorted(origin[160:]) == list(range(160, 200))
    assert all(i != row for row, i in enumerate(origin))


def test_shuffled_keeps_the_views_of_a_key_together(tmp_path):
    views = ["weak", "strong"] * 5
    bank = Bank.from_arrays(
        tmp_path / "b", keys=[i // 2 for i in range(10)], views=views, features=torch.arange(10.0)[:, None]
    )
    control = shuffled(bank, Paired(range(5)), seed=1)
    weak = control.lookup(range(5), view="weak").features
    assert torch.equal(control.lookup(range(5), view="strong").features, weak + 1)
    assert (weak != bank.lookup(range(5), view="weak").features).all()


def test_no_control_where_none_exists(bank):
    with pytest.raises(LinkError, match="no such control exists"):
        shuffled(bank, Unpaired(), 0)
    with pytest.raises(LinkError, match="at least two groups"):
        shuffled(bank, Bagged(groups_of(bank, 500), groups_of(bank, 500)), 0)


def test_a_control_depends_on_its_seed_alone_and_pickles(bank):
    link = Paired(bank.keys)
    first, again, other = (shuffled(bank, link, seed) for seed in (1, 1, 2))
    assert moved_from(bank, first) == moved_from(bank, again) != moved_from(bank, other)
    assert moved_from(bank, pickle.loads(pickle.dumps(first))) == moved_from(bank, first)


@settings(max_examples=60, deadline=None)
@given(
    groups=st.lists(st.integers(-1, 6), min_size=2, max_size=60),
    ordered=st.booleans(),
    seed=st.integers(0, 99),
)
def test_groups_of_any_size_are_deranged(groups, ordered, seed):
    groups = np.array(groups)
    if len(np.unique(groups[groups >= 0])) < 2:
        return
    moved = _deranged(groups, np.random.default_rng(seed), ordered=ordered)
    inside = groups >= 0
    assert (groups[moved][inside] != groups[inside]).all()
    assert (groups[moved][~inside] == -1).all()
    for g in np.unique(groups[inside]):
        sources = moved[groups == g]
        assert len(np.unique(groups[sources])) == 1
        assert len(np.unique(sources)) == min(len(sources), (groups == groups[sources[0]]).sum())


# ---- random, oracle, uniform ---------------------------------------------------------------------------


def test_random_like_has_the_scale_of_a_bank_that_is_sorted(tmp_path):
    x = torch.cat([torch.zeros(10_000, 2), torch.ones(10_000, 2)])
    noise = random_like(Bank.from_arrays(tmp_path / "b", keys=range(20_000), features=x), 0)
    features = next(noise.blocks(20_000)).features
    assert abs(float(features.mean()) - 0.5) < 0.02
    assert abs(float(features.std()) - 0.5) < 0.02


def test_random_like_has_the_scale_but_not_the_content(tmp_path):
    x = torch.randn(4000, 3) * torch.tensor([1.0, 10.0, 0.1]) + torch.tensor([0.0, 50.0, 3.0])
    log_probs = torch.log_softmax(3 * torch.randn(4000, 4), -1)
    bank = Bank.from_arrays(
        tmp_path / "b", keys=range(4000), features=x, log_probs=log_probs, dtype="float16"
    )
    noise = random_like(bank, 0).lookup(range(4000))
    assert noise.features.dtype == torch.float16
    torch.testing.assert_close(noise.features.float().mean(0), x.mean(0), rtol=0.05, atol=0.1)
    torch.testing.assert_close(noise.features.float().std(0), x.std(0), rtol=0.05, atol=0.0)
    assert torch.corrcoef(torch.stack([noise.features[:, 1].float(), x[:, 1]]))[0, 1].abs() < 0.06
    torch.testing.assert_close(noise.log_probs.float().exp().sum(-1), torch.ones(4000), rtol=0, atol=5e-3)
    assert torch.equal(random_like(bank, 0).lookup([7]).features, noise.features[7:8])
    assert not torch.equal(random_like(bank, 1).lookup([7]).features, noise.features[7:8])


def test_oracle_says_the_truth(bank, arrays):
    out = oracle_like(bank).lookup(bank.keys)
    assert torch.equal(out.logits.argmax(-1), arrays.labels)
    assert (out.log_predictions().exp().amax(-1) > 0.9999).all()
    assert torch.equal((out.features @ out.head[0].T).argmax(-1), arrays.labels)
    assert out.features.shape == arrays.features.shape
    assert oracle_like(bank).width("logits") == 4


def test_oracle_needs_all_labels(arrays, tmp_path):
    labels = arrays.labels.clone()
    labels[0] = -100
    bank = Bank.from_arrays(tmp_path / "b", **{**vars(arrays), "labels": labels})
    with pytest.raises(DataError, match="label for every row"):
        oracle_like(bank)


def test_uniform_has_no_opinion(bank):
    flat = uniform_like(bank)
    out = flat.sample(5)
    torch.testing.assert_close(out.log_predictions(), torch.full((5, 4), 0.25).log())
    assert flat.signals == {"logits", "labels"}
    assert flat.width("features") is None


def test_uniform_and_oracle_of_a_bank_of_features(tmp_path):
    bank = Bank.from_arrays(
        tmp_path / "b", keys=[1, 2], features=torch.ones(2, 1), labels=[0, 1], class_names=["a", "b"]
    )
    assert uniform_like(bank).lookup([1]).log_probs.shape == (1, 2)
    assert oracle_like(bank).lookup([1, 2]).features.shape == (2, 1)
    nameless = Bank.from_arrays(tmp_path / "n", keys=[1, 2], features=torch.ones(2, 1))
    with pytest.raises(DataError, match="class_names"):
        uniform_like(nameless)


def test_a_signal_that_does_not_exist_names_the_nearest(tmp_path):
    bank = Bank.from_arrays(tmp_path / "b", keys=[1, 2], logits=torch.zeros(2, 3))
    with pytest.raises(UnknownNameError, match="'logits'"):
        bank.lookup([1], signals=["logit"])


# ---- prototype -----------------------------------------------------------------------------------------


def labelled_bank(folder, n: int = 60, width: int = 6) -> Bank:
    g = torch.Generator().manual_seed(0)
    features = 3 + 2 * torch.randn(n, width, generator=g)
    columns = {
        "features": features,
        "logits": 4 * torch.randn(n, 3, generator=g),
        "labels": torch.arange(n) % 3,
    }
    head = (torch.randn(3, width, generator=g), None)
    return Bank.from_arrays(folder, keys=range(n), class_names=("a", "b", "c"), head=head, **columns)


def test_a_prototype_knows_the_class_and_nothing_else(tmp_path):
    bank = labelled_bank(tmp_path / "bank")
    told = np.where(np.arange(60) < 45, np.arange(60) % 3, -1)
    control = prototype_like(bank, told)
    said = control.lookup(range(60))
    features = said.features.double()
    assert len(torch.unique(features.round(decimals=4), dim=0)) == 4  # three classes, and the centre
    gaps = torch.pdist(torch.stack([features[c] for c in range(3)]))
    assert torch.allclose(gaps, gaps.mean().expand(3), rtol=1e-4)
    real = bank.lookup(range(60)).features.double()
    centre = features[59]
    assert torch.allclose(centre, real.mean(0), atol=1e-5)
    spread = (real - real.mean(0)).square().sum(1).mean()
    assert float((features[0] - centre).square().sum()) == pytest.approx(float(spread), rel=1e-4)
    sure = bank.lookup(range(60)).log_predictions().exp().max(-1).values.mean()
    predicted = said.log_predictions().exp()
    assert predicted[:45].argmax(-1).tolist() == told[:45].tolist()
    assert torch.allclose(predicted[:45].max(-1).values, sure.expand(45), atol=1e-3)
    assert torch.allclose(predicted[45:], torch.full((15, 3), 1 / 3))
    weight, bias = control.head
    assert (said.features[:45] @ weight.T + bias).argmax(-1).tolist() == told[:45].tolist()
    assert torch.equal(pickle.loads(pickle.dumps(control)).lookup([0]).features, control.lookup([0]).features)


def test_a_prototype_needs_classes_that_are_told(tmp_path):
    bank = labelled_bank(tmp_path / "bank")
    with pytest.raises(DataError, match="they say nothing of the teacher's rows"):
        prototype_like(bank, np.full(60, -1))
    plain = Bank.from_arrays(tmp_path / "plain", keys=range(4), features=torch.randn(4, 3))
    with pytest.raises(DataError, match="needs classes"):
        prototype_like(plain, np.zeros(4, dtype=np.int64))


def test_what_a_link_tells_of_the_classes(tmp_path):
    bank = labelled_bank(tmp_path / "bank")
    classes = torch.tensor([2, -100, 1])
    keys = ["s0", "s1", "s2"]
    pairs = Paired({"s0": 5, "s1": 6, "s2": 7})
    told = pairs.told_classes(bank, keys, classes)
    assert {row: int(told[row]) for row in np.flatnonzero(told >= 0)} == {5: 2, 7: 1}
    assert ByClass().told_classes(bank, keys, classes).tolist() == [i % 3 for i in range(60)]
    assert Unpaired().told_classes(bank, keys, classes).tolist() == [i % 3 for i in range(60)]
    bags = Bagged({"s0": 0, "s1": 0}, {0: 0, 1: 0})
    assert (bags.told_classes(bank, keys, classes) == -1).all()
