"""What every teacher shares: the protocol, and how a batch of inputs reaches a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.errors import DataError, HeadNotFoundError
from limbeck.signals.teacher import Teacher
from limbeck.students import calling

__all__ = ["Teacher", "device_of", "moved", "representation_of", "to_device"]


def device_of(model: nn.Module) -> torch.device:
    """Where the model's first parameter lies; CPU if it has none."""
    first = next(model.parameters(), None)
    return torch.device("cpu") if first is None else first.device


def to_device(inputs: Mapping[str, Any], device: torch.device) -> dict[str, Tensor]:
    """All inputs on ``device``; DataError for a column that is no tensor."""
    wrong = [name for name, value in inputs.items() if not isinstance(value, Tensor)]
    if wrong:
        kind = type(inputs[wrong[0]][0]).__name__ if len(inputs[wrong[0]]) else "empty list"
        raise DataError(
            f"The column {wrong[0]!r} holds values ({kind}) that do not make one tensor; give rows of equal "
            "shape, name the columns that the teacher reads with inputs=, or preprocess them first."
        )
    return {name: moved(value, device) for name, value in inputs.items()}


def moved(value: Tensor, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """``value`` on ``device``; to a GPU through pinned memory, so that the copy runs beside what follows."""
    if device.type == "cuda" and value.device.type == "cpu":
        value = value.pin_memory().to(device, non_blocking=True)
    return value.to(device=device, dtype=dtype)


def representation_of(answer: Any) -> Tensor:
    """The tensor itself, or the pooled features (else the states) of a transformers output."""
    if (value := calling.representation_of(answer)) is not None:
        return value
    raise HeadNotFoundError(
        f"The model returns {type(answer).__name__}, which holds no tensor that a teacher could give; wrap "
        "it so that it returns features [m, D]."
    )
