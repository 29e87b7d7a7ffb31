"""Models by the names that recipes use: a reference encoder, or ``hf:PATH``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from torch import nn

from limbeck.errors import ConfigError, DataError, UnknownNameError, nearest
from limbeck.students import encoders
from limbeck.students.student import Student

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

ENCODERS: Mapping[str, Callable[..., nn.Sequential]] = {
    name: getattr(encoders, name)
    for name in ("small_conv_net", "image_encoder", "audio_encoder", "text_encoder", "table_encoder")
}
_TASKS = ("SequenceClassification", "ImageClassification", "AudioClassification")


def model_from_spec(spec: str, *, n_classes: int, **config: Any) -> nn.Module:
    """A fresh model for ``n_classes`` classes, with weights drawn from torch's generator.

    Args:
        spec: the name of a reference encoder, or ``hf:`` and the folder or hub id of a transformers model;
            its classification head is made anew if it has none of this width.
        config: arguments of the encoder, or for ``hf:`` changes to the model's configuration.

    Raises: UnknownNameError for a wrong name or argument; DataError for a folder that holds no model.
    """
    if spec.startswith("hf:"):
        return _transformers_model(spec.removeprefix("hf:"), n_classes, config)
    if spec not in ENCODERS:
        raise UnknownNameError(f"There is no student {spec!r}; {nearest(spec, [*ENCODERS, 'hf:PATH'])}")
    make = ENCODERS[spec]
    arguments = [name for name in inspect.signature(make).parameters if name != "n_classes"]
    for name in config:
        if name not in arguments:
            raise UnknownNameError(
                f"The student {spec!r} has no setting {name!r}; {nearest(name, arguments)}"
            )
    missing = inspect.signature(make).parameters.values()
    needed = [p.name for p in missing if p.default is p.empty and p.name not in ("n_classes", *config)]
    if needed:
        raise ConfigError(f"The student {spec!r} needs the setting {needed[0]!r}; add it to its config.")
    return make(n_classes, **config)


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


def _transformers_model(path: str, n_classes: int, changes: Mapping[str, Any]) -> PreTrainedModel:
    import transformers

    try:
        config = transformers.AutoConfig.from_pretrained(path)
    except (OSError, ValueError) as error:
        where = (
            "folder holds no transformers model"
            if Path(path).is_dir()
            else "is no folder, nor a model at hand"
        )
        raise DataError(
            f"'{path}': {where} (a config.json is needed); {str(error).splitlines()[0]}"
        ) from error
    for name in changes:
        if not hasattr(config, name):
            raise UnknownNameError(
                f"The model '{path}' has no setting {name!r}; {nearest(name, config.to_dict())}"
            )
    auto = getattr(transformers, f"AutoModelFor{classification_task(config)}")
    return auto.from_pretrained(path, num_labels=n_classes, ignore_mismatched_sizes=True, **changes)


def classification_task(config: PreTrainedConfig) -> str:
    """``SequenceClassification``, ``ImageClassification`` or ``AudioClassification``: what a model's kind does.

    The architecture that the configuration names decides, if it classifies; else the first that the kind can.
    Raises: ConfigError when the kind classifies nothing.
    """
    able = [task for task in _TASKS if _class_names_of(task, config.model_type)]
    named = [t for t in able if set(_class_names_of(t, config.model_type)) & set(config.architectures or ())]
    for task in (*named, *able):
        return task
    raise ConfigError(
        f"Transformers has no classification model of the kind '{config.model_type}'; take another encoder."
    )


def _class_names_of(task: str, model_type: str) -> tuple[str, ...]:
    """The model classes behind ``AutoModelFor<task>`` for a kind of model; none if it cannot do the task."""
    from transformers.models.auto import modeling_auto

    mapping = f"MODEL_FOR_{task.removesuffix('Classification').upper()}_CLASSIFICATION_MAPPING_NAMES"
    names = getattr(modeling_auto, mapping).get(model_type, ())
    return (names,) if isinstance(names, str) else tuple(names)


def auto_class(model: nn.Module) -> str | None:
    """Name of the transformers ``AutoModelFor...`` that loads ``model`` without code of its own, if one does."""
    if not type(model).__module__.startswith("transformers.models."):
        return None
    kind = cast("PreTrainedModel", model).config.model_type
    tasks = [task for task in _TASKS if type(model).__name__ in _class_names_of(task, kind)]
    return f"AutoModelFor{tasks[0]}" if tasks else None
