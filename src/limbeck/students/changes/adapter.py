"""A small part that trains inside a network that does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from limbeck.errors import ConfigError, UnknownNameError, nearest
from limbeck.students.heads import linear_layers

NAME = "limbeck_adapter"
DEFAULTS: dict[str, Any] = {"at": "head", "width": 32}


class Adapter(nn.Module):
    """``x + up(gelu(down(x)))`` over the last axis; at first ``x``, since ``up`` starts at zero.

    Source: Houlsby et al., ICML 2019, arXiv 1902.00751.
    """

    def __init__(self, n_features: int, width: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(n_features, width), nn.Linear(width, n_features)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.up(nn.functional.gelu(self.down(x)))


def add_adapter(model: nn.Module, settings: Mapping[str, Any], head: str) -> Adapter:
    """Put an adapter before a linear layer of ``model``, in place, and freeze everything else.

    Args:
        settings: ``at``: ``head``, or the path of a linear layer; ``width`` of the bottleneck.
        head: path of the model's head.

    Raises: UnknownNameError for a setting or a layer that does not exist; ConfigError for a width below 1.
    """
    for name in settings:
        if name not in DEFAULTS:
            raise UnknownNameError(f"An adapter has no setting {name!r}; {nearest(name, DEFAULTS)}")
    values = {**DEFAULTS, **settings}
    if not isinstance(values["width"], int) or values["width"] < 1:
        raise ConfigError(f"The width of an adapter is a whole number from 1; it is {values['width']!r}.")
    layers = linear_layers(model)
    at = head if values["at"] == "head" else values["at"]
    if at not in layers:
        raise UnknownNameError(f"The model has no linear layer {at!r}; {nearest(str(at), layers)}")
    model.requires_grad_(False)
    layer = layers[at]
    adapter = Adapter(layer.in_features, values["width"]).to(layer.weight)
    layer.register_forward_pre_hook(lambda _module, given: (adapter(given[0]), *given[1:]))
    layer.add_module(NAME, adapter)  # not beside it: a Sequential would run it
    return adapter
