"""The teachers of a run as its method reads them: signals checked, classes joined, the control applied."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import cast

import torch
from torch import Tensor

from limbeck.banks.bank import Bank
from limbeck.banks.controls import moved_rows, prototype_like, random_like, shuffled, uniform_like
from limbeck.banks.layout import entry_of, width_of
from limbeck.banks.stores import HIDDEN
from limbeck.data.base import Examples
from limbeck.data.task import Task, TeacherSide
from limbeck.errors import ConfigError, DataError, LinkError, MissingSignalError, some
from limbeck.methods.declared import Side
from limbeck.methods.registry import MethodPlan
from limbeck.recipes.recipe import Recipe, TeacherSpec
from limbeck.signals.classes import join_class_names
from limbeck.signals.layers import stored_layer
from limbeck.signals.links.base import Link
from limbeck.signals.links.choose import link_named
from limbeck.signals.output import ACCESS_OF_SIGNAL, TeacherOutput
from limbeck.signals.ragged import row_shape
from limbeck.signals.teacher import Teacher
from limbeck.teachers.live import InClasses, LiveTeacher, Samples
from limbeck.training.collator import LinkedTeacher


@dataclass(frozen=True)
class Taught:
    """One teacher of a run.

    Args:
        linked: how the collator finds its rows.    side: its sizes.
        live: who is asked in every step; None for a bank.
        layers: layer as the method names it to the hidden states' own name.
        warnings: what a user should know.
    """

    linked: LinkedTeacher
    side: Side
    live: Teacher | None = None
    layers: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Wanted:
    """What a method wants of one teacher."""

    method: str
    link: Link
    needs: frozenset[str]
    layers: tuple[str, ...]
    control: str
    seed: int
    class_names: tuple[str, ...]
    class_map: Mapping[str, str] | None
    reads_classes: bool
    train: Examples
    class_means: bool = False

    @property
    def signals(self) -> list[str]:
        """What is read of the store; log-probabilities do in the place of logits, the head is always there."""
        return sorted(self.needs - {"head"} | ({"log_probs"} if "logits" in self.needs else set()))


def readable(source: Bank | LiveTeacher, name: str, recipe: Recipe, task: Task, plan: MethodPlan) -> Taught:
    """A teacher as the method reads it: with the signals it needs, the student's classes, and the recipe's control.

    Raises: MissingSignalError, ClassNamesError, LinkError, ConfigError.
    """
    spec = recipe.teacher_specs()[name]
    link = link_of(spec, name, source, task)
    needs = plan.declared.needs
    wanted = _Wanted(
        plan.name,
        link,
        needs,
        tuple(plan.declared.layers.teachers.get(name, ())),
        recipe.control_of(name),
        recipe.seed,
        task.class_names,
        spec.class_map,
        link.goes_by_class or bool(needs & {"logits", "head"}),
        task.splits["train"],
        plan.declared.class_means,
    )
    unclaimed = task.problem.kind not in plan.declared.problems  # else the method knows what the outputs are
    if wanted.reads_classes and not task.problem.is_distribution and unclaimed:
        raise ConfigError(
            f"Method {plan.name!r} goes by classes here, and this task predicts {task.problem.kind} "
            f"({some(task.class_names, 3)}); take armada, fitnets or feature_ot, with a teacher of features."
        )
    if wanted.control == "uniform" and needs != {"logits"}:
        raise ConfigError(
            f"The control 'uniform' is a teacher of class probabilities alone, and {plan.name!r} reads its "
            f"{some(sorted(needs))}; take 'shuffled' or 'random'."
        )
    taught = _live(source, wanted) if isinstance(source, LiveTeacher) else _banked(source, wanted)
    lacking = _lacking(spec, name, link, task)
    return replace(taught, warnings=(*taught.warnings, *lacking))


def _lacking(spec: TeacherSpec, name: str, link: Link, task: Task) -> list[str]:
    """How many teacher rows that the task's link names are not there, in a sentence."""
    named = 0 if spec.link is not None else len(side_of(task, name).link.teacher_keys)
    gone = named - len(link.teacher_keys)
    if gone <= 0:
        return []
    return [
        f"{gone:,} of the {named:,} rows that the link names have no answer of the teacher {name!r}; training goes on "
        "without these (link 'paired' would refuse them)."
    ]


def link_of(spec: TeacherSpec, name: str, source: Bank | LiveTeacher, task: Task) -> Link:
    """The link that the recipe names for a teacher, else that of the task.

    Raises: LinkError where neither says anything of this teacher.
    """
    theirs = source.samples.keys if isinstance(source, LiveTeacher) else source.keys
    of_student = spec.view == "same" and spec.bank is None  # asked about the student's own rows
    if spec.link is not None or of_student:
        return link_named(spec.link or "paired", student_keys=task.splits["train"].keys, teacher_keys=theirs)
    return side_of(task, name).link.among(theirs)


def side_of(task: Task, name: str) -> TeacherSide:
    """The task's side of a teacher; where the task has only one, that of every teacher."""
    if name in task.teachers:
        return task.teachers[name]
    if len(task.teachers) == 1:
        return task.teacher
    raise LinkError(
        f"Nothing links the teacher {name!r} to the student: the data know {some(task.teachers) or 'no teacher'}; name "
        f"one of these, or give the link in the recipe (teachers.{name}.link)."
    )


