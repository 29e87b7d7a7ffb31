"""Paths in a recipe: looked for beside the recipe, then in the folder where one starts; and whether they are there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck.banks.folder.absent import MANIFEST_FILE, no_bank
from limbeck.data.own.sides.early import check_sources
from limbeck.errors import BankError
from limbeck.methods.cards import method_card
from limbeck.methods.registry import METHODS, PRESETS
from limbeck.training.ranges import check_trackers

if TYPE_CHECKING:
    from limbeck.recipes.recipe import Recipe
    from limbeck.recipes.specs import TeacherSpec

_NAMES = (
    "source",
    "path",
    "folder",
    "student",
    "teacher",
)  # settings of data that are places where they are texts


def from_its_folder(recipe: Recipe, folder: Path) -> Recipe:
    """``recipe`` with the paths of its data and banks that lie in ``folder``, where the recipe is."""

    def banked(spec: TeacherSpec) -> TeacherSpec:
        return replace(spec, bank=None if spec.bank is None else _placed(spec.bank, folder))

    return replace(
        recipe,
        data=replace(recipe.data, config=_config(recipe.data.config, folder)),
        teacher=banked(recipe.teacher),
        teachers={name: banked(spec) for name, spec in recipe.teachers.items()},
    )


def check_places(recipe: Recipe, teacher: str | None = None) -> None:
    """What can be told of the files and packages of a recipe before torch is loaded, which takes seconds.

    Args:
        teacher: the one that is asked, where it is not all of them.

    Raises: DataError, UnknownNameError, ConfigError, BankError: the sentences of those who read them.
    """
    check_trackers(recipe.training.get("report_to"))
    check_sources(recipe.data.name, recipe.data.config)
    name = recipe.method.name
    if name in {*METHODS, *PRESETS} and not method_card(name).needs:
        return
    for called, spec in recipe.teacher_specs().items():
        if teacher not in (None, called):
            continue
        if spec.bank is not None and not (Path(spec.bank) / MANIFEST_FILE).is_file():
            raise BankError(no_bank(Path(spec.bank)))


def _config(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            found[name] = _config(value, folder)
        else:
            found[name] = _placed(value, folder) if name in _NAMES and isinstance(value, str) else value
    return found


def _placed(value: str, folder: Path) -> str:
    beside, here = folder / Path(value), Path(value)
    if here.is_absolute() or value.startswith(("~", "$", "hf:")) or not value or not beside.exists():
        return value
    return value if here.exists() and here.samefile(beside) else str(beside)
