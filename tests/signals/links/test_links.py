"""Links say what they need."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from limbeck.banks import Bank
from limbeck.errors import DataError, LinkError, MissingKeysError, UnknownNameError
from limbeck.signals.links import LINKS, Bagged, ByClass, Paired, PartlyPaired, Unpaired, link_named
from limbeck.signals.links.choose import link_class


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank.from_arrays(tmp_path / "bank", keys=["a", "b", "c"], features=torch.eye(3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Paired({}), "needs pairs"),
        (lambda: PartlyPaired([]), "'partly_paired' link needs pairs"),
        (lambda: Bagged({1: 0}, {}), "needs group_s and group_t"),
        (lambda: Bagged({1: 0, 2: 1}, {1: 0, 3: 2}), "Groups 1, 2 have rows"),
        (lambda: Bagged({1: -1}, {1: -1}), "start at 0"),
        (lambda: link_named("bagged"), "Bags need groups"),
        (lambda: link_named("paired", student_keys=["a"], teacher_keys=["b"]), "there are none"),
    ],
)
def test_bad_links(make, message):
    with pytest.raises(LinkError, match=message):
        make()


def test_links_by_name():
    with pytest.raises(UnknownNameError, match="did you mean 'paired'"):
        link_named("paird")
    assert {name: link_class(name).name for name in LINKS} == {name: name for name in LINKS}
    assert all(link_class(name).gives for name in LINKS)
    assert isinstance(link_named("by_class"), ByClass)
    assert isinstance(link_named("unpaired"), Unpaired)
    whole = link_named("paired", student_keys=["a", "b"], teacher_keys=["b", "a", "c"])
    assert (whole.name, whole.teacher_of) == ("paired", {"a": "a", "b": "b"})
    part = link_named("paired", student_keys=["a", "z"], teacher_keys=["b", "a"])
    assert (part.name, part.teacher_of) == ("partly_paired", {"a": "a"})


def test_constructors():
    assert Paired(["a", "b"]).teacher_of == {"a": "a", "b": "b"}
    assert Paired({"a": "x", "b": "x"}).teacher_keys == ("x",)
    assert Bagged({1: 0}, {"t": 0}).teacher_keys == ("t",)
    assert Unpaired().teacher_keys == ()


def test_links_go_to_worker_processes():
    link = pickle.loads(pickle.dumps(Bagged({1: 0}, {"t": 0})))
    assert (link.group_s, link.group_t) == ({1: 0}, {"t": 0})


def test_check_names_keys_that_are_missing(bank):
    link = Paired({"s": "a", "q": "gone"})
    with pytest.raises(DataError, match="does not have: 'q'"):
        link.check(["s"], bank)
    with pytest.raises(MissingKeysError, match="'gone'"):
        link.check(["s", "q"], bank)
    Paired(bank.keys).check(bank.keys, bank)
    with pytest.raises(LinkError, match="needs a bank with labels"):
        ByClass().check(["s"], bank)


def test_the_former_name_of_links_leads_on():
    from limbeck.signals.pairing import Pairing

    with pytest.warns(DeprecationWarning, match="Pairing has moved; take"):
        link = Pairing("paired", teacher_of={"a": "x"})
    assert isinstance(link, Paired)
    assert isinstance(Pairing.bagged({1: 0}, {2: 0}), Bagged)


def test_which_student_rows_stand_for_a_teachers(bank):
    """What the control ``self`` puts in the place of an answer."""
    keys, classes = ["x", "y", "z"], torch.tensor([1, 0, -100])
    assert Paired({"z": "a", "x": "c"}).stand_ins(bank, keys, classes, seed=0).tolist() == [2, -1, 0]
    bags = Bagged({"x": 0, "z": 0, "y": 1}, {"a": 0, "b": 0, "c": 1})
    first, second, third = bags.stand_ins(bank, keys, classes, seed=0).tolist()
    assert ({first, second}, third) == ({0, 2}, 1)
    drawn = Unpaired().stand_ins(bank, keys, None, seed=3)
    assert set(drawn.tolist()) <= {0, 1, 2}
    assert drawn.tolist() == Unpaired().stand_ins(bank, keys, None, seed=3).tolist()


def test_rows_of_a_class_stand_for_each_other(tmp_path):
    bank = Bank.from_arrays(
        tmp_path / "labelled", keys=["a", "b", "c"], features=torch.eye(3), labels=[0, 1, 2],
        class_names=("p", "q", "r"),
    )  # fmt: skip
    found = ByClass().stand_ins(bank, ["x", "y", "z"], torch.tensor([1, 0, -100]), seed=0)
    assert found.tolist() == [1, 0, -1]