def task_of_teacher(task: Task, name: str) -> Task:
    """What a teacher is to know, as a task of its own: its labelled rows, its views.

    Raises: DataError where it has no labelled rows; LinkError for a teacher that the task does not know.
    """
    side = side_of(task, name)
    if "train" not in side.splits:
        raise DataError(
            "The teacher cannot be trained: no labelled rows of its own are left beside those that the link names; "
            "give it more labelled rows, or name a bank (teacher.bank)."
        )
    return replace(
        task,
        name=f"{task.name} teacher",
        splits=side.splits.without("link"),
        teachers={},
        views=side.views,
        truth=None,
        preprocessor=dict(side.preprocessor),
    )


def check_signals(method: str, needs: Collection[str], signals: Collection[str], access: str | None) -> None:
    """Refuse a method that needs signals which the teacher does not give, before step 1."""
    offered = set(signals) | ({"logits"} if "log_probs" in signals else set())
    for need in sorted(needs):
        if need not in offered:
            raise MissingSignalError(
                f"Method {method!r} needs the teacher's {need!r}, but this bank holds only "
                f"{', '.join(sorted(signals)) or 'nothing'} (access level {access or 'unknown'!r}); a teacher with "
                f"access level {ACCESS_OF_SIGNAL[need]!r} gives it."
            )


def _banked(bank: Bank, wanted: _Wanted) -> Taught:
    check_signals(wanted.method, wanted.needs, bank.signals, bank.access)
    warnings = []
    if wanted.reads_classes:
        if bank.class_names is None:
            warnings.append(
                f"The bank {bank.name} does not name its classes; they are taken to be those of the data, in their "
                f"order ({', '.join(wanted.class_names)})."
            )
        bank = bank.with_class_names(wanted.class_names, wanted.class_map)
    columns = bank.manifest.signals
    hidden = {n.removeprefix(HIDDEN): tuple(e["shape"]) for n, e in columns.items() if n.startswith(HIDDEN)}
    n_layers = bank.manifest.notes.get("layers")
    layers = {
        asked: stored_layer(asked, hidden, n_layers, f"the bank {bank.name}") for asked in wanted.layers
    }
    bank = _controlled(bank, wanted)
    side = Side(
        bank.width("features"),
        bank.width("logits") or bank.width("log_probs"),
        {asked: hidden[stored] for asked, stored in layers.items()},
        class_means=class_means(bank) if wanted.class_means else None,
    )
    linked = LinkedTeacher(bank, wanted.link, wanted.signals)
    return Taught(linked, side, layers=layers, warnings=tuple(warnings))


def class_means(bank: Bank) -> Tensor:
    """``[C, D]`` mean features of each class, float32: by the bank's labels; without labels by the class that the
    teacher holds likeliest, and zero for a class that it never does.

    Raises: AbsentClassError for a class without rows among the labels.
    """
    if bank.labels is not None and bool((bank.labels >= 0).any()):
        return cast(Tensor, bank.prototypes().features)
    sums = torch.zeros(bank.width("logits") or bank.width("log_probs") or 0, bank.width("features") or 0)
    counts = torch.zeros(len(sums))
    for block in bank.blocks(8192):
        classes = block.log_predictions().argmax(-1)
        sums.index_add_(0, classes, block["features"].float())
        counts += torch.bincount(classes, minlength=len(sums))
    return sums / counts.clamp(min=1)[:, None]


def _controlled(bank: Bank, wanted: _Wanted) -> Bank:
    if wanted.control == "shuffled":
        return shuffled(bank, wanted.link, wanted.seed)
    if wanted.control == "random":
        return random_like(bank, wanted.seed)
    if wanted.control == "prototype":
        train = wanted.train
        return prototype_like(bank, wanted.link.told_classes(bank, train.keys, train.labels))
    return uniform_like(bank) if wanted.control == "uniform" else bank


def _live(live: LiveTeacher, wanted: _Wanted) -> Taught:
    probe, teacher, samples = live.probe, live.teacher, live.samples
    check_signals(wanted.method, wanted.needs, probe.signals, teacher.access)
    if wanted.control not in ("none", "shuffled"):
        raise ConfigError(
            f"The control {wanted.control!r} needs a bank: a live teacher says what it says; take 'shuffled', or "
            "ask it into a bank first."
        )
    if wanted.control == "shuffled":
        samples = Samples(samples.examples, moved_rows(samples, wanted.link, wanted.seed))
    names = teacher.class_names
    if wanted.reads_classes and names is not None and tuple(names) != wanted.class_names:
        teacher = InClasses(teacher, join_class_names(wanted.class_names, names, wanted.class_map))
    hidden = {name: row_shape(value) for name, value in probe.hidden_states.items()}
    layers = {asked: stored_layer(asked, hidden, None, "the live teacher") for asked in wanted.layers}
    side = Side(
        _width(probe, "features"),
        len(wanted.class_names)
        if wanted.reads_classes
        else _width(probe, "logits") or _width(probe, "log_probs"),
        {asked: hidden[stored] for asked, stored in layers.items()},
        {
            name: tuple(value.shape[1:])
            for name, value in samples.examples.rows([0]).items()
            if hasattr(value, "shape")
        },
    )
    linked = LinkedTeacher(samples, wanted.link, sees_student=live.view == "same")
    return Taught(linked, side, live=teacher, layers=layers)


def _width(said: TeacherOutput, signal: str) -> int | None:
    value = getattr(said, signal)
    return None if value is None else width_of(entry_of(value))
