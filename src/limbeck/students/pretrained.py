"""Students from transformers checkpoints: sequence, image and audio classifiers, regression, multiple choice."""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

import torch
from torch import Tensor, nn

from limbeck.errors import ConfigError, DataError, LimbeckError, UnknownNameError, first_line, nearest
from limbeck.problems.base import Problem
from limbeck.students.foreign import NO_CODE, PLAIN_WEIGHTS, loading, no_code, refuse_extras
from limbeck.students.pooled import PooledClassifier, Pooling
from limbeck.students.text import encoder_class, load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

# Kinds that a package of their own builds, by settings that transformers passes on.
_OUTSIDE = ("timm_wrapper", "layoutlmv2")
TASKS = (
    "SequenceClassification", "ImageClassification", "AudioClassification", "MultipleChoice", "TokenClassification",
    "SemanticSegmentation", "CausalLM",
)  # fmt: skip


def pretrained_model(
    path: str,
    problem: Problem,
    pooling: Pooling | None,
    dtype: torch.dtype,
    changes: Mapping[str, Any],
) -> tuple[nn.Module, set[str]]:
    """The checkpoint at ``path`` under a head for ``problem``, and the names of the parameters that it did not hold.

    Args:
        pooling: None = transformers' own class for the problem, where the kind has one.
        changes: to the model's configuration.
    """
    config = _config(path, changes)
    name = None if pooling is not None else _own_class(config, problem)
    with quietly(), loading(path):
        if name is None:
            model, new = _pooled(path, config, problem, pooling, dtype)
        else:
            model, new = _own(path, config, name, problem, dtype)
    _settle(model, path)
    return model, new


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Without transformers' bar and report of a head that is new, which is what is wanted here."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def load_shipped(folder: Path, auto: str) -> Callable[[dict[str, Tensor]], Tensor]:
    """The model of an exported student: a function from inputs by name to logits; arguments and errors as
    :func:`shipped_model`."""
    return shipped_run(shipped_model(folder, auto), folder, auto)


def shipped_run(model: PreTrainedModel, folder: Path, auto: str) -> Callable[[dict[str, Tensor]], Tensor]:
    """A function from inputs by name to the logits of an exported student's model."""

    def run(inputs: dict[str, Tensor]) -> Tensor:
        try:
            logits = model(**inputs).logits
            return logits.movedim(1, -1) if auto.endswith("SemanticSegmentation") else logits
        except Exception as error:  # a model raises what it likes
            reason = first_line(error)
            raise DataError(
                f"The student in {folder} cannot take these inputs ({reason}); give it some like those it was "
                "trained on."
            ) from error

    return run


def shipped_model(folder: Path, auto: str) -> PreTrainedModel:
    """The transformers model of an exported student, in evaluation mode.

    Args:
        auto: the ``AutoModelFor...`` that it is written for.
    Raises: DataError for a folder that holds another model, or more than plain settings and weights.
    """
    import transformers

    refuse_extras(folder)
    config = _config(str(folder), {})
    kind = str(config.model_type)
    if kind in _OUTSIDE or not _class_names_of(auto.removeprefix("AutoModelFor"), kind):
        raise DataError(
            f"{folder} holds a model of the kind '{kind}', which no {auto} loads; export it again."
        )
    with quietly(), loading(folder):
        model = getattr(transformers, auto).from_pretrained(
            folder, config=config, local_files_only=True, **PLAIN_WEIGHTS
        )
    return model.eval()


def shipped_encoder(folder: Path) -> PreTrainedModel:
    """The text encoder of an exported student without a head of its own, in evaluation mode; errors as
    :func:`shipped_model`."""
    config = _config(str(folder), {})
    kind = None if config.model_type in _OUTSIDE else encoder_class(config)
    if kind is None or "input_ids" not in inspect.signature(kind.forward).parameters:
        raise DataError(f"{folder} holds no text encoder but '{config.model_type}'; export it again.")
    extra = {"add_pooling_layer": False} if "add_pooling_layer" in inspect.signature(kind).parameters else {}
    with quietly(), loading(folder):
        encoder, found = kind.from_pretrained(
            folder, config=config, local_files_only=True, output_loading_info=True, **PLAIN_WEIGHTS, **extra
        )
    if missing := sorted(found["missing_keys"]):
        raise DataError(f"{folder} lacks the weights {missing[0]}; copy or export it again.")
    return encoder.eval()


def _config(path: str, changes: Mapping[str, Any]) -> PreTrainedConfig:
    """The configuration with ``changes``; errors for a path without one and for settings it does not have."""
    from transformers import AutoConfig

    try:
        with no_code(path):
            config = AutoConfig.from_pretrained(path, **NO_CODE)
    except DataError:
        raise
    except Exception as error:  # transformers raises what the kind of model makes of its settings
        where = (
            "folder holds no transformers model"
            if Path(path).is_dir()
            else "is no folder, nor a model at hand"
        )
        raise DataError(
            f"'{path}': {where} (a config.json is needed); {(str(error).strip().splitlines() or ['unknown'])[0]}"
        ) from error
    for name, value in changes.items():
        if name.startswith("_") or not hasattr(config, name):
            raise UnknownNameError(
                f"The model '{path}' has no setting {name!r}; {nearest(name, config.to_dict())}"
            )
        setattr(config, name, value)
    return config


def _own_class(config: PreTrainedConfig, problem: Problem) -> str | None:
    """Name of transformers' ``AutoModelFor...`` for the problem; None if a pooled encoder does it."""
    if problem.auto_model is not None:
        if _class_names_of(problem.auto_model, config.model_type):
            return f"AutoModelFor{problem.auto_model}"
        if problem.chooses:
            return None
        raise ConfigError(
            f"Transformers has no {problem.auto_model} of the kind '{config.model_type}'; take another encoder."
        )
    if problem.reading not in ("classifier", "positions"):
        raise ConfigError(
            f"No transformers model has a head for the problem {problem.kind}; build the student in Python."
        )
    return f"AutoModelFor{classification_task(config)}"


