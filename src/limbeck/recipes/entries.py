"""Options that change one entry deep in a setting: ``--data.config.student.label KIND``.

The parser knows nothing of what stands in ``data.config`` and would put ``{label: KIND}`` in the place of all that a
file says of the student's side.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

# Settings that are mappings in which anything may stand, entries of entries included.
_OPEN = ("data.config", "method.config", "student.config", "teacher.config", "teachers", "peers")


def whole_entries(arguments: Sequence[str], read: Callable[[Path], Mapping[str, Any]]) -> list[str]:
    """The arguments, where an option for one part of an entry gives the whole entry, as files and options before it
    left it.

    Args:
        read: from the path of a ``--config`` to what stands in that file.
    """
    import yaml

    found, so_far, skip = list[str](), {name: dict[str, Any]() for name in _OPEN}, False
    for i, argument in enumerate(arguments):
        if skip:
            skip = False
            continue
        flag, equals, text = argument.partition("=")
        has_value = bool(equals) or (flag.startswith("--") and i + 1 < len(arguments))
        text = text if equals else arguments[i + 1] if has_value else ""
        setting = next((name for name in _OPEN if flag.startswith(f"--{name}.")), None)
        if flag == "--config" and has_value:
            _take(so_far, read(Path(text)))
        if setting is None or not has_value:
            found.append(argument)
            continue
        entry, *within = flag.removeprefix(f"--{setting}.").split(".")
        value = _value(text)
        if within:
            before = so_far[setting].get(entry)
            value = _changed(before if isinstance(before, Mapping) else {}, within, value)
            line = yaml.safe_dump(value, default_flow_style=True, width=float("inf"), sort_keys=False)
            found.append(f"--{setting}.{entry}={line.strip()}")
        else:
            found += [argument] if equals else [argument, text]
        so_far[setting][entry] = value
        skip = not equals
    return found


def _take(so_far: dict[str, dict[str, Any]], sections: Mapping[str, Any]) -> None:
    """What a file says of the open settings."""
    for name, entries in so_far.items():
        said: Any = sections
        for part in name.split("."):
            said = said.get(part) if isinstance(said, Mapping) else None
        if isinstance(said, Mapping):
            entries.update(copy.deepcopy({str(key): value for key, value in said.items()}))


def _value(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text) if text else text
    except (yaml.YAMLError, ValueError, RecursionError):  # told by the parser
        return text


def _changed(entry: Mapping[str, Any], within: Sequence[str], value: Any) -> dict[str, Any]:
    """A copy of ``entry`` with ``value`` at the place that the names lead to."""
    first, *rest = within
    inner = entry.get(first)
    changed = dict(entry)
    changed[first] = value if not rest else _changed(inner if isinstance(inner, Mapping) else {}, rest, value)
    return changed
