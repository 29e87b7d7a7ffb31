from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from limbeck.evaluation.diagnosis.reach import reach
from limbeck.signals.links import PartlyPaired
from limbeck.signals.output import TeacherOutput


def test_what_reaches_whom_by_each_link(case: Callable[..., Any]) -> None:
    for link, n_new in (("paired", 400), ("bagged", 400), ("by_class", 0), ("unpaired", 0)):
        made = case(link=link)
        found = reach(made.task.teacher.link, made.bank, made.task.splits["train"])
        assert (found.n_new, len(found.rows), found.in_bags) == (n_new, n_new, link == "bagged")


def test_pairs_arrive_at_their_own_row_and_labelled_pairs_are_not_new(case: Callable[..., Any]) -> None:
    made = case()
    train = made.task.splits["train"]
    link = PartlyPaired({"s0": "t5", "s9": "t2", "s20": "t7"})  # s0 has a label
    found = reach(link, made.bank, train)
    assert found.rows.tolist() == [0, 9, 20]
    assert found.is_new.tolist() == [False, True, True]
    assert found.n_new == 2
    said = made.bank.lookup(["t5", "t2", "t7"]).log_predictions()
    torch.testing.assert_close(found.log_probs, said)


def test_a_bag_arrives_as_the_mean_of_its_rows(case: Callable[..., Any]) -> None:
    made = case(link="bagged")
    found = reach(made.task.teacher.link, made.bank, made.task.splits["train"])
    first = made.bank.lookup([f"t{i}" for i in range(8)]).log_predictions().exp().mean(0)
    torch.testing.assert_close(found.log_probs[0].exp(), first)
    torch.testing.assert_close(found.probs[found.group], found.log_probs.exp())


def test_a_live_teacher_that_is_shown_the_students_rows_reaches_all(case: Callable[..., Any]) -> None:
    made = case()

    def ask(inputs: dict[str, torch.Tensor]) -> TeacherOutput:
        return TeacherOutput(logits=inputs["x"][:, :4])

    train = made.task.splits["train"]
    found = reach(made.task.teacher.link, made.bank, train, ask=ask, sees_student=True)
    assert len(found.rows) == len(train)
    assert found.n_new == 400
    torch.testing.assert_close(found.log_probs, train.all_rows()["x"][:, :4].log_softmax(1))
