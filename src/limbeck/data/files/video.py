"""Videos: a few frames, spread evenly, as ``[channels, frames, height, width]`` (extra ``av``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.data.files.contents import first_bytes
from limbeck.data.files.images import pixels_of
from limbeck.errors import ConfigError, DataError


def read_video(path: Path, frames: int, size: tuple[int, int], channels: int) -> Tensor:
    """Pixels of 0 to 1 of ``frames`` frames from the first to the last, ``[channels, frames, height, width]``; of a
    shorter video some come more than once. Sound is not read.

    Raises: DataError, one sentence with the path, for a file that is no video or holds no frame; ConfigError without
    PyAV.
    """
    first_bytes(path, str(path))
    try:
        import av
    except ImportError as error:
        raise ConfigError("Videos need the package 'av'; pip install 'limbeck[av]'.") from error
    try:
        with av.open(str(path)) as container:
            wanted = _wanted(_count(av, path, container), frames)
            shown = _pictures(container, set(wanted))
    except (av.error.FFmpegError, IndexError) as error:
        raise DataError(f"{path} cannot be read as a video; save it anew.") from error
    last = max(shown, default=None)
    if last is None:
        raise DataError(f"{path} holds no picture; take another video.")
    pixels = [pixels_of(shown.get(number, shown[last]), size, channels) for number in wanted]
    return torch.stack(pixels, dim=1)


def _count(av: Any, path: Path, container: Any) -> int:
    """How many frames there are; counted where the file does not say."""
    stated = int(container.streams.video[0].frames)
    if stated > 0:
        return stated
    with av.open(str(path)) as again:
        return sum(1 for _ in again.decode(video=0))


def _wanted(total: int, frames: int) -> Sequence[int]:
    return torch.linspace(0, max(0, total - 1), frames).round().long().tolist()


def _pictures(container: Any, wanted: set[int]) -> dict[int, Any]:
    """Frame number to picture; what comes after the last one that is wanted is not decoded."""
    found: dict[int, Any] = {}
    number, frame = -1, None
    for number, frame in enumerate(container.decode(video=0)):  # the last one is read below
        if number in wanted:
            found[number] = frame.to_image()
        if number == max(wanted):
            return found
    if frame is not None:  # fewer than the header promised
        found.setdefault(number, frame.to_image())
    return found
