"""The picture and the sound of a clip: from files of their own, or out of a film by PyAV (extra `av`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from limbeck.data.audio_visual.places import FILMS, PICTURES
from limbeck.data.files.readers import MediaReader
from limbeck.data.files.sounds import MOST_SAMPLES
from limbeck.data.files.video import opened_film, picture_stream
from limbeck.errors import DataError


@dataclass(frozen=True)
class PictureOfClip:
    """The middle picture of a film as ``[channels, height, width]``.

    Args:
        read: of pictures.

    Call: with a picture, a folder of numbered pictures, or a film.
    Raises: DataError, one sentence with the file.
    """

    read: MediaReader

    def __call__(self, path: Path) -> Tensor:
        if path.is_dir():
            pictures = sorted(
                (p for p in path.iterdir() if p.suffix.lower() in PICTURES),
                key=lambda p: (len(p.stem), p.stem),
            )
            if not pictures:
                raise DataError(f"{path} holds no pictures; take its film apart again.")
            return self.read(pictures[len(pictures) // 2])
        return self.read(middle_picture(path) if path.suffix.lower() in FILMS else path)


@dataclass(frozen=True)
class SoundOfClip:
    """The sound of a clip as its spectrogram ``[1, bands, frames]``.

    Args:
        read: of sounds.

    Call: with a sound, or a film that has one.
    Raises: DataError, one sentence with the file.
    """

    read: MediaReader

    def __call__(self, path: Path) -> Tensor:
        if path.suffix.lower() not in (*FILMS, ".m4a"):
            return self.read(path)
        wave, rate = sound_in(path)
        return self.read({"array": wave, "sampling_rate": rate, "path": str(path)})


def middle_picture(path: Path) -> Any:
    """The PIL picture that is shown in the middle of a film; the last one where a film does not say how long it is."""
    with opened_film(path) as film:
        stream = picture_stream(film, path)
        length = stream.duration
        wanted = None if length is None else (stream.start_time or 0) + length // 2
        if wanted is not None:
            film.seek(wanted, stream=stream)
        last = None
        for picture in film.decode(stream):
            if last is not None and wanted is not None and picture.pts is not None and picture.pts > wanted:
                break
            last = picture
        if last is None:
            raise DataError(f"{path} has no picture that can be decoded; take another file.")
        return last.to_image()


def sound_in(path: Path) -> tuple[np.ndarray, int]:
    """Samples ``[n]`` float32 of the sound in a film, channels averaged, and their rate in Hz."""
    with opened_film(path) as film:
        import av

        if not film.streams.audio:
            raise DataError(f"{path} has no sound; take another file.")
        stream = film.streams.audio[0]
        to_mono = av.AudioResampler(format="flt", layout="mono", rate=stream.rate)
        parts, n = list[np.ndarray](), 0
        for frame in film.decode(stream):
            parts += [part.to_ndarray().reshape(-1) for part in to_mono.resample(frame)]
            n += frame.samples
            if n > MOST_SAMPLES:
                raise DataError(
                    f"{path} has a sound of more than {MOST_SAMPLES:,} samples; cut it into pieces."
                )
        if not parts:
            raise DataError(f"{path} has a sound of zero length; take another file.")
        return np.concatenate(parts).astype(np.float32), int(stream.rate)
