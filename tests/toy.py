"""A task small enough that a training run takes a tenth of a second: clouds around class means, any link."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from limbeck.banks.bank import Bank
from limbeck.data.base import Examples
from limbeck.methods.base import Widths
from limbeck.methods.registry import method_class, method_config
from limbeck.seeding import keyed_generator
from limbeck.signals.classes import UNLABELLED
from limbeck.signals.pairing import Pairing
from limbeck.students.student import Student
from limbeck.training.arguments import DistillationArguments
from limbeck.training.collator import DistillationCollator
from limbeck.training.distiller import Distiller
from limbeck.training.trainer import DistillationTrainer

CLASSES = ("ant", "bee", "cat")
N, WIDTH, BAG = 48, 5, 4
# The link each method is tried with.
LINK = {
    "supervised": "unpaired",
    "armada": "paired",
    "kd": "paired",
    "fitnets": "paired",
    "feature_ot": "by_class",
    "ucmkd": "by_class",
    "bagkd": "bagged",
}


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
    return Examples({"x": x}, tuple(f"s{i}" for i in range(n)), labels, CLASSES)


def doubled(rows: Examples) -> Examples:
    return replace(rows, inputs={name: value.double() for name, value in rows.inputs.items()})


def bank(folder: Path, width: int = 7, n: int = N, **changed: Any) -> Bank:
    """Teacher rows ``t0, t1, ...`` of the classes of ``s0, s1, ...``, with every signal."""
    features, classes = clouds(n, width, "teacher")
    head = torch.randn(len(CLASSES), width, generator=keyed_generator("toy", "head"))
    columns = {"features": features, "logits": 3 * torch.eye(len(CLASSES))[classes], "labels": classes}
    columns |= {"class_names": CLASSES, "head": (head, None)} | changed
    return Bank.from_arrays(folder, keys=[f"t{i}" for i in range(n)], overwrite=True, **columns)


def pairing(link: str, rows: Examples) -> Pairing:
    free = [i for i in range(len(rows)) if rows.labels[i] < 0]
    if link in ("paired", "partly_paired"):
        kept = free if link == "paired" else free[::2]
        return Pairing(link, teacher_of={f"s{i}": f"t{i}" for i in kept})
    if link == "bagged":
        # bags of unequal size: the last one is smaller
        groups = {i: place // BAG for place, i in enumerate(free[:-1])}
        return Pairing.bagged(
            {f"s{i}": g for i, g in groups.items()}, {f"t{i}": g for i, g in groups.items()}
        )
    return Pairing(link)


def plain_net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(WIDTH, 8), nn.Tanh(), nn.Linear(8, len(CLASSES)))


def noisy_net() -> nn.Sequential:
    """With BatchNorm and dropout."""
    return nn.Sequential(
        nn.Linear(WIDTH, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, len(CLASSES))
    )


def collator(
    link: str, teacher: Bank | None, *, needs_ema: bool = False, seed: int = 0, rows: Examples | None = None
) -> DistillationCollator:
    rows = rows or examples()
    return DistillationCollator(
        rows,
        pairing(link, rows),
        teacher,
        views={"weak": noise, "strong": noise},
        needs_ema=needs_ema,
        seed=seed,
    )


def distiller(
    method: str,
    teacher: Bank | None,
    *,
    net: Any = plain_net,
    config: dict[str, Any] | None = None,
    ema: bool = False,
) -> Distiller:
    torch.manual_seed(0)
    student = Student(net())
    shape = student.probe(examples().rows([0, 1]))
    widths = Widths(shape.feature_width, teacher.width("features") if teacher else None, shape.n_classes)
    made = method_class(method)(method_config(method, config), widths)
    return Distiller(student, made, ema_decay=0.9 if ema else None)


def trainer(
    method: str,
    folder: Path,
    teacher: Bank | None,
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
    cls = method_class(method)
    teacher = teacher if cls.links else None
    if double:
        rows = doubled(rows or examples())
    collate = collator(link or LINK[method], teacher, needs_ema=cls.needs_ema, rows=rows)
    made = distiller(method, teacher, net=net, config=config, ema=ema)
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
