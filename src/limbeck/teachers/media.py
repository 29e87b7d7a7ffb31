"""Pictures and sounds on their way into a request: what a column holds, as bytes, as a data URL, as a hash."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from limbeck.data.files.contents import first_bytes
from limbeck.data.files.media import (
    decode_data_url,
    file_of,
    is_called_like_media,
    is_data_url,
    is_link,
    path_of,
    to_samples,
)
from limbeck.data.files.pictures import as_numpy, as_seen, is_plain, open_picture, picture_of_array
from limbeck.data.files.sounds import channels_of, check_sound, rate_of
from limbeck.errors import DataError
from limbeck.signals.content import is_decoder, is_picture, media_kind, media_start, media_suffix, named_file
from limbeck.teachers.wave_files import as_wave, wave_file

# First bytes of the formats that servers read as they are; the others are turned into PNG or WAV.
_STARTS = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"GIF8": "gif"}
_JPEG_QUALITY = 95  # of one that is turned upright


@dataclass(frozen=True)
class Media:
    """A picture or a sound.

    Args:
        kind: ``image`` or ``audio``.    format: ``png``, ``jpeg``, ``gif``, ``webp``, ``wav`` or ``mp3``.
        data: the file's bytes; none of a link.
        digest: hash of the content as it was given: of the file's bytes, or of pixels and samples, so that
            another version of an encoder does not make a new question of an old one.
        link: the address of a picture on the network, which the server fetches itself.
    """

    kind: Literal["image", "audio"]
    format: str
    data: bytes
    digest: str
    link: str | None = None

    def data_url(self) -> str:
        """``data:image/png;base64,...``"""
        return f"data:{self.kind}/{self.format};base64,{base64.b64encode(self.data).decode()}"

    def part(self) -> dict[str, Any]:
        """The part of a chat message that carries it."""
        if self.kind == "image":
            return {"type": "image_url", "image_url": {"url": self.link or self.data_url()}}
        sound = {"data": base64.b64encode(self.data).decode(), "format": self.format}
        return {"type": "input_audio", "input_audio": sound}

    def __str__(self) -> str:
        """What stands for it where questions are compared."""
        return f"{self.kind} {self.digest}"


def media_of(value: Any) -> Media | None:
    """``value`` as a picture or a sound; ``None`` for texts, numbers and all else.

    What is a file is found by looking: a text that names one on this machine is it, whatever it is called; one that
    only ends like a file name stays a text. A text that is nothing but a link to a picture is sent as that link.

    Args:
        value: a PIL image; an array or tensor of pixels (see
            :func:`~limbeck.data.files.pictures.picture_of_array`); a waveform ``{"array": [T] or [channels, T],
            "sampling_rate": Hz}``; the bytes of a file; the path of a picture or sound that exists; a data
            URL; or what ``datasets`` gives undecoded, ``{"bytes": ..., "path": ...}``.

    Raises: DataError: a file that is missing or unreadable, pixels outside their range, a wave without its
        rate.    ConfigError: Pillow or soundfile is needed and missing.
    """
    if isinstance(value, str):
        return _of_text(value)
    if isinstance(value, (Path, bytes, bytearray, memoryview)):
        return _of_file(value)
    if isinstance(value, Mapping):
        return _of_mapping(value)
    if is_picture(value):
        return _of_picture(as_seen(value))
    if is_decoder(value):
        samples, rate = to_samples(value)
        return _of_samples(samples, rate or 0)
    if hasattr(value, "shape") and hasattr(value, "dtype") and len(value.shape) > 0:
        array = as_numpy(value)
        return None if array.ndim == 1 else _of_picture(picture_of_array(array))
    return None


def _of_text(value: str) -> Media | None:
    if is_data_url(value):
        return _of_bytes(decode_data_url(value), "a data URL")
    if is_link(value):
        return _of_link(value.strip())
    path, has_folder = named_file(value), "/" in value or os.sep in value
    if (
        path is not None
    ):  # a word may be the name of a file in this folder by chance: such a file must be media
        return _of_file(path) if has_folder or media_kind(path) is not None else None
    if has_folder and is_called_like_media(value):  # a bare name may be a text about a file
        raise DataError(f"There is no file {value.strip()}; paths count from the folder where you start.")
    return None


def _of_link(link: str) -> Media | None:
    """A picture's address, for the server to fetch; another is a text."""
    kind = media_suffix(urlsplit(link).path)
    if kind is None:
        return None
    if kind == "audio" or not link.lower().startswith("http"):
        raise DataError(
            f"{link[:80]} is a link, and no server fetches it; download the file and give its path."
        )
    return Media("image", "link", b"", _digest("link", link.encode()), link)


