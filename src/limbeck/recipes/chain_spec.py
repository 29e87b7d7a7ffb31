"""A chain as it is written: a base recipe, and stages that are patches of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from limbeck.errors import ConfigError, LimbeckError, UnknownNameError, nearest
from limbeck.recipes.recipe import Recipe, shipped_recipes
from limbeck.recipes.specs import MethodSpec, StudentSpec, TeacherSpec
from limbeck.recipes.yaml_file import yaml_keys

REFERENCE = "stage:"
KEYS = ("base", "stages", "output_dir")
_PLACES = re.compile(r"student\.(model|init)|method\.init|(teacher|teachers\.[^.]+)\.(model|init|bank|live)")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_SECTIONS = ("data", "student", "method", "teacher")  # each with a name or model, and its config
Use = tuple[str, str]  # a stage, and what of it is used: weights, teacher, bank, method
_WHAT = {"student": "weights", "method": "method", "teacher": "teacher"}


@dataclass(frozen=True)
class Chain:
    """Stages in the order in which they run.

    Args:
        stages: name to recipe, ``stage:NAME`` as it was written.    output_dir: of the whole; a stage runs in
            ``output_dir/NAME``.
    """

    stages: dict[str, Recipe]
    output_dir: str

    def uses(self, name: str) -> list[Use]:
        """The stages that a stage names, and what for."""
        recipe = self.stages[name]
        found: list[Use] = []
        for where, told in _named(recipe):
            found.append((told, "bank" if where.endswith(".bank") else _WHAT[where.partition(".")[0]]))
        return list(dict.fromkeys(found))

    def recipe(self, name: str) -> Recipe:
        """The recipe of a stage as it is run: in its own folder, with the networks and folders of the stages that it
        names in their places."""
        written = self.stages[name]
        return replace(
            written,
            student=self._student(written.student),
            method=self._method(written.method),
            teacher=self._teacher(written.teacher, None),
            teachers={key: self._teacher(spec, key) for key, spec in written.teachers.items()},
            output_dir=str(self.folder(name)),
        )

    def folder(self, name: str) -> Path:
        """Where a stage runs."""
        return Path(self.output_dir) / name

    def shipped(self, name: str) -> Path:
        """Where a stage leaves its student."""
        return self.folder(name) / "student"

    def _student(self, spec: StudentSpec) -> StudentSpec:
        if told := _reference(spec.model):
            theirs = self._student(self.stages[told].student)
            spec = replace(
                spec,
                model=theirs.model,
                config={**theirs.config, **spec.config},
                pooling=spec.pooling or theirs.pooling,
                init=spec.init or f"{REFERENCE}{told}",
            )
        if told := _reference(spec.init):
            spec = replace(spec, init=str(self.shipped(told)))
        return spec

    def _method(self, spec: MethodSpec) -> MethodSpec:
        told = _reference(spec.init)
        return replace(spec, init=str(self.folder(told))) if told else spec

    def _teacher(self, spec: TeacherSpec, name: str | None) -> TeacherSpec:
        if told := _reference(spec.bank):
            spec = replace(spec, bank=self._bank(told, name))
        if _reference(spec.live):
            spec = replace(spec, model=str(spec.live), live="model")
        if told := _reference(spec.model):
            theirs = self._student(self.stages[told].student)
            config = {**theirs.config, **spec.config}
            spec = replace(
                spec, model=theirs.model, config=config, init=spec.init or f"{REFERENCE}{told}", train=False
            )
        if told := _reference(spec.init):
            spec = replace(spec, init=str(self.shipped(told)), train=False)
        return spec

    def _bank(self, told: str, name: str | None) -> str:
        """The bank that a stage asked, or was given."""
        specs = self.stages[told].teachers
        if specs and name not in specs:
            raise ConfigError(
                f"The stage {told!r} has several teachers, and none is called {name or 'teacher'!r}; "
                f"{nearest(str(name), specs)}"
            )
        spec = self._teacher(specs[str(name)] if specs else self.stages[told].teacher, name)
        return spec.bank or str(self.folder(told) / (str(name) if specs else "") / "bank")


def load_chain(path: str | Path, *, output_dir: str | None = None) -> Chain:
    """The chain in a YAML file, or one that ships, by its name.

    Args:
        output_dir: in place of the file's own.

    Raises: UnknownNameError, ConfigError, one sentence that names the stage and the mend.
    """
    path, shipped = Path(path), shipped_chains()
    path = path if path.is_file() else shipped.get(str(path).removesuffix(".yaml"), path)
    if not path.is_file():
        raise UnknownNameError(
            f"There is no chain {str(path)!r}, neither a file nor one that ships; {nearest(str(path), shipped)}"
        )
    values = yaml_keys(path)
    values.setdefault("output_dir", f"runs/{path.stem}")
    return make_chain(values | ({} if output_dir is None else {"output_dir": output_dir}), beside=path.parent)


def make_chain(values: Mapping[str, Any], *, beside: str | Path = ".") -> Chain:
    """A chain from plain values.

    Args:
        values: ``base`` (keys of a recipe, or a recipe's file or name), ``stages`` (name to keys that differ from it,
            nested or dotted), ``output_dir``.
        beside: folder in which the file of a base is looked for first.

    Raises: as :func:`load_chain`.
    """
    for key in values:
        if key not in KEYS:
            raise ConfigError(f"A chain has no key {key!r}; {nearest(str(key), KEYS)}")
    stages, output_dir = values.get("stages"), values.get("output_dir")
    if not isinstance(stages, Mapping) or not stages:
        raise ConfigError("A chain needs stages: a name and what differs from the base for each of them.")
    if not isinstance(output_dir, str) or not output_dir:
        raise ConfigError("A chain needs an output_dir; its stages run in folders below it.")
    base = _base(values.get("base") or {}, Path(beside))
    recipes: dict[str, Recipe] = {}
    for name, patch in stages.items():
        _check_name(name)
        try:
            merged = patched(base, _nested(patch or {}))
            _check_references(merged, name, list(map(str, stages)))
            recipes[name] = Recipe.from_dict({**merged, "output_dir": str(Path(output_dir) / name)})
        except LimbeckError as error:
            raise type(error)(f"Stage {name!r}: {error}") from error
    return Chain(recipes, output_dir)


def patched(base: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's keys with those of a patch over them.

    Another method, data set or model leaves the config of the base's behind; a section that is null falls back to its
    default.
    """
    merged = {**base}
    for key, value in patch.items():
        if value is None and (key in _SECTIONS or key in ("teachers", "training")):
            merged.pop(key, None)
        elif key == "teachers" and isinstance(value, Mapping):
            theirs = merged.get(key) or {}
            merged[key] = theirs | {name: _over(theirs.get(name), spec) for name, spec in value.items()}
        else:
            merged[key] = _over(merged.get(key), value, key in _SECTIONS)
    return merged


