"""Cards of methods, read from their source text: neither torch nor the method is imported."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from limbeck.methods.plain_text import plain_text
from limbeck.methods.presets import Preset
from limbeck.methods.registry import PRESETS, home_of, method_names
from limbeck.methods.settings import interval

_LITERALS = {"needs", "links", "problems", "units", "detached", "peers"}
_RANGE = {"low", "above", "high", "below"}


@dataclass(frozen=True)
class SettingCard:
    """One setting: its type and default as written, its range, what it is, and the ends of the range."""

    name: str
    kind: str
    default: str
    interval: str
    text: str
    ends: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class MethodCard:
    """What ``limbeck methods NAME`` prints.

    Args:
        family: the method that a preset is one of, else empty.    row: its line in the list of systems, None without.
    """

    name: str
    summary: str
    description: str
    paper: str
    needs: tuple[str, ...]
    links: tuple[str, ...]
    problems: tuple[str, ...]
    units: Mapping[str, str]
    settings: tuple[SettingCard, ...]
    family: str = ""
    row: int | None = None
    fixed: Mapping[str, Any] | None = None
    defaults: Mapping[str, Any] | None = None


def method_card(name: str) -> MethodCard:
    """The card of a method or preset; UnknownNameError names the nearest."""
    module, _, cls = home_of(name).partition(":")
    body = _class(module, cls)
    literals = _literals(module, body)
    text = plain_text(ast.get_docstring(body) or "")
    settings = _settings(module, _config_name(module, body))
    if name not in PRESETS:
        return MethodCard(
            name=name,
            summary=text.partition("\n")[0],
            description=text,
            paper=_paper(text),
            settings=settings,
            row=_row(body),
            **literals,
        )
    preset = _presets(module)[name]
    changed = {**preset.defaults, **preset.fixed}
    return MethodCard(
        name=name,
        summary=f"{preset.paper} ({PRESETS[name]} with {_listed(changed)}).",
        description=text,
        paper=preset.paper,
        settings=tuple(_preset_setting(s, preset) for s in settings if s.name not in preset.fixed),
        family=PRESETS[name],
        row=preset.row,
        fixed=preset.fixed,
        defaults=preset.defaults,
        **literals,
    )


def all_cards() -> list[MethodCard]:
    """Of every method and preset, by name."""
    return [method_card(name) for name in method_names()]


def _preset_setting(setting: SettingCard, preset: Preset) -> SettingCard:
    if setting.name not in preset.defaults:
        return setting
    default = repr(preset.defaults[setting.name])
    return replace(setting, default=default)


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items()) or "its own settings"


def _paper(text: str) -> str:
    """The paragraph of a docstring that starts with ``Paper:``, as one line."""
    _, found, rest = text.partition("Paper:")
    return " ".join(rest.split("\n\n")[0].split()) if found else ""


# ---- source text ---------------------------------------------------------------------------------------------


@cache
def _tree(module: str) -> ast.Module:
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    with open(spec.origin, encoding="utf-8") as file:
        return ast.parse(file.read())


def _place(module: str, name: str) -> tuple[str, ast.ClassDef] | None:
    """Where a class is written: in this file, or in the one that it is imported from."""
    for node in _tree(module).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return module, node
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _place(node.module, alias.name)
    return None


def _class(module: str, name: str) -> ast.ClassDef:
    found = _place(module, name)
    assert found is not None, f"{module} has no class {name}"
    return found[1]


def _bases(module: str, node: ast.ClassDef) -> list[tuple[str, ast.ClassDef]]:
    names = [base.id for base in node.bases if isinstance(base, ast.Name)]
    return [place for name in names if name not in ("Method", "Settings") and (place := _place(module, name))]


def _assigned(node: ast.ClassDef, names: set[str]) -> dict[str, ast.expr]:
    return {
        target.id: statement.value
        for statement in node.body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name) and target.id in names
    }


def _literals(module: str, node: ast.ClassDef) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for base_module, base in _bases(module, node):
        found |= _literals(base_module, base)
    own = {name: ast.literal_eval(value) for name, value in _assigned(node, _LITERALS).items()}
    for name in ("needs", "links", "problems"):
        if name in own or name not in found:
            found[name] = tuple(sorted(own.get(name, ())))
    if "units" in own or "units" not in found:
        found["units"] = dict(own.get("units", {}))
    return found


def _row(node: ast.ClassDef) -> int | None:
    """The line in the list of systems of the method itself: one that is built on it is another system."""
    value = _assigned(node, {"row"}).get("row")
    return None if value is None else int(ast.literal_eval(value))


def _config_name(module: str, node: ast.ClassDef) -> tuple[str, str] | None:
    """Module and name of the class of a method's settings."""
    value = _assigned(node, {"Config"}).get("Config")
    if isinstance(value, ast.Name):
        return module, value.id
    for base_module, base in _bases(module, node):
        if (found := _config_name(base_module, base)) is not None:
            return found
    return None


def _settings(module: str, config: tuple[str, str] | None) -> tuple[SettingCard, ...]:
    if config is None:
        return ()
    place = _place(*config)
    assert place is not None
    return tuple(_fields(*place).values())


def _fields(module: str, node: ast.ClassDef) -> dict[str, SettingCard]:
    found: dict[str, SettingCard] = {}
    for base_module, base in _bases(module, node):
        found |= _fields(base_module, base)
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            name = statement.target.id
            found[name] = _setting(name, ast.unparse(statement.annotation), statement.value)
    return found


def _setting(name: str, kind: str, value: ast.expr | None) -> SettingCard:
    if not isinstance(value, ast.Call):
        return SettingCard(name, kind, "" if value is None else ast.unparse(value), "", "")
    called, words = ast.unparse(value.func), [ast.unparse(argument) for argument in value.args]
    text = ast.literal_eval(value.args[1]) if len(value.args) > 1 else ""
    ends = {k.arg: ast.literal_eval(k.value) for k in value.keywords if k.arg in _RANGE}
    if called == "weight":
        text, ends = text or f"of the term {name.removeprefix('weight_')}", {"low": 0}
    return SettingCard(name, kind, words[0], interval(ends), plain_text(text), ends)


def _presets(module: str) -> dict[str, Preset]:
    """The table ``PRESETS`` of a family: a literal of ``Preset(...)``."""
    for node in _tree(module).body:
        if (
            isinstance(node, ast.Assign)
            and ast.unparse(node.targets[0]) == "PRESETS"
            and isinstance(node.value, ast.Dict)
        ):
            entries = zip(node.value.keys, node.value.values)
            return {ast.literal_eval(key): _preset(value) for key, value in entries if key is not None}
    return {}


def _preset(call: ast.expr) -> Preset:
    assert isinstance(call, ast.Call)
    return Preset(
        *(ast.literal_eval(argument) for argument in call.args),
        **{str(k.arg): ast.literal_eval(k.value) for k in call.keywords},
    )