def _of_file(value: Any) -> Media:
    where = path_of(value) or "a value of bytes"
    source = file_of(value)
    if source is None:
        raise DataError(f"{where} names no file; fill it in or leave it out.")
    first_bytes(source, where)  # that it is there
    try:
        return _of_bytes(source if isinstance(source, bytes) else source.read_bytes(), where)
    except OSError as error:
        raise DataError(f"The file {where} cannot be read ({str(error.strerror).lower()}).") from error


def _of_mapping(value: Mapping[str, Any]) -> Media | None:
    if value.get("array") is not None and value.get("bytes") is None:
        rate = rate_of(value)
        if not rate:
            raise DataError("A waveform needs its rate: give {'array': samples, 'sampling_rate': Hz}.")
        return _of_samples(value["array"], rate)
    if value.get("bytes") is None and value.get("path") is None:
        return None
    return _of_file(value)


def _of_samples(value: Any, rate: int) -> Media:
    samples = as_numpy(value)
    wide = channels_of(samples)  # all of them are heard
    digest = _digest(f"{samples.shape}{rate}", wide.reshape(samples.shape, order="A").astype("<f4").tobytes())
    return Media("audio", "wav", wave_file(wide, rate), digest)


def _of_bytes(data: bytes, where: str) -> Media:
    """By the first bytes of the file, whatever it is called."""
    first_bytes(data, where)
    if media_start(data[:64]) != "audio":
        return _picture_file(data, where)
    digest = _digest("file", data)
    if data[:4] == b"RIFF":
        check_sound(data, where)
        return Media("audio", "wav", data, digest)
    if data[:3] == b"ID3" or (data[0] == 0xFF and data[1] & 6 == 2):
        check_sound(data, where)
        return Media("audio", "mp3", data, digest)
    return Media("audio", "wav", as_wave(data, where), digest)


def _picture_file(data: bytes, where: str) -> Media:
    """A file that shows what people see is sent as it is; others as PNG (a JPEG as JPEG: as PNG it is too large)."""
    image = open_picture(data, where, only_check=True)
    name = next((name for start, name in _STARTS.items() if data.startswith(start)), None)
    if name is None and data[:4] == b"RIFF":
        name = "webp"
    plain = is_plain(image)
    if plain and name is not None:
        return Media("image", name, data, _digest("file", data))
    seen, file = as_seen(open_picture(data, where), where), io.BytesIO()
    name = "jpeg" if name == "jpeg" else "png"
    seen.save(file, format=name, quality=_JPEG_QUALITY)
    # one that is shown otherwise than the file says is another question than the file was before
    return Media("image", name, file.getvalue(), _digest("file" if plain else "file as seen", data))


def _of_picture(image: Any) -> Media:
    """Of a picture as it is seen, ``L`` or ``RGB``."""
    return Media(
        "image", "png", png_bytes(image), _digest(f"pixels{image.mode}{image.size}", image.tobytes())
    )


def png_bytes(image: Any) -> bytes:
    """A PIL image as PNG, as people see it."""
    file = io.BytesIO()
    as_seen(image).save(file, format="PNG")
    return file.getvalue()


def _digest(kind: str, content: bytes) -> str:
    digest = blake2b(kind.encode(), digest_size=16)
    digest.update(content)
    return digest.hexdigest()
