"""A method as one object: the trainer's loss by its parts, batches of any kind, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import toy
from torch.nn import functional

from limbeck import Distillation
from limbeck.banks.bank import Bank
from limbeck.errors import ConfigError, LinkError, MissingSignalError
from limbeck.functional import distillation_kl
from limbeck.problems.regression import Regression
from limbeck.signals.links import Bagged, Paired

PAIRS = Paired({f"s{i}": f"t{i}" for i in range(toy.N)})


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return toy.bank(tmp_path / "bank")


def batch(n: int = 12, n_labelled: int = 4, first: int = 0) -> dict[str, Any]:
    rows = toy.examples(n_labelled=first + n_labelled)
    index = list(range(first, first + n))
    return {"keys": [f"s{i}" for i in index], "labels": rows.labels[index], **rows.rows(index)}


def test_the_loss_is_that_of_the_terms_by_hand(bank: Bank) -> None:
    net = toy.plain_net()
    d = Distillation("kd", net, bank, batch=batch(), link=PAIRS, temperature=2.0, weight_distillation=0.5)
    given = batch()
    loss = d(given)
    logits, known = net(given["x"]), given["labels"] >= 0
    said = bank.lookup([f"t{i}" for i in range(12)]).logits
    label = functional.cross_entropy(logits[known], given["labels"][known])
    match = distillation_kl(logits, said, temperature=2.0)  # a mean over rows, all of which are paired
    assert float(loss) == pytest.approx(float(label + 0.5 * match), rel=1e-5)
    assert d.terms["distillation"] == pytest.approx(float(match), rel=1e-5)
    loss.backward()
    assert net[0].weight.grad is not None


def test_parts_that_learn_along_are_parameters(bank: Bank) -> None:
    net = toy.plain_net()
    d = Distillation("fitnets", net, bank, batch=batch(), link=PAIRS)
    own = {id(p) for p in net.parameters()}
    more = [p for p in d.parameters() if id(p) not in own]
    assert more
    d(batch()).backward()
    assert all(p.grad is not None for p in more)


@pytest.mark.parametrize(("n", "n_labelled"), [(1, 1), (1, 0), (6, 0), (6, 6)])
def test_a_batch_may_lack_anything(n: int, n_labelled: int, bank: Bank) -> None:
    d = Distillation("kd", toy.plain_net(), bank, batch=batch(), link=PAIRS)
    assert torch.isfinite(d(batch(n, n_labelled)))
    lonely = batch(n, n_labelled) | {"keys": [f"new {i}" for i in range(n)]}
    assert torch.isfinite(d(lonely))
    assert d.terms["distillation"] == 0
    del lonely["labels"]
    assert d(lonely) == 0


def test_keys_may_be_numbers_or_their_texts(tmp_path: Path) -> None:
    features, classes = toy.clouds(12, 7, "teacher")
    bank = Bank.from_arrays(tmp_path / "b", keys=[str(i) for i in range(12)], features=features, labels=classes,
                            class_names=toy.CLASSES)  # fmt: skip
    given = batch() | {"keys": torch.arange(12)}
    d = Distillation("fitnets", toy.plain_net(), bank, batch=given)
    assert d(given) > 0
    assert d.terms["hint"] > 0


@pytest.mark.parametrize("method", ["feature_ot", "ucmkd"])
def test_rows_may_be_linked_by_class(method: str, bank: Bank) -> None:
    given = batch(n_labelled=12)
    del given["keys"]
    d = Distillation(method, toy.plain_net(), bank, batch=given, link="by_class", class_names=toy.CLASSES)
    d(given).backward()


def test_means_of_the_classes_are_those_of_the_bank(bank: Bank) -> None:
    d = Distillation("nd", toy.plain_net(), bank, batch=batch(), link=PAIRS)
    assert torch.equal(d.distiller.method.centres, bank.prototypes().features)
    d(batch()).backward()


def test_bags_and_averages_of_the_student(bank: Bank) -> None:
    link = Bagged({f"s{i}": i // 6 for i in range(12)}, {f"t{i}": i // 6 for i in range(12)})
    d = Distillation("bagkd", toy.plain_net(), bank, batch=batch(), link=link, max_steps=4)
    optimizer = torch.optim.SGD(d.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        d(batch(n_labelled=0)).backward()
        optimizer.step()
    average = d.distiller.ema.student.model[0].weight
    assert not torch.equal(average, d.student.model[0].weight)
    assert int(d.calls) == 3


def test_a_method_without_a_teacher_and_another_problem() -> None:
    given = batch() | {"labels": torch.tensor([0.5, float("nan")] * 6)}
    net = toy.plain_net(1)
    d = Distillation("supervised", net, batch=given, problem=Regression(("size",)))
    d(given).backward()
    assert float(d.eval()(given)) == pytest.approx(
        float((net(given["x"])[::2, 0] - 0.5).square().mean()), rel=1e-4
    )


def test_what_does_not_fit_is_one_sentence(bank: Bank, tmp_path: Path) -> None:
    given, net = batch(), toy.plain_net()
    without = {name: value for name, value in given.items() if name != "keys"}
    features = Bank.from_arrays(tmp_path / "f", keys=["s1"], features=torch.zeros(1, 3))
    with pytest.raises(LinkError, match="No key of the batch is in the bank"):
        Distillation("kd", net, bank, batch=given)
    with pytest.raises(ConfigError, match="no keys"):
        Distillation("kd", net, bank, batch=without)
    with pytest.raises(ConfigError, match="needs a bank"):
        Distillation("kd", net, batch=given)
    with pytest.raises(ConfigError, match="takes no bank"):
        Distillation("supervised", net, bank, batch=given)
    with pytest.raises(LinkError, match="works with data linked as"):
        Distillation("kd", net, bank, batch=given, link="unpaired")
    with pytest.raises(MissingSignalError, match="'logits'"):
        Distillation("kd", net, features, batch=given)
    with pytest.raises(ConfigError, match="3 outputs for 2 names"):
        Distillation("kd", net, bank, batch=given, link=PAIRS, class_names=("a", "b"))
    with pytest.raises(ConfigError, match="did you mean 'temperature'"):
        Distillation("kd", net, bank, batch=given, link=PAIRS, temprature=2.0)
