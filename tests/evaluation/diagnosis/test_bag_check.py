from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest
import torch

from limbeck.banks.bank import Bank
from limbeck.banks.controls import shuffled, uniform_like
from limbeck.data.base import Examples
from limbeck.evaluation.diagnosis.bag_check import bag_warning, label_predictions
from limbeck.seeding import keyed_generator
from limbeck.signals.classes import UNLABELLED
from limbeck.signals.links import Bagged, Link, Unpaired
from limbeck.students.student import Student
from limbeck.training.collator import DistillationCollator, LinkedTeacher

N_BAGS, SIZE = 20, 8


def mixed(seed: int, confidence: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Predictions of rows in bags of uneven mix, their bags, and the bags' true proportions."""
    generator = keyed_generator("mixed", seed)
    proportions = torch.rand(N_BAGS, 3, generator=generator).pow(4)
    proportions /= proportions.sum(1, keepdim=True)
    group = torch.arange(N_BAGS).repeat_interleave(SIZE)
    truth = torch.multinomial(proportions, SIZE, replacement=True, generator=generator).flatten()
    logits = confidence * torch.nn.functional.one_hot(truth, 3) + torch.randn(
        len(truth), 3, generator=generator
    )
    return logits.softmax(1), group, proportions


def test_label_predictions_find_separated_classes() -> None:
    generator = keyed_generator("separated")
    truth = torch.arange(90) % 3
    x = 3 * torch.eye(3, 10)[truth] + 0.3 * torch.randn(90, 10, generator=generator)
    q = label_predictions(x[:6], truth[:6], x, 3)
    assert torch.allclose(q.sum(1), torch.ones(90))
    assert bool((q.argmax(1) == truth).all())


# ---- the sentence -------------------------------------------------------------------------------------------


def task(toy: ModuleType, folder: Path, n_labelled: int = 9) -> tuple[Student, Examples, Bank, Link]:
    """Rows around class means in bags of uneven mix; the labelled ones first and in no bag."""
    q, group, _ = mixed(0, confidence=9.0)
    truth = torch.cat([torch.arange(n_labelled) % 3, q.argmax(1)])
    generator = keyed_generator("task")
    x = 3 * torch.eye(3, toy.WIDTH)[truth] + torch.randn(len(truth), toy.WIDTH, generator=generator)
    labels = torch.where(torch.arange(len(truth)) < n_labelled, truth, UNLABELLED)
    keys = tuple(f"s{i}" for i in range(len(truth)))
    rows = Examples.classified({"x": x}, keys, labels, toy.CLASSES)
    in_bag = {i + n_labelled: int(g) for i, g in enumerate(group)}
    bank = Bank.from_arrays(
        folder, keys=[f"t{i}" for i in in_bag], logits=6 * torch.eye(3)[truth[n_labelled:]], class_names=toy.CLASSES
    )  # fmt: skip
    link = Bagged({f"s{i}": g for i, g in in_bag.items()}, {f"t{i}": g for i, g in in_bag.items()})
    torch.manual_seed(0)
    student = Student(toy.noisy_net())
    student.probe(rows.rows([0, 1]))
    return student, rows, bank, link


def warning(student: Student, rows: Examples, bank: Bank, link: Link) -> str | None:
    return bag_warning(student, rows, link, bank)


def test_right_bags_pass_and_wrong_ones_are_named(toy: ModuleType, tmp_path: Path) -> None:
    student, rows, bank, link = task(toy, tmp_path / "bank")
    before = {name: value.clone() for name, value in student.state_dict().items()}
    student.train()
    assert warning(student, rows, bank, link) is None
    sentence = warning(student, rows, shuffled(bank, link, seed=0), link)
    assert sentence is not None
    assert re.match(
        r"About \d+% of the bags \(at least \d+%\) look like somebody else's: what 9 labelled rows", sentence
    )
    assert student.training
    assert all(torch.equal(before[name], value) for name, value in student.state_dict().items())


def test_half_of_the_bags_wrong_are_seen(toy: ModuleType, tmp_path: Path) -> None:
    student, rows, bank, link = task(toy, tmp_path / "bank", n_labelled=30)
    half = {g: (g + 1) % 10 if g < 10 else g for g in range(N_BAGS)}
    wrong = Bagged(link.group_s, {key: half[g] for key, g in link.group_t.items()})
    assert warning(student, rows, bank, link) is None
    assert warning(student, rows, bank, wrong) is not None


def test_it_is_silent_where_it_cannot_tell(toy: ModuleType, tmp_path: Path) -> None:
    student, rows, bank, link = task(toy, tmp_path / "bank")
    unlabelled = Examples.classified(
        rows.inputs, rows.keys, torch.full_like(rows.labels, UNLABELLED), rows.class_names
    )
    assert warning(student, unlabelled, shuffled(bank, link, 0), link) is None
    assert warning(student, rows, uniform_like(bank), link) is None
    assert warning(student, rows, bank, Unpaired()) is None
    few = Bagged(*({k: g for k, g in side.items() if g < 4} for side in (link.group_s, link.group_t)))
    assert warning(student, rows, shuffled(bank, few, 0), few) is None


def test_labelled_rows_inside_the_bags_count_with_their_labels(toy: ModuleType, tmp_path: Path) -> None:
    student, rows, bank, link = task(toy, tmp_path / "bank", n_labelled=0)
    truth = mixed(0, confidence=9.0)[0].argmax(1)
    noise = {"x": torch.randn(len(truth), toy.WIDTH, generator=keyed_generator("no information"))}
    labels = torch.where(torch.arange(len(truth)) % 2 == 0, truth, UNLABELLED)
    known = Examples.classified(noise, rows.keys, labels, rows.class_names)
    assert warning(student, known, bank, link) is None
    assert warning(student, known, shuffled(bank, link, 0), link) is not None


def test_a_run_keeps_the_warning_for_its_report(toy: ModuleType, tmp_path: Path) -> None:
    from limbeck.training.trainer import DistillationTrainer

    _, rows, bank, link = task(toy, tmp_path / "bank")
    for teacher, expected in ((bank, 0), (shuffled(bank, link, 0), 1)):
        collate = DistillationCollator(
            rows, {"teacher": LinkedTeacher(teacher, link)}, views={}, needs_weak=True, seed=0
        )
        run = DistillationTrainer(
            toy.distiller("bagkd", None), toy.settings(tmp_path, max_steps=1), collate, method_name="bagkd"
        )  # fmt: skip
        run.train()
        assert len([w for w in run.terms.warnings if "look like somebody else's" in w]) == expected


@pytest.mark.slow
@pytest.mark.real_data
def test_rates_on_av_digits(real_data: Path, tmp_path: Path) -> None:
    """Two labels a class, five seeds: no warning of right bags, always of shuffled ones; the images' true classes
    stand for a perfect teacher."""
    from limbeck.data.benchmarks.av_digits import av_digits
    from limbeck.students.encoders import small_conv_net

    for seed in range(5):
        found = av_digits(
            images=f"mnist:{real_data}/mnist", audio=f"fsdd:{real_data}/fsdd/recordings", link="bagged",
            labels_per_class=2, seed=seed,
        )  # fmt: skip
        truth = dict(zip(found.splits["train"].keys, found.truth.tolist()))
        # same counts on both sides: a bag's images have its clips' classes, in another order
        clips: dict[int, list[int]] = {}
        for key, bag in found.teacher.link.group_s.items():
            clips.setdefault(bag, []).append(truth[key])
        classes = [clips[bag].pop() for bag in found.teacher.link.group_t.values()]
        bank = Bank.from_arrays(
            tmp_path / str(seed), keys=list(found.teacher.link.group_t), logits=6 * torch.eye(10)[classes],
            class_names=found.class_names,
        )  # fmt: skip
        torch.manual_seed(seed)
        student = Student(small_conv_net(10))
        rows = found.splits["train"]
        student.probe(rows.rows([0, 1]))
        assert warning(student, rows, bank, found.teacher.link) is None
        assert (
            warning(student, rows, shuffled(bank, found.teacher.link, seed), found.teacher.link) is not None
        )
