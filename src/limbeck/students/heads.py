"""Which linear layer is the head, and which of its rows made the logits.

Axis legend: n rows of the batch, K choices, p positions (tokens; pixels), d feature width, C classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from limbeck.errors import HeadNotFoundError, some
from limbeck.students.recorder import LinearCall, Recorder, is_pointwise


def linear_layers(model: nn.Module) -> dict[str, nn.Linear]:
    """Path to module of every ``nn.Linear`` in ``model``; a shared one is listed once."""
    return {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}


def possible_heads(model: nn.Module, positions: bool) -> dict[str, nn.Module]:
    """What may be a head: linear layers and, of a model that answers at ``positions``, pointwise convolutions."""
    found = {name: module for name, module in model.named_modules() if positions and is_pointwise(module)}
    return {**linear_layers(model), **found}


def candidates(model: nn.Module, executed: Iterable[str] = (), *, positions: bool = False) -> str:
    """What may be the head of ``model`` for a message, those that ran last first."""
    layers, ran = possible_heads(model, positions), list(executed)[::-1]
    if not layers:
        return "the model holds no nn.Linear at all; end it with one"
    order = [*ran, *(name for name in reversed(layers) if name not in ran)]
    sizes = {name: tuple(cast(nn.Linear, module).weight.shape[:2]) for name, module in layers.items()}
    names = [f"{n} ({sizes[n][1]} to {sizes[n][0]}{', ran' if n in ran else ''})" for n in order]
    return "name the right one with Student(model, head=PATH); candidates: " + some(names, 8).replace("'", "")


def find_head(model: nn.Module, record: Recorder, logits: Tensor) -> str:
    """Path of the last executed linear layer that made ``logits``.

    The layer must be as wide as the logits, and the logits its output: as it is, one of its positions per
    row, or after an increasing function of each entry (log-softmax, a temperature, a soft cap). In multiple choice
    it has one output, of which ``n K`` make the logits ``[n, K]``.

    Raises: HeadNotFoundError with the candidates, when there is none.
    """
    single = record.calls.get(1)
    if single is not None and scores_choices(single, logits):
        return single.path
    call = record.calls.get(logits.shape[-1])
    if call is None:
        raise HeadNotFoundError(
            f"No nn.Linear with {logits.shape[-1]} outputs, the width of the logits, ran in the forward of "
            f"{type(model).__name__}; {candidates(model, record.executed)}."
        )
    if call.outputs.shape == logits.shape and not _keeps_order(call.outputs, logits):
        raise HeadNotFoundError(
            f"The last nn.Linear as wide as the logits, '{call.path}', did not make them, as their order "
            f"differs; {candidates(model, record.executed)}."
        )
    return call.path


def position_head(model: nn.Module, record: Recorder, logits: Tensor) -> str:
    """Path of the last executed linear layer or pointwise convolution that is as wide as ``logits``: ``[n, *p, C]``
    of a linear layer, ``[n, C, *p]`` of a convolution.

    Raises: HeadNotFoundError with the candidates, when there is none.
    """
    modules = dict(model.named_modules())
    calls = {call.path: call for call in record.calls.values()}
    for path in reversed(record.executed):
        if path in calls:
            made = channels_last(logits, modules[path])
            outputs = calls[path].outputs
            if outputs.shape[-1] == made.shape[-1] and (
                outputs.shape != made.shape or _keeps_order(outputs, made)
            ):
                return path
    raise HeadNotFoundError(
        f"No linear layer or 1x1 convolution of {type(model).__name__} made its outputs {list(logits.shape)}; "
        f"{candidates(model, record.executed, positions=True)}."
    )


def channels_last(logits: Tensor, head: nn.Module) -> Tensor:
    """Logits with the classes on the last axis; a convolution has them on the second."""
    return logits.movedim(1, -1) if is_pointwise(head) else logits


def head_call(model: nn.Module, record: Recorder, head: str) -> LinearCall:
    """The recorded call of the head; an error when this forward went around it."""
    for call in record.calls.values():
        if call.path == head:
            return call
    raise HeadNotFoundError(
        f"The head '{head}' did not run in this forward; {candidates(model, record.executed)}."
    )


def scores_choices(call: LinearCall, logits: Tensor) -> bool:
    """Whether a layer's outputs ``[n K, 1]`` are the logits ``[n, K]``: one row of the layer for each choice."""
    outputs = call.outputs
    if (
        outputs.shape[-1] != 1
        or logits.ndim != 2
        or logits.shape[1] == 1
        or outputs.numel() != logits.numel()
    ):
        return False
    outputs, logits = outputs.detach().reshape(logits.shape), logits.detach()
    return bool(((outputs == logits) | (outputs.isnan() & logits.isnan())).all())


@torch.no_grad()
def _keeps_order(outputs: Tensor, logits: Tensor) -> bool:
    """Whether every finite row of ``logits`` has the order of ``outputs`` (ties allowed)."""
    outputs, logits = outputs.detach().float(), logits.detach().float()
    finite = (outputs.isfinite() & logits.isfinite()).all(-1)
    ordered = logits[finite].gather(-1, outputs[finite].argsort(-1))
    slack = 1e-3 * ordered.abs().amax(-1, keepdim=True) if ordered.numel() else 0.0
    return bool((ordered.diff(dim=-1) >= -slack).all())


def feature_rows(call: LinearCall, logits: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
    """Head inputs in the layout of ``logits``: ``[n, d]`` for ``[n, C]``.

    Multiple choice: the mean over the choices of a row, as a row has one teacher and one logit for each choice.

    A model that scores every position and then takes one per row (decoders with a classification head) gives
    the features of that position. It is found by its logits; where several positions have the same ones (a
    head of zeros), the last that the attention mask shows, which is the one that such models take.

    Raises: HeadNotFoundError when rows of logits and rows of the head cannot be matched.
    """
    lead = logits.shape[:-1]
    each = choice_features(call, logits)
    if each is not None:
        return each.mean(1)
    if call.inputs.shape[:-1] == lead:
        return call.inputs
    if logits.ndim == 2 and call.outputs.ndim > 2 and len(call.outputs) == len(logits):
        features, outputs = call.inputs.flatten(1, -2), call.outputs.detach().flatten(1, -2)
        position = _taken_position(outputs, logits.detach(), inputs.get("attention_mask"))
        if position is not None:
            return features[torch.arange(len(features), device=features.device), position]
    raise HeadNotFoundError(
        f"The head '{call.path}' put out {list(call.outputs.shape)}, the model logits {list(logits.shape)}: "
        "it is not clear which feature row belongs to which logits; let the model pool before its head."
    )


def choice_features(call: LinearCall, logits: Tensor) -> Tensor | None:
    """Head inputs of each choice, ``[n, K, d]`` for logits ``[n, K]``; None where a row offers none."""
    return call.inputs.reshape(*logits.shape, -1) if scores_choices(call, logits) else None


def _taken_position(outputs: Tensor, logits: Tensor, mask: Tensor | None) -> Tensor | None:
    """``[n]`` the position of ``outputs [n, L, C]`` that equals ``logits [n, C]``, None if a row has none."""
    outputs, wanted = outputs.float(), logits.float().unsqueeze(1)
    equal = ((outputs == wanted) | (outputs.isnan() & wanted.isnan())).all(-1)  # (n, L)
    if not bool(equal.any(1).all()):
        return None
    rank = 1 + torch.arange(equal.shape[1], device=equal.device).expand_as(equal)
    if mask is not None and mask.shape == equal.shape:
        rank = rank + mask.bool() * equal.shape[1]
    return (rank * equal).argmax(1)
