"""Arms of a comparison in a YAML file: each a name and what it changes in the recipe.

controls: [shuffled, random]
tune: {method.config.temperature: [1, 2, 4]}
arms:
  paired: {method: {name: kd, config: {temperature: 1.0}}, given: one image for each clip}
  cooler: {method.config.temperature: 0.5, controls: [shuffled]}
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from limbeck.errors import ConfigError, UnknownNameError, nearest
from limbeck.recipes.recipe import Recipe
from limbeck.recipes.yaml_file import yaml_keys

OWN_KEYS = ("controls", "given")
FILE_KEYS = ("arms", "controls", "tune")


@dataclass(frozen=True)
class ArmPatch:
    """What one arm changes.

    Args:
        changes: keys of the recipe, nested or dotted (``method.config.temperature``), to their values; a method of
            another name starts from its own defaults.
        controls: in place of those of the comparison; None = those.    given: what its teacher gives, in words.
    """

    changes: Mapping[str, Any]
    controls: tuple[str, ...] | None = None
    given: str = ""


class ArmsFile(NamedTuple):
    """Arms by name, and the controls and the search space of the file (None where it names none)."""

    arms: dict[str, ArmPatch]
    controls: tuple[str, ...] | None
    tune: Mapping[str, Any] | None = None


def shipped_arms() -> dict[str, Path]:
    """Name to path of the arms files in the package."""
    return {path.stem: path for path in sorted((Path(__file__).parent / "arms").glob("*.yaml"))}


def read_arms(path: str | Path) -> ArmsFile:
    """An arms file, or one that ships, by name.

    Raises: UnknownNameError, ConfigError naming the file and the arm.
    """
    name, known = str(path), shipped_arms()
    file = Path(path) if Path(path).is_file() else known.get(name.removesuffix(".yaml"))
    if file is None:
        raise UnknownNameError(
            f"There is no arms file {name!r}, neither a file nor one that ships; {nearest(name, known)}"
        )
    content = yaml_keys(file)
    if not isinstance(content.get("arms"), Mapping) or not content["arms"]:
        raise ConfigError(f"{file} needs 'arms:', a mapping of names to what each changes in the recipe.")
    for key in content:
        if key not in FILE_KEYS:
            raise ConfigError(f"{file} has the unknown key {key!r}; {nearest(str(key), FILE_KEYS)}")
    arms = {str(arm): _patch(entry, f"{file}, arm {arm!r}") for arm, entry in content["arms"].items()}
    return ArmsFile(arms, _names(content.get("controls"), str(file)), content.get("tune"))


def changed(recipe: Recipe, changes: Mapping[str, Any], where: str) -> Recipe:
    """The recipe with some keys changed, checked as a whole.

    Raises: UnknownNameError for a key that no recipe has; ConfigError; ``where`` says whose.
    """
    values = asdict(recipe)
    for key, value in changes.items():
        _set(values, key.split("."), copy.deepcopy(value), where)
    return Recipe.from_dict(values) if changes else recipe


def differing(recipe: Recipe, other: Recipe) -> dict[str, Any]:
    """Fields in which ``other`` is not ``recipe``, as dotted keys to its values: what :func:`changed` takes."""
    return dict(_differing(asdict(recipe), asdict(other), ""))


def _differing(one: Any, other: Any, at: str) -> Iterable[tuple[str, Any]]:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in [*one, *(k for k in other if k not in one)]:
            yield from _differing(one.get(key), other.get(key), f"{at}.{key}" if at else str(key))
    elif one != other:
        yield at, other


def _set(values: dict[str, Any], path: list[str], value: Any, where: str) -> None:
    """Put ``value`` at a dotted key; a mapping is laid over what is there."""
    head, rest = path[0], path[1:]
    inner = values.get(head)
    if rest:
        if not isinstance(inner, dict):
            _refuse(values, head, where)
        return _set(inner if isinstance(inner, dict) else {}, rest, value, where)
    if isinstance(value, Mapping) and isinstance(inner, dict):
        if head == "method" and value.get("name", inner.get("name")) != inner.get("name"):
            inner |= {
                "config": {},
                "init": None,
            }  # the settings and parts of one method are not those of another
        for key, entry in value.items():
            _set(inner, [str(key)], entry, where)
        return None
    values[head] = value
    return None


def _refuse(values: Mapping[str, Any], key: str, where: str) -> None:
    raise UnknownNameError(f"The recipe of {where} has no group {key!r}; {nearest(key, map(str, values))}")


def _patch(entry: Any, where: str) -> ArmPatch:
    if not isinstance(entry, Mapping):
        raise ConfigError(f"{where} must be a mapping of keys of the recipe to values, not {entry!r}.")
    if "tune" in entry:
        raise ConfigError(
            f"{where} has a search space of its own; write tune beside arms, all have the same."
        )
    changes = {str(key): value for key, value in entry.items() if key not in OWN_KEYS}
    return ArmPatch(changes, _names(entry.get("controls"), where), str(entry.get("given", "")))


def _names(value: Any, where: str) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ConfigError(
            f"'controls' of {where} must be a list of names, as [shuffled, random]; it is {value!r}."
        )
    return tuple(value)