def shipped_chains() -> dict[str, Path]:
    """Name to path of the chains in the package."""
    return {path.stem: path for path in sorted((Path(__file__).parent / "chains").glob("*.yaml"))}


def _over(base: Any, patch: Any, is_section: bool = True) -> Any:
    if not isinstance(base, Mapping) or not isinstance(patch, Mapping):
        return patch
    merged = {**base}
    if is_section and any(key in patch and patch[key] != base.get(key) for key in ("name", "model")):
        merged.pop("config", None)
        if "name" in patch:  # the parts of one method are not those of another
            merged.pop("init", None)
    return merged | {key: _over(merged.get(key), value, False) for key, value in patch.items()}


def _nested(patch: Any) -> dict[str, Any]:
    """Dotted keys of a patch as nested ones."""
    if not isinstance(patch, Mapping):
        raise ConfigError(f"a stage is keys of a recipe that differ from the base, not {patch!r}.")
    nested: dict[str, Any] = {}
    for key, value in patch.items():
        first, *rest = str(key).split(".")
        for part in reversed(rest):
            value = {part: value}
        nested[first] = _over(nested.get(first), value, False)
    if "output_dir" in nested:
        raise ConfigError("a stage runs below the chain's own output_dir; leave output_dir out of it.")
    return nested


def _base(base: Any, beside: Path) -> dict[str, Any]:
    if isinstance(base, str):
        places = [beside / base, Path(base), shipped_recipes().get(base.removesuffix(".yaml"), Path(base))]
        found = next((path for path in places if path.is_file()), None)
        if found is None:
            raise UnknownNameError(
                f"There is no recipe {base!r} for the base, neither a file nor one that ships; "
                f"{nearest(base, shipped_recipes())}"
            )
        base = yaml_keys(found)
    if not isinstance(base, Mapping):
        raise ConfigError(
            f"The base of a chain is keys of a recipe, or a recipe's file or name, not {base!r}."
        )
    return _nested({key: value for key, value in base.items() if key != "output_dir"})


# ---- stage:NAME ----------------------------------------------------------------------------------------------


def _reference(value: str | None) -> str:
    """The stage that a value names, empty for another value."""
    return value.removeprefix(REFERENCE) if value is not None and value.startswith(REFERENCE) else ""


def _named(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Places of a recipe that name a stage, and the stage."""
    teachers = recipe.teachers or {"": recipe.teacher}
    for field in ("model", "init"):
        if told := _reference(getattr(recipe.student, field)):
            yield f"student.{field}", told
    if told := _reference(recipe.method.init):
        yield "method.init", told
    for name, spec in teachers.items():
        for field in ("bank", "model", "init", "live"):
            if told := _reference(getattr(spec, field)):
                yield f"teacher.{name}.{field}", told


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigError(
            f"A stage is called by letters, digits, '-' and '_', as its folder is, not {name!r}; rename it."
        )


def _check_references(values: Mapping[str, Any], name: str, names: list[str]) -> None:
    """Refuse a stage that is not there, not yet there, or named where none can stand."""
    earlier = names[: names.index(name)]
    for place, text in _strings(values, ""):
        told = _reference(text)
        if not text.startswith(REFERENCE) or (told in earlier and _PLACES.fullmatch(place)):
            continue
        if not _PLACES.fullmatch(place):
            raise ConfigError(
                f"{place} cannot be {text!r}; a stage stands for a student's model or init, a method's init, or a "
                "teacher's model, init, bank or live."
            )
        if told == name:
            raise ConfigError(f"{place} is {text!r}, the stage itself; name an earlier one.")
        if told in names:
            raise ConfigError(
                f"{place} is {text!r}, which comes later; stages run in the order in which they stand, so move it up "
                "(two that need each other cannot run)."
            )
        raise UnknownNameError(f"{place} is {text!r}, and there is no such stage; {nearest(told, names)}")


def _strings(values: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(values, Mapping):
        for key, value in values.items():
            yield from _strings(value, f"{place}.{key}" if place else str(key))
    elif isinstance(values, list):
        for value in values:
            yield from _strings(value, place)
    elif isinstance(values, str):
        yield place, values
