"""How a batch of inputs reaches a model, and what of its answer are the logits."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from limbeck.errors import ConfigError
from limbeck.problems.base import Reading


def call_by_name(model: nn.Module, inputs: Mapping[str, Tensor]) -> Any:
    """``model(**inputs)`` where its forward accepts the names, ``model(input)`` for a single other name."""
    parameters = _parameters(model)
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    unknown = [name for name in inputs if name not in named]
    by_position = any(
        p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL) for p in parameters
    )
    if len(inputs) == 1 and unknown and by_position:
        return model(*inputs.values())
    if not inputs or (unknown and not any(p.kind is p.VAR_KEYWORD for p in parameters)):
        raise ConfigError(
            f"{type(model).__name__} takes the inputs {', '.join(named) or 'none'}, not "
            f"{', '.join(inputs) or 'none at all'}; rename the inputs of the data to match."
        )
    return model(**inputs)


def _parameters(model: nn.Module) -> tuple[inspect.Parameter, ...]:
    """Of the model's forward; of a method of its class they are read once, as this is asked in every step."""
    function = getattr(model.forward, "__func__", None)
    if function is None or getattr(model.forward, "__self__", None) is not model:
        return tuple(inspect.signature(model.forward).parameters.values())
    return _parameters_of_method(function)


@functools.lru_cache(maxsize=64)
def _parameters_of_method(function: Callable[..., Any]) -> tuple[inspect.Parameter, ...]:
    first, *others = inspect.signature(function).parameters.values()  # self, or *args that takes it too
    return tuple(others if first.kind is not first.VAR_POSITIONAL else (first, *others))


def logits_of(output: Any, model: nn.Module) -> Tensor:
    """The logits in what a model returned."""
    value = output
    if not isinstance(output, Tensor):
        value = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", None)
        if value is None and isinstance(output, (tuple, list)) and output:
            value = output[0]
    if isinstance(value, Tensor) and value.ndim >= 2:
        return value
    found = f"shape {list(value.shape)}" if isinstance(value, Tensor) else type(output).__name__
    raise ConfigError(
        f"{type(model).__name__} returned no logits [n, C] but {found}; a student that classifies needs a model that "
        "does (for Hugging Face models an AutoModelFor...Classification)."
    )


# What models call what they return, where it is no tensor: of an embedder its summary before its states.
_EMBEDDING = (
    "pooler_output",
    "image_embeds",
    "text_embeds",
    "sentence_embedding",
    "last_hidden_state",
    "logits",
)
_PREDICTION = ("prediction", "sample", "logits")


def representation_of(output: Any) -> Tensor | None:
    """The tensor itself, or the embedding (else the states) in what a model returned; None where there is none."""
    return _named(output, _EMBEDDING)


def prediction_of(output: Any) -> Tensor | None:
    """The tensor itself, or the prediction in what a model returned; None where there is none."""
    value = _named(output, _PREDICTION)
    if value is None and isinstance(output, (tuple, list)) and output and isinstance(output[0], Tensor):
        return output[0]
    return value


def answer_of(output: Any, model: nn.Module, reading: Reading) -> Tensor:
    """What a model of a reading answers: logits, an embedding, or a prediction.

    Raises: ConfigError naming what it returned.
    """
    if reading in ("classifier", "positions"):
        return logits_of(output, model)
    value = representation_of(output) if reading == "embedding" else prediction_of(output)
    if value is None:
        raise ConfigError(
            f"{type(model).__name__} returned {type(output).__name__}, which holds no {reading}; let it "
            "return a tensor."
        )
    return value


def _named(output: Any, names: tuple[str, ...]) -> Tensor | None:
    if isinstance(output, Tensor):
        return output
    for name in names:
        value = output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)
        if isinstance(value, Tensor):
            return value
    return None
