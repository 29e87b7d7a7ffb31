"""Which keys of a search space a recipe has: the settings of its own method, of the training and of the student."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from limbeck.errors import ConfigError, UnknownNameError, nearest
from limbeck.methods.registry import method_class, preset_named
from limbeck.recipes.arms_file import changed
from limbeck.recipes.recipe import Recipe
from limbeck.tuning.space import Choice, Range, Space

OF_METHOD, GROUPS = "method.config.", ("method.config.", "training.", "student.")


def own_spaces(recipes: Mapping[str, Recipe], space: Space) -> dict[str, dict[str, Choice | Range]]:
    """Arm to its part of the space; every list and both ends of every range are tried on it.

    Raises: UnknownNameError for a key that no arm has; ConfigError for one that decides what is learned or from whom,
        and for a value that is out of range.
    """
    _check(list(recipes.values()), space)
    own = {
        arm: {
            key: what for key, what in space.items() if not key.startswith(OF_METHOD) or key in _settings(r)
        }
        for arm, r in recipes.items()
    }
    for arm, part in own.items():
        for key, what in part.items():
            for value in what.ends:
                with_values(recipes[arm], {key: value}, f"the trials of arm {arm!r}")
    return own


def with_values(recipe: Recipe, values: Mapping[str, Any], where: str = "a trial") -> Recipe:
    """The recipe of a trial."""
    return changed(recipe, values, where)


def _check(recipes: Sequence[Recipe], space: Space) -> None:
    known = {key for recipe in recipes for key in _settings(recipe)}
    for key in space:
        if not key.startswith(GROUPS):
            raise ConfigError(
                f"tune: {key!r} cannot be tuned; what can are keys of method.config, training and student, for data "
                "and teachers are what all trials share."
            )
        if key.startswith(OF_METHOD) and key not in known:
            raise UnknownNameError(f"tune: no arm has the setting {key!r}; {nearest(key, known)}")


def _settings(recipe: Recipe) -> set[str]:
    """Keys of the method that are free to be set; a preset fixes some."""
    preset = preset_named(recipe.method.name)
    fixed = preset.fixed if preset is not None else {}
    names = [field.name for field in fields(method_class(recipe.method.name).Config)]
    return {OF_METHOD + name for name in names if name not in fixed}
