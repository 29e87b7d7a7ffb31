"""Options that change one part of an entry: ``--data.config.student.label KIND``.

The parser knows nothing of what stands in ``data.config`` and would put ``{label: KIND}`` in the place of all that a
file says of the student's side; so it is given the other arguments first, and these are put into what it made of them.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

# Settings that are mappings of entries, each of which may be a mapping too.
_OPEN = ("data.config", "method.config", "student.config", "teacher.config", "teachers", "peers")


class Part(NamedTuple):
    """``text`` for the place ``names`` in the setting ``setting``."""

    setting: str
    names: tuple[str, ...]
    text: str


def apart(arguments: Sequence[str]) -> tuple[list[str], list[Part]]:
    """The arguments without the options for parts of entries, and these, of which a later option for the whole of what
    they are a part of leaves none."""
    rest, parts, value_next = list[str](), list[Part](), False
    for i, argument in enumerate(arguments):
        if value_next:
            value_next = False
            continue
        flag, equals, text = argument.partition("=")
        setting = next((name for name in _OPEN if flag.startswith(f"--{name}.")), None)
        names = () if setting is None else tuple(flag.removeprefix(f"--{setting}.").split("."))
        follows = not equals and i + 1 < len(arguments) and not arguments[i + 1].startswith("--")
        if setting is not None and len(names) > 1 and (equals or follows):
            parts.append(Part(setting, names, text if equals else arguments[i + 1]))
            value_next = follows
            continue
        rest.append(argument)
        if flag != "--config":
            parts = [part for part in parts if not _place(part).startswith(f"{flag.removeprefix('--')}.")]
    return rest, parts


def put_in(values: Namespace, parts: Sequence[Part], parser: ArgumentParser) -> Namespace:
    """``values`` with the parts in their places, in their order, checked as the parser checks all it reads."""
    import yaml
    from jsonargparse import get_loader

    changed: dict[str, Any] = {}
    for setting, names, text in parts:
        before = changed.get(setting, _plain(values[setting]) or {})
        try:
            value = get_loader("yaml")(text) if text else text
        except (yaml.YAMLError, ValueError, RecursionError):  # a text, as elsewhere on the command line
            value = text
        changed[setting] = _with(before, names, value)
    for setting, entries in changed.items():
        whole: Any = entries
        for name in reversed(setting.split(".")):
            whole = {name: whole}
        values = parser.parse_object(whole, namespace=values, defaults=False)
    return values


def _place(part: Part) -> str:
    return ".".join((part.setting, *part.names))


def _plain(value: Any) -> Any:
    """Mappings and lists all the way down, whatever the parser made of them."""
    if hasattr(value, "as_dict"):
        value = value.as_dict()
    elif hasattr(value, "__dataclass_fields__"):
        value = vars(value)
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    return copy.deepcopy(value)


def _with(entry: Mapping[str, Any], names: Sequence[str], value: Any) -> dict[str, Any]:
    """A copy of ``entry`` with ``value`` at the place that the names lead to."""
    first, *rest = names
    inner = entry.get(first)
    return {
        **entry,
        first: value if not rest else _with(inner if isinstance(inner, Mapping) else {}, rest, value),
    }
