"""Inner layers of a model: by module path, or by their number in its stack of blocks."""

from __future__ import annotations

from torch import nn

from limbeck.errors import ConfigError, UnknownNameError, nearest
from limbeck.signals.layers import is_numbered, layer_number
from limbeck.students.changes.freezing import base_model, encoder_layers


def layer_path(model: nn.Module, name: str) -> str:
    """The module path of a layer, ``encoder.layer.3`` or ``layer:4`` (the fourth block), ``layer:-1``, ``layer:50%``.

    Raises: UnknownNameError for a path that does not exist; ConfigError for a number that the model does not have.
    """
    if not is_numbered(name):
        paths = dict(model.named_modules(remove_duplicate=False))
        paths.pop("", None)
        if name not in paths:
            raise UnknownNameError(f"The student has no layer '{name}'; {nearest(name, paths)}")
        return name
    blocks = block_paths(model)
    number = layer_number(name, len(blocks), "the student")
    if number == 0:
        raise ConfigError(
            "layer:0 is what enters the first block; name its module path to read it of a student."
        )
    return blocks[number - 1]


def block_paths(model: nn.Module) -> list[str]:
    """Paths of the blocks of a model, in order: a transformers model's layers; else the longest ``nn.ModuleList`` or
    ``nn.Sequential`` of modules of one class; of a plain ``nn.Sequential`` its own modules."""
    encoder = encoder_layers(base_model(model))
    best: list[str] = []
    for path, module in model.named_modules():
        if not isinstance(module, (nn.ModuleList, nn.Sequential)):
            continue
        children = dict(module.named_children())
        names = [f"{path}.{name}" if path else name for name in children]
        if encoder is not None and module is encoder[1]:
            return names
        if len(names) > max(1, len(best)) and len({type(child) for child in children.values()}) == 1:
            best = names
    if not best and isinstance(model, nn.Sequential):
        best = [name for name, _ in model.named_children()]
    return best
