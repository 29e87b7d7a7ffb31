"""Transformers' ResNet and ViT from their configurations alone: the sizes are those of the papers, and the weights are
new, so nothing is fetched. With the weights of a checkpoint take ``hf:PATH``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn


def resnet18(n_classes: int, in_channels: int = 3) -> nn.Module:
    """The ResNet of 18 layers, 11.2 million parameters, for pictures and spectrograms ``[n, c, h, w]`` of any size.

    Features are 512 wide. Source: He et al., CVPR 2016, arXiv 1512.03385, table 1.
    """
    return _resnet(n_classes, in_channels, "basic", [64, 128, 256, 512], [2, 2, 2, 2])


def resnet50(n_classes: int, in_channels: int = 3) -> nn.Module:
    """The ResNet of 50 layers, 23.5 million parameters, as :func:`resnet18`; features are 2048 wide."""
    return _resnet(n_classes, in_channels, "bottleneck", [256, 512, 1024, 2048], [3, 4, 6, 3])


def vit_small(
    n_classes: int, in_channels: int = 3, size: Sequence[int] = (224, 224), patch: int = 16, layers: int = 12
) -> nn.Module:
    """The ViT of width 384 with 6 heads, 21.7 million parameters, for ``[n, c, h, w]`` of one ``size``.

    Args:
        patch: side of a patch; what does not fill one at the right and lower edge is not seen.

    Source: Dosovitskiy et al., ICLR 2021, arXiv 2010.11929; the small form of Touvron et al., ICML 2021, arXiv
    2012.12877.
    """
    return _vit(n_classes, in_channels, size, patch, layers, width=384, heads=6)


def vit_base(
    n_classes: int, in_channels: int = 3, size: Sequence[int] = (224, 224), patch: int = 16, layers: int = 12
) -> nn.Module:
    """The ViT of width 768 with 12 heads, 85.8 million parameters, as :func:`vit_small`."""
    return _vit(n_classes, in_channels, size, patch, layers, width=768, heads=12)


def _resnet(
    n_classes: int, in_channels: int, kind: str, widths: Sequence[int], depths: Sequence[int]
) -> nn.Module:
    from transformers import ResNetConfig, ResNetForImageClassification

    make: Any = ResNetConfig  # whose signature lacks the settings that all configurations share
    config = make(
        num_channels=in_channels,
        embedding_size=64,
        hidden_sizes=list(widths),
        depths=list(depths),
        layer_type=kind,
        num_labels=n_classes,
    )
    return ResNetForImageClassification(config)


def _vit(
    n_classes: int, in_channels: int, size: Sequence[int], patch: int, layers: int, *, width: int, heads: int
) -> nn.Module:
    from transformers import ViTConfig, ViTForImageClassification

    make: Any = ViTConfig
    config = make(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        image_size=tuple(size),
        patch_size=patch,
        num_channels=in_channels,
        num_labels=n_classes,
    )
    return ViTForImageClassification(config)
