"""Reference encoders by name: where each is written, and its settings, read without torch."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from limbeck.errors import ConfigError, UnknownNameError, nearest

# Name to file and callable.
HOMES: dict[str, tuple[str, str]] = {
    **{
        name: ("encoders", name)
        for name in (
            "small_conv_net",
            "image_encoder",
            "audio_encoder",
            "text_encoder",
            "table_encoder",
            "series_encoder",
            "video_encoder",
        )
    },
    **{name: ("architectures", name) for name in ("resnet18", "resnet50", "vit_small", "vit_base")},
    "pixel_encoder": ("dense", "pixel_encoder"),
    "token_encoder": ("dense", "TokenEncoder"),
    "denoiser": ("dense", "Denoiser"),
    "efficientnet_lite0": ("imagenet", "efficientnet_lite0"),
    "joined_encoder": ("joined", "JoinedEncoder"),
}
# Settings that are said elsewhere, and where.
ELSEWHERE = {
    "n_classes": "the data decide",
    "problem": "data.config.problem decides",
    **{name: f"student.{name} says" for name in ("spec", "pooling", "lora", "dtype", "freeze", "init")},
}


def unknown_model(name: str) -> UnknownNameError:
    """What to raise for a name that no model has."""
    return UnknownNameError(
        f"There is no student {name!r}; {nearest(name, [*HOMES, 'minilm', 'hf:PATH', 'MODULE:FACTORY'])}"
    )


def unknown_setting(model: str, name: str, known: list[str]) -> UnknownNameError:
    """What to raise for a setting that a reference encoder does not have."""
    return UnknownNameError(f"The student {model!r} has no setting {name!r}; {nearest(name, known)}")


def check_elsewhere(model: str, config: Mapping[str, Any]) -> None:
    """Refuse settings of a model that are said elsewhere; ConfigError."""
    for name in config:
        if name in ELSEWHERE:
            raise ConfigError(
                f"The model {model!r} was given {name} in its config, which {ELSEWHERE[name]}; leave it out there."
            )


def check_model(model: str, config: Mapping[str, Any]) -> None:
    """What can be told of a model before torch is there: a name that nobody has, or a setting of a reference encoder
    that it does not have; UnknownNameError, ConfigError."""
    check_elsewhere(model, config)
    if model not in HOMES:
        if ":" not in model and model != "minilm":
            raise unknown_model(model)
        return
    known = [name for name in settings_of(model) if name != "n_classes"]
    for name in config:
        if name not in known:
            raise unknown_setting(model, name, known)


@cache
def settings_of(model: str) -> tuple[str, ...]:
    """The arguments of a reference encoder, from its source."""
    file, name = HOMES[model]
    nodes: list[Any] = ast.parse(Path(__file__).with_name(f"{file}.py").read_text(encoding="utf-8")).body
    found = next(node for node in nodes if getattr(node, "name", "") == name)
    if isinstance(found, ast.ClassDef):
        found = next(node for node in found.body if getattr(node, "name", "") == "__init__")
    arguments = [argument.arg for argument in (*found.args.args, *found.args.kwonlyargs)]
    return tuple(argument for argument in arguments if argument != "self")
