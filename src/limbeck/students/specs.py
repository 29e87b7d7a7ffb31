"""Models by the names that recipes use: a reference encoder, ``minilm``, or ``hf:PATH``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from limbeck.errors import ConfigError, LimbeckError, UnknownNameError, nearest
from limbeck.problems.base import Problem
from limbeck.problems.registry import sized
from limbeck.students.changes.freezing import freeze_parts
from limbeck.students.changes.lora import add_lora
from limbeck.students.initial import start_from
from limbeck.students.language.fresh import FRESH, fresh_causal_lm
from limbeck.students.names import HOMES, unknown_model, unknown_setting
from limbeck.students.own_model import is_own, own_model
from limbeck.students.pooled import Pooling
from limbeck.students.pretrained import check_choice, pretrained_model
from limbeck.students.student import Student
from limbeck.students.text import text_model_path

ENCODERS: Mapping[str, Callable[..., nn.Module]] = {
    name: getattr(import_module(f"limbeck.students.{file}"), called) for name, (file, called) in HOMES.items()
}
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def model_from_spec(
    spec: str,
    *,
    n_classes: int | None = None,
    problem: Problem | str = "classification",
    pooling: str | None = None,
    lora: Mapping[str, Any] | None = None,
    dtype: str = "float32",
    freeze: Sequence[str] = (),
    init: str | Path | None = None,
    **config: Any,
) -> nn.Module:
    """A fresh model with weights, where no checkpoint gives them, drawn from torch's generator.

    Args:
        spec: the name of a reference encoder; ``minilm``, the sentence encoder of the extra ``text``; ``hf:`` and
            the folder or hub id of a transformers model; or ``MODULE:FACTORY``, see
            :mod:`limbeck.students.own_model`. A head that the checkpoint does not have is made anew.
        problem: what is asked of it, which decides its head; of a :class:`~limbeck.problems.choice.Choice`, text
            models: inputs ``[n, K, L]``, logits ``[n, K]``.
        n_classes: of a problem that is only named by its kind: how many classes (or choices) it has.
        pooling: text models: ``mean``, ``last`` or ``cls`` of the last hidden states into a new linear head; None =
            the model's own head (for ``minilm`` the mean, as it is trained for).
        lora: adapters in place of full fine-tuning, see :func:`limbeck.students.changes.lora.add_lora`.
        dtype: of the weights: ``float32`` or ``bfloat16``.
        freeze: parts that are not trained, see :func:`limbeck.students.changes.freezing.freeze_parts`.
        init: folder of an exported student of this network, whose weights it starts from, see
            :func:`limbeck.students.initial.start_from`.
        config: arguments of the encoder, or changes to the transformers configuration.

    Raises: UnknownNameError for a wrong name or argument; DataError for a folder that holds no model; ConfigError for
    settings that this model does not have, and where a package is missing.
    """
    problem = sized(problem, n_classes)
    check_choice("pooling", pooling, Pooling)
    if dtype not in _DTYPES:
        raise UnknownNameError(f"There is no dtype {dtype!r} of a student; {nearest(dtype, _DTYPES)}")
    path, new = text_model_path(spec), set[str]()
    if path is None:
        if pooling is not None or lora is not None or problem.chooses:
            what = "pooling" if pooling is not None else "lora" if lora is not None else "multiple choice"
            if not is_own(spec):
                _encoder(spec)
            raise ConfigError(f"The student {spec!r} has no {what}; take 'minilm' or 'hf:PATH'.")
        make = own_model if is_own(spec) else _reference
        model: nn.Module = make(spec, problem.n_outputs() or 0, config)
        model = model.to(_DTYPES[dtype])
    elif spec.startswith(FRESH):
        if not problem.writes or pooling is not None:
            raise ConfigError(
                f"The student {spec!r} is a new language model, which writes; take it for the problem generation, "
                "without pooling, or 'hf:PATH' for others."
            )
        model = fresh_causal_lm(path, config, _DTYPES[dtype])
    else:
        pooling = "mean" if spec == "minilm" and pooling is None else pooling
        model, new = pretrained_model(path, problem, cast("Pooling | None", pooling), _DTYPES[dtype], config)
    if init is not None:
        start_from(model, init)
    if lora is not None:
        add_lora(model, lora, new, head=not problem.writes)
    freeze_parts(model, freeze)
    return model


def _encoder(spec: str) -> Callable[..., nn.Module]:
    if spec not in ENCODERS:
        raise unknown_model(spec)
    return ENCODERS[spec]


def _reference(spec: str, n_classes: int, config: Mapping[str, Any]) -> nn.Module:
    make = _encoder(spec)
    arguments = [name for name in inspect.signature(make).parameters if name != "n_classes"]
    for name in config:
        if name not in arguments:
            raise unknown_setting(spec, name, arguments)
    missing = inspect.signature(make).parameters.values()
    needed = [p.name for p in missing if p.default is p.empty and p.name not in ("n_classes", *config)]
    if needed:
        raise ConfigError(f"The student {spec!r} needs the setting {needed[0]!r}; add it to its config.")
    counted = {"n_classes": n_classes} if "n_classes" in inspect.signature(make).parameters else {}
    try:
        return make(**counted, **config)
    except (TypeError, ValueError, RuntimeError, ArithmeticError, LookupError, MemoryError) as error:
        if isinstance(error, LimbeckError):
            raise
        given = ", ".join(f"{name}={value!r}" for name, value in config.items())
        said = str(error).strip().partition("\n")[0].rstrip(".")
        raise ConfigError(
            f"The student {spec!r} cannot be made with {given or 'these data'} ({said}); give other values, or leave "
            "them out."
        ) from error


def student_from_spec(spec: str | Mapping[str, Any], *, n_classes: int) -> Student:
    """:func:`model_from_spec` as a student; ``spec`` is a name or ``{"model": name, "config": {...}}``."""
    if isinstance(spec, str):
        spec = {"model": spec}
    for key in spec:
        if key not in ("model", "config"):
            raise UnknownNameError(f"A student has no setting {key!r}; {nearest(key, ('model', 'config'))}")
    if "model" not in spec:
        raise ConfigError("A student needs the setting 'model'; name an encoder or 'hf:PATH'.")
    return Student(model_from_spec(spec["model"], n_classes=n_classes, **(spec.get("config") or {})))
