"""Videos: a few frames, spread evenly, as ``[channels, frames, height, width]`` (extra ``av``)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.data.files.contents import first_bytes
from limbeck.data.files.images import pixels_of
from limbeck.data.files.pictures import MOST_PIXELS, too_large
from limbeck.errors import ConfigError, DataError


def read_video(path: Path, frames: int, size: tuple[int, int], channels: int) -> Tensor:
    """Pixels of 0 to 1 of ``frames`` frames from the first to the last, ``[channels, frames, height, width]``; of a
    shorter video some come more than once. Sound is not read.

    Raises: DataError, one sentence with the path, for a file that is no video or holds no frame; ConfigError without
    PyAV.
    """
    with opened_film(path) as film:
        total = int(picture_stream(film, path).frames)
        wanted = _wanted(total if total > 0 else _counted(path), frames)
        shown = _pictures(film, set(wanted))
    last = max(shown, default=None)
    if last is None:
        raise DataError(f"{path} has no picture that can be decoded; take another file.")
    pixels = [pixels_of(shown.get(number, shown[last]), size, channels) for number in wanted]
    return torch.stack(pixels, dim=1)


@contextmanager
def opened_film(path: Path) -> Iterator[Any]:
    """A film as PyAV's container; what PyAV cannot read, also inside, is one sentence.

    Raises: DataError with the path.    ConfigError without PyAV.
    """
    first_bytes(path, str(path))
    try:
        import av
    except ImportError as error:
        raise ConfigError(
            "Films and videos are read by PyAV; install it with: pip install 'limbeck[av]', or save their pictures "
            "and sounds."
        ) from error
    try:
        with av.open(str(path)) as film:
            yield film
    except (av.error.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise DataError(f"{path} cannot be read as a film ({reason}); save it anew.") from error


def picture_stream(film: Any, path: Path) -> Any:
    """The first stream of pictures of an opened film; DataError where it has none, or larger ones than are read."""
    if not film.streams.video:
        raise DataError(f"{path} has no picture; take another file.")
    stream = film.streams.video[0]
    if stream.width * stream.height > MOST_PIXELS:
        raise DataError(f"{path} has {too_large(stream.width, stream.height)}")
    return stream


def _counted(path: Path) -> int:
    """How many frames there are in a file that does not say."""
    with opened_film(path) as film:
        return sum(1 for _ in film.decode(video=0))


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
