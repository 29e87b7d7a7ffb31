"""Maps from one feature space to another: trained with the student, left behind when it is exported."""

from __future__ import annotations

from torch import nn


def linear_projector(d_in: int, d_out: int, *, bias: bool = True) -> nn.Linear:
    """A linear map ``[..., d_in]`` to ``[..., d_out]``."""
    return nn.Linear(d_in, d_out, bias=bias)


def mlp_projector(d_in: int, d_out: int, *, hidden: int | None = None, n_hidden: int = 1) -> nn.Sequential:
    """``n_hidden`` times [linear, LayerNorm, GELU] of width ``hidden`` (default: the larger end), linear.

    LayerNorm and not BatchNorm, so that a row's projection does not depend on how the batch is cut.
    """
    hidden = hidden or max(d_in, d_out)
    layers: list[nn.Module] = []
    width = d_in
    for _ in range(n_hidden):
        layers += [nn.Linear(width, hidden), nn.LayerNorm(hidden), nn.GELU()]
        width = hidden
    return nn.Sequential(*layers, nn.Linear(width, d_out))
