"""The names in a recipe, checked without torch: a slip of the pen is told at once, not after seconds of imports."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck.data.names import OF_EVERY_TASK, TASKS
from limbeck.errors import ConfigError, UnknownNameError, close_names, known_name, nearest
from limbeck.students.names import check_model
from limbeck.training.ranges import (
    LATER_RESULT,
    OWN_CONDUCT,
    OWN_RESULT,
    check_choices,
    check_ranges,
    tracker_names,
)
from limbeck.training.settings import FIELDS, OWNED_BY_RECIPE, check_refusals, is_refused

if TYPE_CHECKING:
    from limbeck.methods.cards import SettingCard

_TRAINING = {*FIELDS, *OWN_RESULT, *LATER_RESULT, *OWN_CONDUCT}
_OFFERED = sorted(name for name in _TRAINING if not is_refused(name) and name not in OWNED_BY_RECIPE)


def check_names(
    given: Mapping[str, Any], known: Mapping[str, Any], controls: Sequence[str], *, data_ships: bool = True
) -> None:
    """Check a recipe as it is written: its keys, the method and the data set with their settings, the trainer's.

    Args:
        given: dotted key to value, as a YAML file and the command line give them; what has another form than it
            should is left to the parser.
        known: dotted key to default of a recipe without the trainer's; below one of them anything may stand.
        controls: their names.
        data_ships: the data set and the models are among those that ship; False where they may come from Python,
            whatever their names.

    Raises: UnknownNameError, ConfigError: one sentence.
    """
    for key in given:
        if not key.startswith("training.") and not _is_known(key, known):
            raise ConfigError(unknown_key(key, known))
    values = {**known, **given}
    kind = str(values["control"]).partition(":")[0]
    if kind not in controls:
        raise UnknownNameError(f"There is no control {kind!r}; {nearest(kind, controls)}")
    _check_method(values)
    if data_ships or values["data.name"] in TASKS:
        _check_data(values)
    if data_ships:
        _check_models(values)
    for where in ("training", "teacher.training"):
        check_training(where, dict(_below(where, values)))


def check_training(where: str, values: Mapping[str, Any]) -> None:
    """Names of the trainer's settings, and the ranges of those that are numbers."""
    for key in values:
        if key in OWNED_BY_RECIPE:
            raise ConfigError(owned(f"{where}.{key}"))
        if (name := key.partition(".")[0]) not in _TRAINING:
            raise ConfigError(
                unknown_key(f"{where}.{name}", ())
                if where == "training"
                else f"{where} has no setting {name!r}; {nearest(name, _OFFERED)}"
            )
    numbers = {key: _number(value) for key, value in values.items()}
    check_refusals(where, numbers)
    check_ranges(numbers, where)
    check_choices(values, where)
    tracker_names(values.get("report_to"), where)


def flat_keys(values: Mapping[str, Any], depth: int = 2) -> Iterator[tuple[str, Any]]:
    """Dotted key to value, of the first ``depth`` levels of keys."""
    for key, value in values.items():
        if depth > 1 and isinstance(value, Mapping) and value:
            yield from ((f"{key}.{inner}", found) for inner, found in flat_keys(value, depth - 1))
        else:
            yield str(key), value


