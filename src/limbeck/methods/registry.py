"""Names of the methods that ship, and their cards. Reading a card imports neither torch nor the method."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck.errors import ConfigError, UnknownNameError, nearest

if TYPE_CHECKING:
    from limbeck.methods.base import Method

# Method name, as in its paper, to its class. The file is the name; nothing else is ever imported by name.
METHODS: dict[str, str] = {
    "armada": "ARMADA",
    "bagkd": "BagKD",
    "feature_ot": "FeatureOT",
    "fitnets": "FitNets",
    "kd": "KD",
    "supervised": "Supervised",
    "ucmkd": "UCMKD",
}


@dataclass(frozen=True)
class MethodCard:
    """What ``limbeck methods NAME`` prints: the docstrings and the literal class attributes of a method."""

    name: str
    summary: str
    description: str
    needs: tuple[str, ...]
    links: tuple[str, ...]
    units: Mapping[str, str]
    config: str


def check_name(name: str) -> str:
    if name not in METHODS:
        raise UnknownNameError(f"There is no method {name!r}; {nearest(name, METHODS)}")
    return name


def method_class(name: str) -> type[Method]:
    """The class of a method; UnknownNameError names the nearest valid names."""
    module = importlib.import_module(f"limbeck.methods.{check_name(name)}")
    return getattr(module, METHODS[name])


def method_config(name: str, values: Mapping[str, Any] | None = None) -> Any:
    """The typed config of a method from plain values; a misspelt key gets the nearest valid ones."""
    config = method_class(name).Config
    assert is_dataclass(config)
    known = [f.name for f in fields(config)]
    for key in values or {}:
        if key not in known:
            raise ConfigError(f"Method {name!r} has no setting {key!r}; {nearest(key, known)}")
    try:
        return config(**(values or {}))
    except TypeError as error:  # a value of the wrong type met a range check
        raise ConfigError(f"A setting of method {name!r} has a value of the wrong type ({error}).") from error


def method_card(name: str) -> MethodCard:
    """The card of a method, read from its source text."""
    source = Path(__file__).with_name(f"{check_name(name)}.py").read_text(encoding="utf-8")
    classes = {node.name: node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}
    body = classes[METHODS[name]]
    literals = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in body.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id in {"needs", "links", "units"}
    }
    text = ast.get_docstring(body) or ""
    config = next(
        (ast.get_docstring(node) or "" for key, node in classes.items() if key.endswith("Config")), ""
    )
    return MethodCard(
        name=name,
        summary=text.partition("\n")[0],
        description=text,
        needs=tuple(sorted(literals.get("needs", ()))),
        links=tuple(sorted(literals.get("links", ()))),
        units=literals.get("units", {}),
        config=config,
    )
