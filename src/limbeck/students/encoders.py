"""Small reference encoders: functions that return a plain ``nn.Sequential`` ending in a linear head.

Axis legend: n rows, c channels, h x w positions, L tokens, d columns.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from limbeck.layers.widened import Widened


def small_conv_net(
    n_classes: int, in_channels: int = 1, channels: Sequence[int] = (8, 16, 48, 128), widened: int = 0
) -> nn.Sequential:
    """A net of 65,122 parameters (10 classes, one channel) for small images and log-mels ``[n, c, h, w]``.

    One [3x3 convolution with stride 2, BatchNorm, ReLU] per entry of ``channels``, mean over the positions,
    linear head. Any size; the teacher and student of the av_digits benchmark. ``widened``: above 0, the last maps
    pass a :class:`~limbeck.layers.Widened` of as many channels (method ``norm``).
    """
    layers: list[nn.Module] = []
    for width in channels:
        layers += _convolution(in_channels, width, stride=2)
        in_channels = width
    if widened:
        layers.append(Widened(in_channels, widened))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(in_channels, n_classes))


def image_encoder(
    n_classes: int,
    in_channels: int = 3,
    channels: Sequence[int] = (32, 64, 128, 256),
    dropout: float = 0.0,
) -> nn.Sequential:
    """A convolutional net of about 1.2 million parameters for images ``[n, c, h, w]`` of any size.

    Two 3x3 convolutions per entry of ``channels``, the first with stride 2, each with BatchNorm and ReLU;
    mean over the positions, dropout, linear head.
    """
    layers: list[nn.Module] = []
    for width in channels:
        layers += [*_convolution(in_channels, width, stride=2), *_convolution(width, width, stride=1)]
        in_channels = width
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), *_head(in_channels, n_classes, dropout)
    )


def audio_encoder(
    n_classes: int,
    in_channels: int = 1,
    channels: Sequence[int] = (16, 32, 64, 128),
    dropout: float = 0.0,
) -> nn.Sequential:
    """A convolutional net of about 0.3 million parameters for log-mels ``[n, c, h, w]`` (bands, frames).

    As :func:`image_encoder`, any size, after a BatchNorm without parameters over the whole spectrogram, so
    that the log-mels may come in any unit (dB, nepers, standardised).
    """
    body = image_encoder(n_classes, in_channels, channels, dropout)
    return nn.Sequential(nn.BatchNorm2d(in_channels, affine=False), *body)


def text_encoder(
    n_classes: int,
    vocab_size: int = 30522,
    width: int = 128,
    hidden: int = 256,
    padding_index: int = 0,
    dropout: float = 0.1,
) -> nn.Sequential:
    """A bag of token embeddings for token ids ``[n, L]`` (int64), then one hidden layer.

    Args:
        vocab_size: ids run from 0 to ``vocab_size - 1``; the default is that of the English BERT tokenizers.
        padding_index: this id counts for nothing; a row of padding alone embeds to zero.
    """
    return nn.Sequential(
        nn.EmbeddingBag(vocab_size, width, mode="mean", padding_idx=padding_index),
        nn.Linear(width, hidden),
        nn.ReLU(),
        *_head(hidden, n_classes, dropout),
    )


def table_encoder(
    n_classes: int, n_columns: int, hidden: Sequence[int] = (128, 128), dropout: float = 0.0
) -> nn.Sequential:
    """A multi-layer perceptron for rows of numbers ``[n, d]``; standardise columns and fill gaps first."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(n_columns, width), nn.ReLU()]
        n_columns = width
    return nn.Sequential(*layers, *_head(n_columns, n_classes, dropout))


def series_encoder(
    n_classes: int,
    in_channels: int = 1,
    channels: Sequence[int] = (32, 64, 128),
    kernel: int = 7,
    dropout: float = 0.0,
) -> nn.Sequential:
    """A convolutional net over time of about 0.07 million parameters for series ``[n, c, L]`` of any length.

    One [convolution of ``kernel`` steps with stride 2, BatchNorm, ReLU] per entry of ``channels``, mean over the
    steps, dropout, linear head.
    """
    layers: list[nn.Module] = []
    for width in channels:
        convolution = nn.Conv1d(in_channels, width, kernel, stride=2, padding=kernel // 2, bias=False)
        layers += [convolution, nn.BatchNorm1d(width), nn.ReLU()]
        in_channels = width
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), *_head(in_channels, n_classes, dropout)
    )


def video_encoder(
    n_classes: int,
    in_channels: int = 3,
    channels: Sequence[int] = (16, 32, 64),
    dropout: float = 0.0,
) -> nn.Sequential:
    """A convolutional net of about 0.07 million parameters for videos ``[n, c, frames, h, w]`` of any size.

    One [3x3x3 convolution with stride 2 over height and width, BatchNorm, ReLU] per entry of ``channels``, mean over
    frames and positions, dropout, linear head.
    """
    layers: list[nn.Module] = []
    for width in channels:
        convolution = nn.Conv3d(in_channels, width, 3, stride=(1, 2, 2), padding=1, bias=False)
        layers += [convolution, nn.BatchNorm3d(width), nn.ReLU()]
        in_channels = width
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool3d(1), nn.Flatten(), *_head(in_channels, n_classes, dropout)
    )


def _convolution(in_channels: int, width: int, stride: int) -> list[nn.Module]:
    # BatchNorm subtracts any bias of the convolution, so there is none.
    convolution = nn.Conv2d(in_channels, width, 3, stride=stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(width), nn.ReLU()]


def _head(width: int, n_classes: int, dropout: float) -> list[nn.Module]:
    head: list[nn.Module] = [nn.Dropout(dropout)] if dropout else []
    return [*head, nn.Linear(width, n_classes)]
