"""One run of a comparison: a recipe with its control and its teachers, and everything that is kept of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from limbeck.banks.bank import Bank
from limbeck.data import make_task
from limbeck.data.base import Examples
from limbeck.data.task import Task
from limbeck.distill import result_rows
from limbeck.errors import ClassNamesError, LimbeckError
from limbeck.evaluation.agreement import agreement
from limbeck.evaluation.comparison import Arm
from limbeck.evaluation.cost import Cost, measured
from limbeck.evaluation.outcome import Outcome
from limbeck.evaluation.results import NO_CONTROL, Row
from limbeck.methods.registry import plan_method
from limbeck.plan import make_student
from limbeck.problems.metric import AGREEMENT, TEACHER_GAP
from limbeck.recipes.recipe import Recipe
from limbeck.recipes.specs import MethodSpec
from limbeck.reporting.two_dimensions import feature_map
from limbeck.runner import RunResult, run
from limbeck.seeding import keyed_seed
from limbeck.shared_teachers import Place
from limbeck.signals.fingerprint import input_digests, settings_fingerprint, tensor_digest
from limbeck.students.own_model import own_models
from limbeck.taught import link_of
from limbeck.teachers.live import LiveTeacher
from limbeck.tuning.own_copy import is_self, taught_by_itself

LABEL_SMOOTHING = "label_smoothing"
SMOOTHED = 0.1
SAMPLE = 64  # rows of a split whose inputs are part of its fingerprint
COMPARED = 2000  # rows with a teacher's answer on which student and teacher are compared
DRAWN = 600  # rows of a picture
PLAN_NOTE = (
    "Where the method's transport plan sends test rows of each class of the student (down), in per cent of that class, "
    "over the teacher's classes (across). A plan that finds the classes is dark on the diagonal."
)


@dataclass(frozen=True)
class ArmRun:
    """What :func:`limbeck.evaluation.run_arms` calls for each run; picklable.

    Args:
        recipes: arm to its recipe.    places: (arm, seed) to where each of its teachers lies.
        pictures: the seed whose runs without a control are drawn.
        trust_code: import models that a recipe names as ``MODULE:FACTORY``; told here, since each process asks anew.
    """

    recipes: Mapping[str, Recipe]
    places: Mapping[tuple[str, int], Mapping[str, Place]]
    pictures: int
    trust_code: bool = False

    def __call__(self, arm: Arm, control: str, seed: int, folder: Path) -> Outcome:
        recipe = replace(self.recipes[arm.name], seed=seed, output_dir=str(folder))
        with own_models(trust_code=self.trust_code), measured() as cost:
            task = make_task(recipe.data.name, recipe.data.config, seed=seed)
            places, specs = self.places.get((arm.name, seed), {}), recipe.teacher_specs()
            teachers = {name: place.open(specs[name], task, name) for name, place in places.items()}
            found = outcome_of(recipe, arm.name, control, task, teachers, drawn=seed == self.pictures)
        return replace(found, cost=replace(cost, teacher_calls=found.cost.teacher_calls))


def outcome_of(
    recipe: Recipe,
    arm: str,
    control: str,
    task: Task,
    teachers: Mapping[str, Bank | LiveTeacher],
    *,
    drawn: bool = False,
) -> Outcome:
    """Run one arm, with that one thing broken, and keep what a comparison needs of it.

    Args:
        recipe: without its control.    arm: its name.    teachers: those of the recipe, by name; for a method without a
            teacher those that the student is held against.    drawn: features are put into a picture.
    """
    recipe = controlled(recipe, control)
    taught = plan_method(recipe.method.name, recipe.method.config).declared.has_teacher
    original = teachers
    if is_self(control):
        banks = {name: source for name, source in teachers.items() if isinstance(source, Bank)}
        teachers = {**teachers, **taught_by_itself(recipe, control, task, banks, Path(recipe.output_dir))}
    counted = [_counted(teacher) for teacher in teachers.values()] if taught else []
    # verified when the comparison started
    result = run(recipe, task=task, banks=teachers if taught else None, verify=False, show_progress=False)
    rows = [replace(row, control=control) for row in result_rows(result, arm=arm)]
    near = _near_teacher(result, original)
    problem = result.task.problem
    return Outcome(
        rows=rows + [_row(rows[0], name, value) for name, value in near.items() if math.isfinite(value)],
        items=result.statistics,
        data=data_fingerprint(result.task),
        problem={**problem.spec(), "names": list(problem.names)},
        metrics=[asdict(metric) for metric in (*problem.metrics, AGREEMENT, TEACHER_GAP)],
        curve=result.curve,
        warnings=result.warnings,
        cost=Cost(teacher_calls=sum(count.rows for count in counted)),
        pictures=_pictures(result, teachers) if drawn and taught and control == NO_CONTROL else {},
        facts={"data": _plain(result.task.info)},
    )


def controlled(recipe: Recipe, control: str) -> Recipe:
    """The recipe with that one thing broken."""
    if control == LABEL_SMOOTHING:
        return replace(recipe, method=MethodSpec("supervised", {"label_smoothing": SMOOTHED}))
    if is_self(control):  # its teachers are others
        return recipe
    return replace(recipe, control=control)


def data_fingerprint(task: Task) -> dict[str, str]:
    """Split to a hash of its keys, of what is to be found, and of some inputs."""
    splits = task.splits
    with splits.final_evaluation() as final:
        return {role: _fingerprint(final[role]) for role in final.roles}


def _fingerprint(rows: Examples) -> str:
    some = torch.linspace(0, len(rows) - 1, min(len(rows), SAMPLE)).round().long()
    inputs = {
        name: value.tolist() if not isinstance(value, Tensor) else value
        for name, value in rows.rows(some).items()
    }
    targets = {name: tensor_digest(value).hex() for name, value in rows.targets.tensors().items()}
    return settings_fingerprint(
        [[str(key) for key in rows.keys], targets, input_digests(inputs, len(some)).tobytes().hex()]
    )


@dataclass
class _Count:
    """How many rows a teacher was asked about; of a bank those it holds."""

    rows: int


class _Counted:
    """A live teacher that counts the rows it is asked about."""

    def __init__(self, teacher: Any, count: _Count) -> None:
        self.teacher, self.count = teacher, count

    def __call__(self, inputs: Any) -> Any:
        self.count.rows += len(next(iter(inputs.values())))
        return self.teacher(inputs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.teacher, name)


def _counted(teacher: Bank | LiveTeacher) -> _Count:
    count = _Count(len(teacher) if isinstance(teacher, Bank) else 0)
    if isinstance(teacher, LiveTeacher):
        teacher.teacher = _Counted(teacher.teacher, count)
    return count


def _row(like: Row, metric: str, value: float) -> Row:
    """A score on the training rows that the teacher answered too."""
    return replace(like, split="train", metric=metric, value=value)


@torch.no_grad()
def _near_teacher(result: RunResult, teachers: Mapping[str, Bank | LiveTeacher]) -> dict[str, float]:
    """Agreement with the only teacher, as it is without any control, on training rows of the same sample."""
    bank = next(iter(teachers.values()), None)
    task, recipe = result.task, result.recipe
    if len(teachers) != 1 or not isinstance(bank, Bank) or not _goes_by_rows(task):
        return {}
    if not {"logits", "log_probs"} & bank.signals:
        return {}
    name, spec = next(iter(recipe.teacher_specs().items()))
    teacher_of = getattr(link_of(spec, name, bank, task), "teacher_of", {})
    train = task.splits["train"]
    rows = [i for i, key in enumerate(train.keys) if key in teacher_of][:COMPARED]
    if not rows:
        return {}
    if bank.class_names is not None:
        try:
            bank = bank.with_class_names(task.class_names, spec.class_map)
        except ClassNamesError:  # a teacher of other classes, of which a method reads the features alone
            return {}
    said = bank.lookup([teacher_of[train.keys[i]] for i in rows])
    logits = torch.cat(
        [_shown(result.student, train, rows[i : i + 256], "logits") for i in range(0, len(rows), 256)]
    )
    return agreement(logits, said.log_predictions())


def _goes_by_rows(task: Task) -> bool:
    """Whether each row has one class, so that student and teacher can be held against each other row by row."""
    train = task.splits["train"]
    return task.problem.is_distribution and task.problem.classes(train.targets) is not None


def _shown(student: Any, rows: Examples, index: Any, what: str) -> Tensor:
    """``features`` or ``logits`` of some rows, on the processor."""
    device = next(student.parameters()).device
    out = student({n: v.to(device) if isinstance(v, Tensor) else v for n, v in rows.rows(index).items()})
    return getattr(out, what).float().cpu()


@torch.no_grad()
def _pictures(result: RunResult, teachers: Mapping[str, Bank | LiveTeacher]) -> dict[str, Any]:
    """What can be drawn of a run: features of teacher and student before and after, and the plan between them."""
    bank = next(iter(teachers.values()), None)
    task = result.task
    if not isinstance(bank, Bank) or "features" not in bank.signals or bank.labels is None:
        return {}
    if not _goes_by_rows(task):
        return {}
    seen = next(bank.blocks(DRAWN))
    if seen.features is None or seen.labels is None:
        return {}
    torch.manual_seed(keyed_seed(result.recipe.seed, "student"))
    before = make_student(result.recipe.student, task.splits["train"]).eval()
    with task.splits.final_evaluation() as final:
        rows = final[final.final_roles[0]] if final.final_roles else final["validation"]
        index = range(min(len(rows), DRAWN))
        own, labels = _shown(before, rows, index, "features"), rows.labels[: len(index)]
        after = _shown(result.student, rows, index, "features")
    found = _plan(result, (after, labels), (seen.features.float(), seen.labels), bank.class_names)
    features = {"teacher": seen.features, "student before": own, "student after": after}
    by_modality = {"teacher": seen.labels, "student before": labels, "student after": labels}
    with suppress(LimbeckError):  # too few rows of a class for a map
        names = bank.class_names or rows.class_names
        found["map"] = feature_map(features, by_modality, class_names=names)
    return found


def _plan(
    result: RunResult,
    student: tuple[Tensor, Tensor],
    teacher: tuple[Tensor, Tensor],
    teacher_names: Sequence[str] | None,
) -> dict[str, Any]:
    """How much of each class of the student goes to each class of the teacher, in per cent; (features, labels) each."""
    names, others = result.task.class_names, teacher_names or result.task.class_names
    (x_s, y_s), (x_t, y_t) = ((x[y >= 0], y[y >= 0]) for x, y in (student, teacher))
    if result.method is None or not len(y_s) or not len(y_t):
        return {}
    plan = result.method.cpu().plan_between(x_s, x_t)
    if plan is None:
        return {}
    of_s, of_t = (functional.one_hot(y, len(n)).double() for y, n in ((y_s, names), (y_t, others)))
    mass = of_s.T @ plan.double() @ of_t
    shares = 100 * mass / mass.sum(1, keepdim=True).clamp(min=1e-12)
    plain = [[round(share, 2) for share in row] for row in shares.tolist()]
    return {"plan": {"shares": plain, "student": list(names), "teacher": list(others), "caption": PLAN_NOTE}}


def _plain(value: Any) -> Any:
    """Facts as JSON can hold them."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
