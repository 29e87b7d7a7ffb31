"""The towers of a transformers model: which part reads texts, images, sounds, or texts and images together."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from limbeck.errors import ConfigError, DataError
from limbeck.teachers.base import representation_of

Tower = Literal["text", "image", "audio", "fused"]
TOWERS = ("text", "image", "audio", "fused")
KINDS = ("text", "image", "audio")
# What a model's arguments hold; an attention mask belongs to the input that comes with it.
KIND_OF_ARGUMENT = {
    "input_ids": "text", "token_type_ids": "text", "position_ids": "text",
    "pixel_values": "image", "pixel_mask": "image", "pixel_attention_mask": "image", "spatial_shapes": "image",
    "input_features": "audio", "input_values": "audio", "is_longer": "audio",
}  # fmt: skip
_READER = {"text": "get_text_features", "image": "get_image_features", "audio": "get_audio_features"}
_PART = {"text": "text_model", "image": "vision_model", "audio": "audio_model"}


@dataclass
class States:
    """What one forward of a tower gave for ``m`` rows.

    Args:
        last: ``[m, T, D]`` or ``[m, C, H, W]``.    hidden: the same for every layer, the embeddings first.
        embedding: the joint embedding of a two-tower or fused model, ``[m, E]``.
        pooler: the model's own summary before any projection, ``[m, D]``.
        mask: ``[m, T]`` that a fused model made for its joined positions.
    """

    last: Tensor
    hidden: Sequence[Tensor] = ()
    embedding: Tensor | None = None
    pooler: Tensor | None = None
    mask: Tensor | None = None


def towers_of(model: Any) -> tuple[str, ...]:
    """Names of the towers that ``model`` has."""
    if _is_matcher(model):
        return ("text", "image", "fused")
    known = arguments_of(model)
    kinds = [kind for kind, reader in _READER.items() if hasattr(model, reader)]
    if len(kinds) > 1:
        return (*kinds, "fused") if hasattr(model, "get_multimodal_features") else tuple(kinds)
    if {"input_ids", "pixel_values"} <= known:
        return ("fused",)
    return (KIND_OF_ARGUMENT.get(model.main_input_name, "text"),)


def arguments_of(model: Any, tower: str | None = None) -> set[str]:
    """Names of the tensors that the model, or one tower of it, takes."""
    reader = getattr(model, _READER.get(tower or "", ""), None) or model.forward
    return set(inspect.signature(reader).parameters) - {"kwargs"}


def kinds_of(tower: str) -> tuple[str, ...]:
    """What a tower reads."""
    return ("text", "image") if tower == "fused" else (tower,)


def tower_shown(source: str, towers: Sequence[str], shown: Collection[str]) -> str:
    """The tower that reads the kinds of inputs ``shown``; DataError where there is none, or a choice to make."""
    for tower in towers:
        if set(kinds_of(tower)) == set(shown):
            return tower
    have = " and ".join(sorted(shown)) or "none of its inputs"
    wanted = " or ".join("text and image together" if tower == "fused" else tower for tower in towers)
    mend = "pass tower= or name the columns" if len(towers) > 1 else "name the columns that it reads"
    raise DataError(f"{source} reads {wanted}, and the columns show {have}; {mend} with inputs=.")


def read_tower(model: Any, tower: str, inputs: Mapping[str, Tensor], *, two_towers: bool) -> States:
    """Run one tower, without gradient if the caller says so; no other tower and no decoder runs."""
    if _is_matcher(model) or (tower == "fused" and hasattr(model, "get_multimodal_features")):
        return _read_blip(model, tower, inputs)
    if two_towers:
        return _read_one_of_two(model, tower, inputs)
    with _joined_mask(model if tower == "fused" else None) as masks:
        output = model(**inputs, output_hidden_states=True)
    pooler = getattr(output, "pooler_output", None)
    return States(
        output.last_hidden_state,
        getattr(output, "hidden_states", None) or (),
        pooler if tower == "fused" else None,
        pooler,
        masks[0] if masks else None,
    )


def _read_one_of_two(model: Any, tower: str, inputs: Mapping[str, Tensor]) -> States:
    """A two-tower model projects in ``get_..._features``, over what the tower itself gave as its summary."""
    summary: list[Tensor | None] = []
    part = getattr(model, _PART[tower], None)

    def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
        summary.append(getattr(output, "pooler_output", None))

    hook = part.register_forward_hook(keep) if isinstance(part, nn.Module) else None
    try:
        output = getattr(model, _READER[tower])(**inputs, output_hidden_states=True)
    finally:
        if hook is not None:
            hook.remove()
    hidden = getattr(output, "hidden_states", None) or ()
    return States(
        output.last_hidden_state, hidden, representation_of(output), summary[0] if summary else None
    )


def _is_matcher(model: Any) -> bool:
    """BLIP trained to match texts and images has its own names for the parts."""
    return type(model).__name__ == "BlipForImageTextRetrieval"


def _read_blip(model: Any, tower: str, inputs: Mapping[str, Tensor]) -> States:
    """BLIP's parts called one by one: its fused reading is text states that attend to the image's.

    The library's own ``get_multimodal_features`` gives the same embedding, but no states, and makes its mask on
    the CPU.
    """
    matcher = _is_matcher(model)
    text = model.text_encoder if matcher else model.text_model
    named = {name: value for name, value in inputs.items() if name != "pixel_values"}
    if tower in ("image", "fused"):
        output = model.vision_model(pixel_values=inputs["pixel_values"], output_hidden_states=True)
        project = model.vision_proj if matcher else model.visual_projection
    if tower == "fused":
        seen = output.last_hidden_state
        named["encoder_hidden_states"] = seen
        named["encoder_attention_mask"] = torch.ones(seen.shape[:2], dtype=torch.long, device=seen.device)
    if tower in ("text", "fused"):
        output = text(**named, output_hidden_states=True)
        project = model.text_proj if matcher else model.text_projection
    pooler = output.last_hidden_state[:, 0] if matcher else output.pooler_output
    if matcher and tower == "fused":  # what its matching head reads
        embedding = pooler
    else:
        embedding = project(pooler)
        embedding = nn.functional.normalize(embedding, dim=-1) if matcher else embedding
    return States(output.last_hidden_state, output.hidden_states or (), embedding, pooler)


@contextmanager
def _joined_mask(model: Any | None) -> Iterator[list[Tensor]]:
    """The mask ``[m, T]`` that the embeddings of a fused model give beside the joined positions (ViLT)."""
    masks: list[Tensor] = []
    embeddings = getattr(model, "embeddings", None)

    def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
        if isinstance(output, tuple) and len(output) > 1 and output[1].shape == output[0].shape[:2]:
            masks.append(output[1])

    if not isinstance(embeddings, nn.Module):
        yield masks
        return
    hook = embeddings.register_forward_hook(keep)
    # ViLT takes the patches in an order drawn at random
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            yield masks
        finally:
            hook.remove()


@contextmanager
def watched(model: nn.Module, paths: Collection[str]) -> Iterator[dict[str, Any]]:
    """What the modules at ``paths`` put out in the forwards inside; hooks are removed after."""
    seen: dict[str, Any] = {}

    def keeper(path: str) -> Callable[[nn.Module, Any, Any], None]:
        def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
            seen[path] = output

        return keep

    hooks = [model.get_submodule(path).register_forward_hook(keeper(path)) for path in paths]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def states_at(source: str, tower: str, path: str, seen: Mapping[str, Any]) -> Tensor:
    """The tensor that the module at ``path`` put out; ConfigError if it did not run."""
    output = seen.get(path)
    if isinstance(output, (tuple, list)) and output:
        output = output[0]
    if output is None:
        raise ConfigError(f"The layer {path!r} of {source} does not run for the {tower} tower; name another.")
    return representation_of(output)
