"""A small task for each worked example, and the trainer of it; also run in several processes (see
training/ranks.py)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from toy import CLASSES, WIDTH, N, bank, examples, link_to, plain_net, settings

from limbeck.banks.bank import Bank
from limbeck.data.base import Examples
from limbeck.methods.declared import Shapes, Side
from limbeck.methods.registry import METHODS, plan_method
from limbeck.problems.base import Targets
from limbeck.problems.registry import problem
from limbeck.signals.links import Paired
from limbeck.signals.ragged import Ragged
from limbeck.signals.top_k import TopK
from limbeck.students.dense import Denoiser, TokenEncoder
from limbeck.students.student import Student
from limbeck.teachers import ModuleTeacher
from limbeck.teachers.live import LiveTeacher
from limbeck.training.collator import DistillationCollator, LinkedTeacher
from limbeck.training.distiller import Distiller
from limbeck.training.trainer import DistillationTrainer

# Name to where it is written, as entry points of a package would have it.
WORKED = {
    "rkd": "examples.worked:RKD",
    "mutual": "examples.worked:Mutual",
    "adapted_teacher": "examples.worked:AdaptedTeacher",
    "sorted_vocabularies": "examples.worked:SortedVocabularies",
    "gated": "examples.worked:Gated",
    "any_subset": "examples.worked:AnySubset",
    "data_free": "examples.worked:DataFree",
    "imagined": "examples.critics:Imagined",
    "step_halving": "examples.worked:StepHalving",
}
PAIRS = Paired({f"s{i}": f"t{i}" for i in range(N)})


@dataclass
class Made:
    """What a worked example runs on."""

    rows: Examples
    student: Student
    teachers: dict[str, Bank | LiveTeacher] = field(default_factory=dict)
    fellows: dict[str, Student] = field(default_factory=dict)
    link: Any = PAIRS


class TwoModalities(nn.Module):
    """Two halves of the columns, each of which may be missing."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList([nn.Linear(2, 6), nn.Linear(WIDTH - 2, 6)])
        self.head = nn.Linear(6, len(CLASSES))

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        parts = [part(half) for part, half in zip(self.parts, x.split([2, WIDTH - 2], dim=1))]
        return self.head(torch.tanh(sum(part * present[:, i : i + 1] for i, part in enumerate(parts))))


def keys(side: str) -> tuple[str, ...]:
    return tuple(f"{side}{i}" for i in range(N))


def live(
    net: nn.Module, inputs: Mapping[str, Tensor], gives: Any = "classifier", **changed: Any
) -> LiveTeacher:
    """A teacher that is asked in every step about its own samples."""
    rows = Examples.classified(inputs, keys("t"), torch.arange(N) % len(CLASSES), CLASSES)
    names = CLASSES if gives == "classifier" else None
    return LiveTeacher(ModuleTeacher(net, class_names=names, gives=gives, **changed), rows)


def tokens(folder: Path) -> Made:
    generator = torch.Generator().manual_seed(0)
    ids, lengths = torch.randint(1, 9, (N, 6), generator=generator), torch.arange(N) % 5 + 2
    mask = torch.arange(6) < lengths[:, None]
    targets = Targets(torch.where(mask, ids % 3, -100), torch.arange(N) < 12)
    rows = Examples(
        {"input_ids": ids, "attention_mask": mask.long()},
        keys("s"),
        targets,
        problem("token_classes", CLASSES),
    )
    theirs = (
        torch.arange(N) % 4 + 1
    ).tolist()  # another tokenizer: other lengths, 20 tokens, of which 4 are kept
    said = TopK.of(torch.randn(sum(theirs), 20, generator=generator), k=4)
    bank = Bank.from_arrays(folder / "tokens", keys=keys("t"), overwrite=True, tokens=Ragged(said, theirs))
    return Made(rows, Student(TokenEncoder(3, 9, 8, 0.0), reading="positions"), {"teacher": bank})


def made(name: str, folder: Path) -> Made:
    """The data, the student and the teachers of an example."""
    torch.manual_seed(0)
    rows, student, x = examples(), Student(plain_net()), torch.randn(N, WIDTH)
    if name == "mutual":
        return Made(rows, student, fellows={"fellow": Student(plain_net())})
    if name == "adapted_teacher":
        changes = [{"name": "adapter", "width": 4}]
        return Made(rows, student, {"teacher": live(plain_net(), {"x": x}, changes=changes)})
    if name == "sorted_vocabularies":
        return tokens(folder)
    if name == "gated":
        other = torch.randn(N, len(CLASSES), generator=torch.Generator().manual_seed(1))
        banks = {"pictures": bank(folder / "pictures"), "sounds": bank(folder / "sounds", logits=other)}
        return Made(rows, student, banks)
    if name == "any_subset":
        inputs = {"x": rows.all_rows()["x"], "present": torch.ones(N, 2)}
        whole = Examples(inputs, rows.keys, rows.targets, rows.problem)
        return Made(whole, Student(TwoModalities()), {"teacher": bank(folder / "bank")})
    if name == "data_free":
        noise = Examples.classified({"noise": x}, keys("s"), torch.full((N,), -100), CLASSES)
        return Made(noise, student, {"teacher": live(plain_net(), {"x": x})})
    if name == "step_halving":
        posed = problem("denoising", ("x",))
        inputs = {"x": x[:, :2], "t": torch.zeros(N)}
        data = Examples(inputs, keys("s"), posed.unlabelled(N), posed)
        teacher = live(Denoiser(2, (8,)), inputs, "prediction")
        return Made(data, Student(Denoiser(2, (8,)), reading="prediction"), {"teacher": teacher})
    return Made(rows, student, {"teacher": bank(folder / "bank")}, link=link_to("paired", rows))


def side(student: Student, rows: Examples) -> Side:
    shape = student.probe(rows.rows([0, 1]))
    return Side(shape.feature_width, shape.n_classes)


def of_teacher(teacher: Bank | LiveTeacher) -> Side:
    if isinstance(teacher, Bank):
        return Side(teacher.width("features"), teacher.width("logits"))
    said = teacher.probe
    widths = [None if v is None else v.shape[1] for v in (said.features, said.logits)]
    return Side(
        *widths, inputs={n: tuple(v.shape[1:]) for n, v in teacher.samples.examples.rows([0]).items()}
    )


def trainer(name: str, folder: Path, *, double: bool = False, **arguments: Any) -> DistillationTrainer:
    METHODS.setdefault(name, WORKED[name])
    task, plan = made(name, folder), plan_method(name)
    shapes = Shapes(
        side(task.student, task.rows),
        {n: of_teacher(t) for n, t in task.teachers.items()},
        {n: side(f, task.rows) for n, f in task.fellows.items()},
    )
    alive = {n: t.teacher for n, t in task.teachers.items() if isinstance(t, LiveTeacher)}
    distiller = Distiller(
        task.student,
        plan.cls(plan.config, shapes),
        problem=task.rows.problem,
        fellows=task.fellows,
        live=alive,
    )
    sources = {n: t if isinstance(t, Bank) else t.samples for n, t in task.teachers.items()}
    linked = {n: LinkedTeacher(source, task.link) for n, source in sources.items()}
    collate = DistillationCollator(task.rows, linked, views={}, seed=0)
    return DistillationTrainer(distiller, settings(folder, **arguments), collate, method_name=name)
