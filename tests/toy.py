"""A task small enough that a training run takes a tenth of a second: clouds around class means, any link."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from limbeck.banks.bank import Bank
from limbeck.data.base import Examples
from limbeck.methods.declared import Shapes, Side
from limbeck.methods.registry import plan_method
from limbeck.problems.base import Problem, Targets
from limbeck.problems.classification import Classification
from limbeck.problems.multilabel import MultiLabel
from limbeck.problems.registry import problem
from limbeck.problems.regression import Regression
from limbeck.seeding import keyed_generator
from limbeck.signals.classes import UNLABELLED
from limbeck.signals.links import Bagged, Link, Paired, PartlyPaired
from limbeck.signals.links.choose import link_named
from limbeck.students.student import Student
from limbeck.teachers.live import LiveTeacher
from limbeck.training.arguments import DistillationArguments
from limbeck.training.collator import DistillationCollator, LinkedTeacher
from limbeck.training.distiller import Distiller
from limbeck.training.trainer import DistillationTrainer

CLASSES = ("ant", "bee", "cat")
N, WIDTH, BAG = 48, 5, 4
# The link a method is tried with, where it is not "paired".
LINK = {
    "supervised": "unpaired",
    "dml": "unpaired",
    "mean_teacher": "unpaired",
    "feature_ot": "by_class",
    "ucmkd": "by_class",
    "bagkd": "bagged",
}

# Methods that ask a teacher about other inputs, which a bank cannot answer; they have tests of their own.
ASK_LIVE = {"mixed", "mix_kd", "mixup_kd", "cutmix_pick", "function_matching"}


def noise(inputs: dict[str, torch.Tensor], generators: Any) -> dict[str, torch.Tensor]:
    """A view: one generator a row."""
    draws = {
        k: torch.stack([torch.randn(v.shape[1:], generator=g) for g in generators]) for k, v in inputs.items()
    }
    return {name: value + 0.1 * draws[name] for name, value in inputs.items()}


def clouds(n: int, width: int, what: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Points ``[n, width]`` and their classes, in turn."""
    generator = keyed_generator("toy", what)
    classes = torch.arange(n) % len(CLASSES)
    means = 2 * torch.randn(len(CLASSES), width, generator=generator)
    return means[classes] + torch.randn(n, width, generator=generator), classes


def examples(n: int = N, n_labelled: int = 12) -> Examples:
    x, classes = clouds(n, WIDTH, "student")
    labels = torch.where(torch.arange(n) < n_labelled, classes, UNLABELLED)
    return Examples.classified({"x": x}, tuple(f"s{i}" for i in range(n)), labels, CLASSES)


def posed(kind: str, rows: Examples | None = None) -> Examples:
    """The same rows with another thing to be found: the distance from the mean of class 0, classes 0 and 1 as labels
    that may come together, or the class as a choice."""
    rows = rows or examples()
    known = rows.targets.known
    if kind == "regression":
        return replace(
            rows, targets=Targets(rows.all_rows()["x"].sum(1), known), problem=Regression(("sum",))
        )
    if kind == "multilabel":
        values = torch.stack([rows.labels == 0, rows.labels != 1], dim=1).float()
        return replace(rows, targets=Targets(values, known), problem=MultiLabel(("ant", "winged")))
    return replace(rows, problem=problem(kind, CLASSES))


def doubled(rows: Examples) -> Examples:
    return replace(rows, inputs={name: value.double() for name, value in rows.all_rows().items()})


def bank(folder: Path, width: int = 7, n: int = N, **changed: Any) -> Bank:
    """Teacher rows ``t0, t1, ...`` of the classes of ``s0, s1, ...``, with every signal."""
    features, classes = clouds(n, width, "teacher")
    head = torch.randn(len(CLASSES), width, generator=keyed_generator("toy", "head"))
    columns = {"features": features, "logits": 3 * torch.eye(len(CLASSES))[classes], "labels": classes}
    columns |= {"class_names": CLASSES, "head": (head, None)} | changed
    return Bank.from_arrays(folder, keys=[f"t{i}" for i in range(n)], overwrite=True, **columns)


