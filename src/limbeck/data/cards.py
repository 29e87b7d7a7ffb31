"""What a data set of a recipe takes, read from its source with ``ast``, so that no heavy import is needed."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import NamedTuple

from limbeck.data.names import TASKS
from limbeck.errors import UnknownNameError, nearest


class DataCard(NamedTuple):
    """A data set: what it is, its settings with their defaults (None: needed), and the rest of its description."""

    name: str
    summary: str
    settings: dict[str, str | None]
    details: str


def all_cards() -> list[DataCard]:
    return [data_card(name) for name in sorted(TASKS)]


def data_card(name: str) -> DataCard:
    """The card of a data set; UnknownNameError names the nearest."""
    if name not in TASKS:
        raise UnknownNameError(f"There is no data set {name!r}; {nearest(name, TASKS)}")
    module, function = TASKS[name]
    path = (Path(__file__).parent / Path(*module.split("."))).with_suffix(".py")
    nodes = ast.parse(path.read_text(encoding="utf-8")).body
    found = next(node for node in nodes if isinstance(node, ast.FunctionDef) and node.name == function)
    summary, _, details = _plain(ast.get_docstring(found) or "").partition("\n\n")
    side = ""
    if name == "own":
        side = "\n\nSettings of a side (student, teacher):\n" + _side_settings()
    return DataCard(name, " ".join(summary.split()), _settings(found.args), details.strip() + side)


def _settings(arguments: ast.arguments) -> dict[str, str | None]:
    plain = [None] * (len(arguments.args) - len(arguments.defaults)) + list(arguments.defaults)
    pairs = [*zip(arguments.args, plain), *zip(arguments.kwonlyargs, arguments.kw_defaults)]
    return {argument.arg: None if default is None else ast.unparse(default) for argument, default in pairs}


def _side_settings() -> str:
    nodes = ast.parse((Path(__file__).parent / "own" / "sides" / "side.py").read_text(encoding="utf-8")).body
    side = next(node for node in nodes if isinstance(node, ast.ClassDef) and node.name == "Side")
    return _plain(ast.get_docstring(side) or "").partition("Args:\n")[2]


def _plain(text: str) -> str:
    """Without the marks of RST."""
    import re

    text = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"\1", text)
    return text.replace("``", "")
