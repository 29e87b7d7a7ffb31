"""Parts of a model that are not trained."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from torch import nn

from limbeck.errors import ConfigError, UnknownNameError, nearest

# What comes before, or goes into, the layers of the transformers text and audio encoders.
_BEFORE_LAYERS = re.compile(
    r"emb|(^|\.)(wte|wpe|shared|project_in|feature_extractor|feature_projection)(\.|$)"
    r"|^encoder\.(LayerNorm|layer_norm)(\.|$)"  # DeBERTa's of its relative positions; Wav2Vec2's first
)


def freeze_parts(model: nn.Module, parts: Sequence[str]) -> None:
    """Take the parameters of ``parts`` out of training: no gradient, no optimiser.

    Args:
        parts: paths of modules; ``embeddings``, all that comes before the layers of a transformers model;
            ``layers:N``, its N lowest layers with all that comes before them, so that no backward pass enters them.

    Raises: UnknownNameError for a path that does not exist; ConfigError for more layers than there are, for
    ``embeddings`` or ``layers:N`` of a model without, and when nothing is left to train.
    """
    if isinstance(parts, str):
        raise ConfigError(f"freeze must be a list of parts, not {parts!r}; write ['{parts}'].")
    for part in parts:
        for module in _modules(model, part):
            module.requires_grad_(False)
    stop_at_frozen(model)
    if parts and not any(p.requires_grad for p in model.parameters()):
        raise ConfigError("All parameters of the student are frozen; leave a part to train.")


def stop_at_frozen(model: nn.Module) -> None:
    """Let no backward pass enter the frozen front of a speech model, which asks for one whatever its parameters say."""
    for module in model.modules():
        stop = getattr(module, "_freeze_parameters", None)
        if callable(stop) and not any(p.requires_grad for p in module.parameters()):
            stop()


def _modules(model: nn.Module, part: str) -> list[Any]:
    """The modules and parameters of one part."""
    modules = dict(model.named_modules())
    modules.pop("")
    lowest = re.fullmatch(r"layers:(\d+)", part)
    if part in modules:
        return [modules[part]]
    if part != "embeddings" and lowest is None:
        options = ["embeddings", "layers:N", *modules]
        raise UnknownNameError(f"The student has no part {part!r} to freeze; {nearest(part, options)}")
    base = base_model(model)
    found = encoder_layers(base)
    if found is None:
        raise ConfigError(
            f"freeze has {part!r}, which only transformers models with a list of layers have; name modules instead."
        )
    path, layers = found
    before = [p for n, p in base.named_parameters() if not n.startswith(path) and _BEFORE_LAYERS.search(n)]
    if lowest is None:
        return before
    n = int(lowest.group(1))
    if not 0 < n <= len(layers):
        raise ConfigError(
            f"freeze has {part!r}, but the student has {len(layers)} layers; take 1 to {len(layers)}."
        )
    return [*before, *layers[:n]]


def base_model(model: nn.Module) -> nn.Module:
    """The encoder inside a model with a head: transformers' own base model, or that of a pooled classifier."""
    encoder = getattr(model, "encoder", None)
    if hasattr(model, "base_model_prefix"):
        return getattr(model, str(model.base_model_prefix), model)
    return encoder if isinstance(encoder, nn.Module) else model


def encoder_layers(base: nn.Module) -> tuple[str, nn.ModuleList] | None:
    """Path and list of a transformers model's layers; None for a model without."""
    n = getattr(getattr(base, "config", None), "num_hidden_layers", None)
    for path, module in base.named_modules():
        # A speech model may have as many convolutions as layers; they come first.
        if (
            isinstance(module, nn.ModuleList)
            and len(module) == n
            and not path.startswith("feature_extractor")
        ):
            return path, module
    return None