def link_to(link: str, rows: Examples) -> Link:
    free = [i for i in range(len(rows)) if rows.labels[i] < 0]
    if link in ("paired", "partly_paired"):
        kept = free if link == "paired" else free[::2]
        return (Paired if link == "paired" else PartlyPaired)({f"s{i}": f"t{i}" for i in kept})
    if link == "bagged":
        # bags of unequal size: the last one is smaller
        groups = {i: place // BAG for place, i in enumerate(free[:-1])}
        return Bagged({f"s{i}": g for i, g in groups.items()}, {f"t{i}": g for i, g in groups.items()})
    return link_named(link)


def plain_net(n_outputs: int = len(CLASSES)) -> nn.Sequential:
    return nn.Sequential(nn.Linear(WIDTH, 8), nn.Tanh(), nn.Linear(8, n_outputs))


def noisy_net() -> nn.Sequential:
    """With BatchNorm and dropout."""
    return nn.Sequential(
        nn.Linear(WIDTH, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, len(CLASSES))
    )


def _source(teacher: Bank | LiveTeacher) -> Any:
    return teacher.samples if isinstance(teacher, LiveTeacher) else teacher


def collator(
    link: str,
    teacher: Bank | LiveTeacher | None,
    *,
    needs_ema: bool = False,
    seed: int = 0,
    rows: Examples | None = None,
) -> DistillationCollator:
    rows = rows or examples()
    return DistillationCollator(
        rows,
        {} if teacher is None else {"teacher": LinkedTeacher(_source(teacher), link_to(link, rows))},
        views={"weak": noise, "strong": noise},
        needs_weak=needs_ema,
        seed=seed,
    )


def distiller(
    method: str,
    teacher: Bank | LiveTeacher | None,
    *,
    net: Any = plain_net,
    config: dict[str, Any] | None = None,
    ema: bool = False,
    asked: Problem | None = None,
) -> Distiller:
    torch.manual_seed(0)
    student = Student(net())
    shape = student.probe(examples().rows([0, 1]))
    sides, live = {}, {}
    if isinstance(teacher, LiveTeacher):
        sides["teacher"] = Side(teacher.probe["features"].shape[1], teacher.probe["logits"].shape[1])
        live["teacher"] = teacher.teacher
    plan = plan_method(method, config)
    if isinstance(teacher, Bank):
        means = teacher.prototypes().features if plan.declared.class_means else None
        sides["teacher"] = Side(teacher.width("features"), teacher.width("logits"), class_means=means)
    made = plan.cls(plan.config, Shapes(Side(shape.feature_width, shape.n_classes), sides))
    fellows = {"fellow": Student(net())} if "fellow" in plan.declared.peers else {}
    return Distiller(
        student,
        made,
        problem=asked or Classification(CLASSES),
        ema_decay=0.9 if ema else None,
        fellows=fellows,
        live=live,
    )


def trainer(
    method: str,
    folder: Path,
    teacher: Bank | LiveTeacher | None,
    *,
    link: str | None = None,
    net: Any = plain_net,
    config: dict[str, Any] | None = None,
    ema: bool = False,
    rows: Examples | None = None,
    validation: Examples | None = None,
    double: bool = False,
    **arguments: Any,
) -> DistillationTrainer:
    declared = plan_method(method, config).declared
    teacher = teacher if declared.has_teacher else None
    if double:
        rows = doubled(rows or examples())
    collate = collator(
        link or LINK.get(method, "paired"), teacher, needs_ema="ema" in declared.peers, rows=rows
    )
    made = distiller(method, teacher, net=net, config=config, ema=ema, asked=rows.problem if rows else None)
    if double:
        made.double()
    return DistillationTrainer(
        made, settings(folder, **arguments), collate, method_name=method, validation=validation
    )


def settings(folder: Path, **changed: Any) -> DistillationArguments:
    values = {"max_steps": 20, "n_labelled": 5, "n_unlabelled": 8, "n_bags": 4, "learning_rate": 1e-2}
    values |= {"logging_steps": 5, "use_cpu": True, "seed": 3, **changed}
    return DistillationArguments(output_dir=str(folder / "checkpoints"), **values)


def weights(made: Distiller | DistillationTrainer) -> dict[str, torch.Tensor]:
    """All weights and buffers, apart from memory."""
    module = made.model if isinstance(made, DistillationTrainer) else made
    return {name: value.detach().clone() for name, value in module.state_dict().items()}