def _own(
    path: str, config: PreTrainedConfig, name: str, problem: Problem, dtype: torch.dtype
) -> tuple[nn.Module, set[str]]:
    import transformers

    n_outputs = problem.n_outputs()
    for key, value in {
        **({} if n_outputs is None else {"num_labels": n_outputs}),
        **problem.model_config,
    }.items():
        setattr(config, key, value)
    # The changes are in the configuration: as arguments, one called trust_remote_code would be obeyed.
    model, found = getattr(transformers, name).from_pretrained(
        path,
        config=config,
        dtype=dtype,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
        **PLAIN_WEIGHTS,
    )
    return model, set(found["missing_keys"]) | {entry[0] for entry in found["mismatched_keys"]}


def _pooled(
    path: str,
    config: PreTrainedConfig,
    problem: Problem,
    pooling: Pooling | None,
    dtype: torch.dtype,
) -> tuple[nn.Module, set[str]]:
    """The encoder alone under a pooled head of our own."""
    kind = encoder_class(config)
    if kind is None or "input_ids" not in inspect.signature(kind.forward).parameters:
        raise ConfigError(
            f"pooling and multiple choice are for text models; the kind '{config.model_type}' is none, so leave "
            "pooling null."
        )
    if config.is_encoder_decoder:
        raise ConfigError(
            f"pooling is for models of one stack; '{config.model_type}' has an encoder and a decoder, so leave it null."
        )
    # A pooler that nothing reads would be a parameter without gradient.
    extra = {"add_pooling_layer": False} if "add_pooling_layer" in inspect.signature(kind).parameters else {}
    encoder, found = kind.from_pretrained(
        path, config=config, dtype=dtype, output_loading_info=True, **PLAIN_WEIGHTS, **extra
    )
    text = config.get_text_config()
    names = ("classifier_dropout", "hidden_dropout_prob", "dropout", "resid_pdrop")
    dropouts = [value for name in names if isinstance(value := getattr(text, name, None), float)]
    model = PooledClassifier(
        encoder,
        pooling or ("last" if is_causal(config) else "mean"),
        1 if problem.chooses else problem.n_outputs() or 0,
        choices=problem.chooses,
        dropout=dropouts[0] if dropouts else 0.0,
        deviation=float(getattr(text, "initializer_range", 0.02)),
    )
    return model.to(dtype), {f"encoder.{name}" for name in found["missing_keys"]}


def is_causal(config: PreTrainedConfig) -> bool:
    """Whether models of this kind read from left to right only."""
    from transformers.models.auto import modeling_auto

    kind = config.get_text_config().model_type
    return kind in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and not (
        kind in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(config, "is_decoder", False)
    )


def _settle(model: nn.Module, path: str) -> None:
    """No cache of keys and values, which only generation reads, and the padding token of the tokenizer."""
    encoder = model.encoder if isinstance(model, PooledClassifier) else model
    config = cast("PreTrainedModel", encoder).config.get_text_config()
    if getattr(config, "use_cache", False):
        config.use_cache = False
    if isinstance(model, PooledClassifier) or not is_causal(config):
        return
    try:
        # After loading: given before, transformers would not train the embedding of the token.
        config.pad_token_id = load_tokenizer(path).pad_token_id
    except LimbeckError:
        if getattr(config, "pad_token_id", None) is None:
            end = config.eos_token_id
            config.pad_token_id = end[0] if isinstance(end, list) else end


def classification_task(config: PreTrainedConfig) -> str:
    """``SequenceClassification``, ``ImageClassification`` or ``AudioClassification``: what a model's kind does.

    The architecture that the configuration names decides, if it classifies; else the first that the kind can.
    Raises: ConfigError when the kind classifies nothing.
    """
    able = [task for task in TASKS[:3] if _class_names_of(task, config.model_type)]
    named = [t for t in able if set(_class_names_of(t, config.model_type)) & set(config.architectures or ())]
    for task in (*named, *able):
        return task
    raise ConfigError(
        f"Transformers has no classification model of the kind '{config.model_type}'; take another encoder."
    )


def _class_names_of(task: str, model_type: str) -> tuple[str, ...]:
    """The model classes behind ``AutoModelFor<task>`` for a kind of model; none if it cannot do the task."""
    from transformers.models.auto import modeling_auto

    # TokenClassification: TOKEN_CLASSIFICATION; CausalLM: CAUSAL_LM
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", task).upper()
    mapping = f"MODEL_FOR_{words}_MAPPING_NAMES"
    names = getattr(modeling_auto, mapping).get(model_type, ())
    return (names,) if isinstance(names, str) else tuple(names)


def auto_class(model: nn.Module) -> str | None:
    """Name of the transformers ``AutoModelFor...`` that loads ``model`` without code of its own, if one does."""
    if not type(model).__module__.startswith("transformers.models."):
        return None
    kind = cast("PreTrainedModel", model).config.model_type
    if kind in _OUTSIDE:
        return None
    tasks = [task for task in TASKS if type(model).__name__ in _class_names_of(task, kind)]
    return f"AutoModelFor{tasks[0]}" if tasks else None


def check_choice(name: str, value: str | None, options: Any) -> None:
    """UnknownNameError for a value that is none of a Literal's."""
    if value is not None and value not in get_args(options):
        raise UnknownNameError(f"There is no {name} {value!r}; {nearest(value, get_args(options))}")
