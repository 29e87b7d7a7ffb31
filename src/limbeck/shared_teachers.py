"""The teachers of a comparison: each is trained once, and asked once about every row that some arm or seed links."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from limbeck.banks.bank import Bank
from limbeck.data.task import Task
from limbeck.methods.registry import plan_method
from limbeck.recipes.recipe import Recipe
from limbeck.recipes.specs import MethodSpec, TeacherSpec
from limbeck.signals.fingerprint import settings_fingerprint
from limbeck.teacher_stage import asked_rows, teacher_bank, teacher_of
from limbeck.teachers.live import LiveTeacher


@dataclass(frozen=True)
class Place:
    """Where a run finds its teacher.

    Args:
        bank: folder of a bank; None for a live teacher.
        trained: folder of what was trained; a live teacher's weights lie there.
        layers: inner layers that a live teacher shows.
    """

    bank: str | None
    trained: str
    layers: tuple[str, ...] = ()

    def open(self, spec: TeacherSpec, task: Task, name: str) -> Bank | LiveTeacher:
        """The teacher, as :func:`limbeck.runner.run` takes it."""
        return (
            Bank.open(self.bank)
            if self.bank
            else teacher_of(spec, task, Path(self.trained), name, self.layers, as_found=True)
        )


class SharedTeachers:
    """Teachers by recipe and seed, made where they are missing.

    Args:
        folder: of the comparison; teachers lie below ``teachers``.
        methods: of all arms; a teacher is asked for every inner layer that one of them reads.

    ``accuracy``: teacher to its score by split, of those that were trained here.
    """

    def __init__(self, folder: Path, methods: Iterable[MethodSpec] = ()) -> None:
        self.folder, self.layers = folder / "teachers", _layers(methods)
        self.accuracy: dict[str, dict[str, float]] = {}
        self.banks: dict[Path, list[Bank]] = {}

    def places(self, recipe: Recipe, task: Task) -> dict[str, Place]:
        """Teacher to where it lies, for a run of ``recipe`` on ``task``."""
        return {name: self._place(name, spec, task) for name, spec in recipe.teacher_specs().items()}

    def _place(self, name: str, spec: TeacherSpec, task: Task) -> Place:
        if spec.bank is not None:
            Bank.open(spec.bank).verify_once()
            return Place(spec.bank, "")
        decides = {
            k: v
            for k, v in asdict(spec).items()
            if k not in ("class_map", "link", "view") and (v or k != "loading")  # which is later than others
        }
        folder, layers = (
            self.folder / f"{name}-{settings_fingerprint(decides)[:8]}",
            self.layers.get(name, ()),
        )
        again = folder in self.banks  # what was trained on the first task stays what it is for the others
        if spec.live is not None:
            teacher_of(spec, task, folder, name, layers, as_found=again)
            self.banks[folder] = []
            self._keep_accuracy(name, task)
            return Place(None, str(folder), layers)
        known, wanted = self.banks.setdefault(folder, []), set(asked_rows(spec, task, name).keys)
        for bank in known:
            if wanted <= set(bank.keys):
                return Place(str(bank.path), str(folder))
        called = f"bank-{len(known)}" if known else "bank"
        known.append(teacher_bank(spec, task, folder, name, layers, called=called, as_found=again))
        self._keep_accuracy(name, task)
        return Place(str(known[-1].path), str(folder))

    def _keep_accuracy(self, name: str, task: Task) -> None:
        if found := task.info.get("teacher_accuracy"):
            self.accuracy.setdefault(name, dict(found))


def _layers(methods: Iterable[MethodSpec]) -> dict[str, tuple[str, ...]]:
    """Teacher to the inner layers that some method reads, in the order in which they are named."""
    found: dict[str, tuple[str, ...]] = {}
    for method in methods:
        for name, layers in plan_method(method.name, method.config).declared.layers.teachers.items():
            found[name] = tuple(dict.fromkeys((*found.get(name, ()), *layers)))
    return found


def teacher_identity(places: Mapping[str, Place]) -> dict[str, Any]:
    """What decides what the teachers say, for banks; of live ones their recipe says it."""
    return {name: Bank.open(place.bank).fingerprint for name, place in places.items() if place.bank}