def options(arguments: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Dotted key to value of ``--key value`` and ``--key=value``."""
    import yaml

    for i, argument in enumerate(arguments):
        flag, equals, text = argument.partition("=")
        if not flag.startswith("--") or flag in ("--", "--config"):
            continue
        text = text if equals else next(iter(arguments[i + 1 : i + 2]), "")
        try:
            yield flag[2:], yaml.safe_load(text) if text else text
        except (yaml.YAMLError, ValueError, RecursionError):  # ValueError: a date such as 2026-13-45
            yield flag[2:], text


def owned(key: str) -> str:
    """The sentence for a setting of transformers that has another name in a recipe."""
    return f"{key} is set by the recipe itself; use the recipe's own output_dir and seed."


def unknown_key(name: str, known: Iterable[str]) -> str:
    """The sentence for a key that a recipe does not have, with the nearest."""
    if name.removeprefix("training.") in OWNED_BY_RECIPE:
        return owned(name)
    offered = [*known, *(f"training.{key}" for key in _OFFERED)]
    close = close_names(name, offered)
    hint = "did you mean " + " or ".join(close) + "?" if close else "see `limbeck distill --help-recipe`."
    return f"The recipe has no key {name!r}; {hint}"


def _is_known(key: str, known: Iterable[str]) -> bool:
    sections = {name.partition(".")[0] for name in known}
    return key in sections or any(key == name or key.startswith(f"{name}.") for name in known)


def _below(section: str, values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The keys of a section: written with dots, or as a mapping."""
    for key, value in values.items():
        if key == section and isinstance(value, Mapping):
            yield from ((str(inner), found) for inner, found in value.items())
        elif key.startswith(f"{section}."):
            yield key.removeprefix(f"{section}."), value


def _check_method(values: Mapping[str, Any]) -> None:
    from limbeck.methods.cards import method_card
    from limbeck.methods.registry import METHODS, PRESETS, home_of, method_names

    name = values.get("method.name")
    if not isinstance(name, str):
        return
    name = known_name(name, method_names())
    home_of(name)
    given = [key.partition(".")[0] for key, _ in _below("method.config", values)]
    if given and name in {*METHODS, *PRESETS}:
        card = method_card(name)
        settings = [setting.name for setting in card.settings] + list(card.fixed or ())
        _refuse_unknown(f"Method {name!r}", given, settings)
        cards = {setting.name: setting for setting in card.settings}
        for key, value in _below("method.config", values):
            if key in cards:
                _check_setting(name, cards[key], value)


def _check_setting(method: str, card: SettingCard, value: Any) -> None:
    from limbeck.methods.settings import check_written

    try:
        check_written(card.name, _read(value, card.kind), card.kind, card.ends)
    except ConfigError as error:  # says the setting, not whose it is
        raise ConfigError(str(error).replace("' must", f"' of method {method!r} must", 1)) from error


def _read(value: Any, kind: str) -> Any:
    """A setting of a type as written, as the parser reads it: of what is no text, ``'2'``, ``1e-4`` and ``'[1, 2]'``
    may be texts in a file."""
    import yaml

    if isinstance(value, str) and "str" not in kind.split(" | "):
        with contextlib.suppress(yaml.YAMLError, ValueError, RecursionError):
            value = _number(yaml.safe_load(value))
    return [_number(entry) for entry in value] if isinstance(value, list) and "list[float]" in kind else value


def _check_models(values: Mapping[str, Any]) -> None:
    for where in ("student", "teacher"):
        model = values.get(f"{where}.model")
        if where == "teacher" and isinstance(model, str) and Path(model).is_dir():
            continue  # of a language model, a folder alone will do
        if isinstance(model, str):
            config = dict(_below(f"{where}.config", values))
            check_model(model, {key.partition(".")[0]: value for key, value in config.items()})


def _check_data(values: Mapping[str, Any]) -> None:
    from limbeck.data.cards import data_card

    name = values.get("data.name")
    if isinstance(name, str):
        name = known_name(name, TASKS)
        given = [key.partition(".")[0] for key, _ in _below("data.config", values)]
        _refuse_unknown(f"Data set {name!r}", given, [*data_card(name).settings, *OF_EVERY_TASK])


def _refuse_unknown(what: str, given: Sequence[str], known: Sequence[str]) -> None:
    for key in given:
        if key not in known:
            raise ConfigError(f"{what} has no setting {key!r}; {nearest(key, known)}")


def _number(value: Any) -> Any:
    """A text such as ``1e-4``, which YAML takes for no number, as the number that the parser sees in it."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value
