"""The teachers of a run as its method reads them: signals checked, classes joined, the control applied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from limbeck.banks.bank import Bank
from limbeck.banks.controls import moved_rows
from limbeck.banks.layout import entry_of, width_of
from limbeck.data.task import Task, TeacherSide
from limbeck.errors import ConfigError, DataError, LinkError, some
from limbeck.methods.declared import Side
from limbeck.methods.registry import MethodPlan
from limbeck.recipes.recipe import Recipe
from limbeck.recipes.specs import TeacherSpec
from limbeck.signals.classes import join_class_names
from limbeck.signals.layers import stored_layer
from limbeck.signals.links.base import Link
from limbeck.signals.links.choose import link_named
from limbeck.signals.output import TeacherOutput
from limbeck.signals.ragged import row_shape
from limbeck.teachers.live import InClasses, LiveTeacher, OfNoRows, Samples
from limbeck.training.collator import LinkedTeacher
from limbeck.training.teacher_reading import Taught, Wanted, banked, check_signals


def readable(source: Bank | LiveTeacher, name: str, recipe: Recipe, task: Task, plan: MethodPlan) -> Taught:
    """A teacher as the method reads it: with the signals it needs, the student's classes, and the recipe's control.

    Raises: MissingSignalError, ClassNamesError, LinkError, ConfigError.
    """
    spec = recipe.teacher_specs()[name]
    link = link_of(spec, name, source, task)
    needs = _read_needs(plan.declared.needs, source, task)
    told = _notes(source)
    predicts = "logits" in plan.declared.needs
    sentences = task.problem.check_teacher(name, told) if predicts else ()
    if predicts and recipe.control_of(name) == "shuffled" and isinstance(source, Bank):
        _check_shuffled(task)
    wanted = Wanted(
        plan.name,
        link,
        needs,
        tuple(plan.declared.layers.teachers.get(name, ())),
        recipe.control_of(name),
        recipe.seed,
        task.class_names,
        spec.class_map,
        link.goes_by_class or (task.problem.names_outputs and bool(needs & {"logits", "head"})),
        task.splits["train"],
        plan.declared.class_means,
    )
    knows = plan.declared.claims(task.problem.kind)  # what its outputs are
    if wanted.reads_classes and not (task.problem.is_distribution or knows):
        raise ConfigError(
            f"Method {plan.name!r} goes by classes here, and this task predicts {task.problem.kind} "
            f"({some(task.class_names, 3)}); take armada, fitnets or feature_ot, with a teacher of features."
        )
    if wanted.control == "uniform" and needs != {"logits"}:
        raise ConfigError(
            f"The control 'uniform' is a teacher of class probabilities alone, and {plan.name!r} reads its "
            f"{some(sorted(needs))}; take 'shuffled' or 'random'."
        )
    taught = _live(source, wanted) if isinstance(source, LiveTeacher) else banked(source, wanted)
    lacking = _lacking(spec, name, link, task)
    return replace(taught, warnings=(*taught.warnings, *lacking, *sentences))


def _read_needs(needs: frozenset[str], source: Bank | LiveTeacher, task: Task) -> frozenset[str]:
    """What is read of a teacher; of a problem whose predictions may come in other signals than logits, the first of
    these that it has (where it has none, those of the first are what it is told to lack)."""
    forms = task.problem.predictions_in
    if "logits" not in needs or not forms:
        return needs
    offered = source.signals if isinstance(source, Bank) else source.probe.signals
    return needs - {"logits"} | next((form for form in forms if form <= offered), forms[0])


def _check_shuffled(task: Task) -> None:
    """Raises ConfigError where the answers that a teacher scored would move with what it was shown."""
    if task.problem.kept_columns:
        raise ConfigError(
            f"In a bank of a {task.problem.kind} the teacher's answers would move to rows that have others, which "
            "teaches wrong words and is no control; ask it live (teacher.live), and the same answers are scored under "
            "another row's prompt."
        )


def _notes(source: Bank | LiveTeacher) -> Mapping[str, Any]:
    """What a teacher, or a bank of its answers, says of itself."""
    if isinstance(source, Bank):
        return source.manifest.notes
    return getattr(source.teacher, "notes", None) or {}


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


def _live(live: LiveTeacher, wanted: Wanted) -> Taught:
    probe, teacher, samples = live.probe, live.teacher, live.samples
    check_signals(wanted.method, wanted.needs, probe.signals, teacher.access)
    if wanted.control not in ("none", "shuffled"):
        raise ConfigError(
            f"The control {wanted.control!r} needs a bank: a live teacher says what it says; take 'shuffled', or "
            "ask it into a bank first."
        )
    if wanted.control == "shuffled":
        order = moved_rows(samples, wanted.link, wanted.seed)
        samples = Samples(samples.examples, order, samples.examples.problem.kept_columns)
    names, teacher = teacher.class_names, OfNoRows(teacher, probe)
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
