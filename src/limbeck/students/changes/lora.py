"""Low-rank adapters in place of full fine-tuning (``peft``, extra ``llm``), and their merging before export."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from limbeck.errors import ConfigError, UnknownNameError, nearest
from limbeck.students.changes.freezing import base_model, encoder_layers, stop_at_frozen
from limbeck.students.heads import linear_layers

DEFAULTS: dict[str, Any] = {"r": 8, "alpha": 16, "dropout": 0.05, "target_modules": None}


def add_lora(
    model: nn.Module, settings: Mapping[str, Any], new: Iterable[str] = (), *, head: bool = True
) -> None:
    """Put adapters into the encoder of ``model``, in place; they, the head and the ``new`` parameters are trained.

    Adapters are float32 whatever the model is, as bfloat16 would round the small steps of a low learning rate away.

    Args:
        settings: ``r`` (rank), ``alpha`` (the product is scaled by alpha / r), ``dropout`` before the adapters,
            ``target_modules``: last parts of the paths of the linear layers that get one; null = those that peft
            takes for this kind of model (queries and values), or all linear
            layers of the stack of a kind that it does not know.
        head: train what lies outside the encoder too; False for the head of a vocabulary, which its checkpoint holds.
        new: names of parameters that no checkpoint held (a fresh pooler), which must learn.

    Raises: UnknownNameError for a setting or layer that does not exist; ConfigError for a value out of range, or
    without peft.
    """
    values = _checked(settings)
    if importlib.util.find_spec("peft") is None:
        raise ConfigError("LoRA needs the package peft; install it with: pip install 'limbeck[llm]'.")
    from peft import LoraConfig, inject_adapter_in_model
    from peft.tuners.tuners_utils import cast_adapter_dtype
    from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as USUAL

    encoder = base_model(model)
    adapted = values["target_modules"]
    if adapted is None:
        kind = getattr(getattr(encoder, "config", None), "model_type", "")
        found = encoder_layers(encoder)
        adapted = USUAL.get(kind) or _last_parts(linear_layers(encoder if found is None else found[1]))
    else:
        adapted = [adapted] if isinstance(adapted, str) else list(adapted)
        _check_targets(encoder, adapted)
    inside = {f"{_prefix(model, encoder)}{name}" for name, _ in encoder.named_parameters()}
    config = LoraConfig(
        r=values["r"],
        lora_alpha=values["alpha"],
        lora_dropout=values["dropout"],
        target_modules=adapted,
    )
    outside = {name for name, _ in model.named_parameters() if name not in inside}
    trained = (outside if head else set()) | set(new)
    before = {name: parameter for name, parameter in model.named_parameters() if name in trained}
    inject_adapter_in_model(config, encoder)  # freezes the rest of the encoder
    cast_adapter_dtype(encoder, "default")
    for name, parameter in model.named_parameters():
        if name in outside:
            parameter.requires_grad_(False)
    for parameter in before.values():
        parameter.requires_grad_(True)
    stop_at_frozen(model)


def _last_parts(paths: Iterable[str]) -> list[str]:
    return sorted({path.rpartition(".")[2] for path in paths})


def _check_targets(encoder: nn.Module, targets: Iterable[str]) -> None:
    """UnknownNameError for a target that is no layer with a matrix of weights."""
    layers = _last_parts(
        path
        for path, module in encoder.named_modules()
        if getattr(module, "weight", torch.empty(0)).ndim == 2
    )
    for name in targets:
        if name.rpartition(".")[2] not in layers:
            raise UnknownNameError(
                f"lora.target_modules has {name!r}, which is no linear layer of the student; {nearest(name, layers)}"
            )


def _prefix(model: nn.Module, encoder: nn.Module) -> str:
    return next(f"{path}." if path else "" for path, module in model.named_modules() if module is encoder)


def merge_lora(model: nn.Module) -> nn.Module:
    """``model`` with its adapters added to the weights they adapt, in place; as it is without adapters."""
    for path, module in list(model.named_modules()):
        if hasattr(module, "lora_A") and hasattr(module, "get_base_layer"):  # told without loading peft
            module.merge(safe_merge=True)
            parent, _, name = path.rpartition(".")
            setattr(model.get_submodule(parent), name, module.get_base_layer())
    for module in model.modules():
        module.__dict__.pop("peft_config", None)
    return model


def _checked(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with their defaults; an error for a wrong one."""
    for name in settings:
        if name not in DEFAULTS:
            raise UnknownNameError(f"lora has no setting {name!r}; {nearest(name, DEFAULTS)}")
    values = DEFAULTS | dict(settings)
    rank, dropout, alpha = values["r"], values["dropout"], values["alpha"]
    if not isinstance(rank, int) or isinstance(rank, bool) or rank < 1:
        raise ConfigError(f"lora.r must be a whole number of at least 1; it is {rank!r}.")
    if not isinstance(alpha, int | float) or not alpha > 0:
        raise ConfigError(f"lora.alpha must be a number above 0; it is {alpha!r}.")
    if not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise ConfigError(f"lora.dropout must lie in [0, 1); it is {dropout!r}.")
    return values
