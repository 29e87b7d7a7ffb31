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

import numpy as np

from limbeck.errors import ConfigError, DataError
from limbeck.teachers.wave_files import as_wave, wave_file

PICTURES = {".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff"}
SOUNDS = {".wav", ".mp3", ".flac", ".ogg"}
# First bytes of the formats that servers read as they are; the others are turned into PNG or WAV.
_STARTS = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"GIF8": "gif"}
_SOUND_STARTS = {b"fLaC": "flac", b"OggS": "ogg", b"ID3": "mp3", b"\xff\xfb": "mp3", b"\xff\xf3": "mp3"}


@dataclass(frozen=True)
class Media:
    """A picture or a sound.

    Args:
        kind: ``image`` or ``audio``.    format: ``png``, ``jpeg``, ``gif``, ``webp``, ``wav`` or ``mp3``.
        data: the file's bytes.
        digest: hash of the content as it was given: of the file's bytes, or of pixels and samples, so that
            another version of an encoder does not make a new question of an old one.
    """

    kind: Literal["image", "audio"]
    format: str
    data: bytes
    digest: str

    def data_url(self) -> str:
        """``data:image/png;base64,...``"""
        return f"data:{self.kind}/{self.format};base64,{base64.b64encode(self.data).decode()}"

    def part(self) -> dict[str, Any]:
        """The part of a chat message that carries it."""
        if self.kind == "image":
            return {"type": "image_url", "image_url": {"url": self.data_url()}}
        sound = {"data": base64.b64encode(self.data).decode(), "format": self.format}
        return {"type": "input_audio", "input_audio": sound}

    def __str__(self) -> str:
        """What stands for it where questions are compared."""
        return f"{self.kind} {self.digest}"


def media_of(value: Any) -> Media | None:
    """``value`` as a picture or a sound; ``None`` for texts, numbers and all else.

    Args:
        value: a PIL image; an array or tensor of pixels, ``[3, H, W]``, ``[1, H, W]``, ``[H, W, 3]`` or
            ``[H, W]``, uint8 or floats from 0 to 1; a waveform ``{"array": [T] or [channels, T],
            "sampling_rate": Hz}``; the bytes of a file; the path of a picture or sound that exists; a data
            URL; or what ``datasets`` gives undecoded, ``{"bytes": ..., "path": ...}``.

    Raises: DataError: a file that is missing or unreadable, pixels outside their range, a wave without its
        rate.    ConfigError: Pillow or soundfile is needed and missing.
    """
    if isinstance(value, str):
        return _of_text(value)
    if isinstance(value, Path):
        return _of_file(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _of_bytes(bytes(value), "a value of bytes")
    if isinstance(value, Mapping):
        return _of_mapping(value)
    if type(value).__module__.startswith("PIL."):
        return _of_picture(value)
    if hasattr(value, "shape") and hasattr(value, "dtype") and len(value.shape) > 0:
        return _of_array(value)
    return None


def _of_text(value: str) -> Media | None:
    if value.startswith(("data:image/", "data:audio/")):
        return _of_bytes(decode_data_url(value), "a data URL")
    if "\n" in value or len(value) > 4096 or Path(value).suffix.lower() not in PICTURES | SOUNDS:
        return None
    path = Path(value)
    if os.path.isfile(path):  # not path.is_file(), which fails for a long text
        return _of_file(path)
    if len(path.parts) > 1:  # a bare name may be a text about a file; this is a path
        raise DataError(f"There is no file {value}; paths count from the folder where you start.")
    return None


def decode_data_url(url: str) -> bytes:
    """The bytes in a base64 data URL; DataError when it is none."""
    head, _, body = url.partition(",")
    try:
        if not head.endswith(";base64"):
            raise ValueError("it is not base64")
        return base64.b64decode(body, validate=True)
    except ValueError as error:
        raise DataError(f"A data URL ({head[:40]}) cannot be read: {error}.") from error


def _of_file(path: Path) -> Media:
    try:
        return _of_bytes(path.read_bytes(), str(path))
    except OSError as error:
        raise DataError(f"The file {path} cannot be read ({str(error.strerror).lower()}).") from error


def _of_mapping(value: Mapping[str, Any]) -> Media | None:
    if value.get("bytes") is not None:
        return _of_bytes(value["bytes"], str(value.get("path") or "a value of bytes"))
    if value.get("array") is not None:
        rate = value.get("sampling_rate")
        if not rate:
            raise DataError("A waveform needs its rate: give {'array': samples, 'sampling_rate': Hz}.")
        samples = as_numpy(value["array"])
        data = wave_file(samples, int(rate))
        return Media("audio", "wav", data, _digest(f"{samples.shape}{rate}", samples.astype("<f4").tobytes()))
    return _of_file(Path(value["path"])) if isinstance(value.get("path"), str) else None


def _of_bytes(data: bytes, where: str) -> Media:
    """By the first bytes of the file, whatever it is called."""
    digest = _digest("file", data)
    for start, name in _STARTS.items():
        if data.startswith(start):
            return Media("image", name, data, digest)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return Media("image", "webp", data, digest)
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return Media("audio", "wav", data, digest)
    for start, name in _SOUND_STARTS.items():
        if data.startswith(start):
            return Media(
                "audio", *(("mp3", data) if name == "mp3" else ("wav", as_wave(data, where))), digest
            )
    return Media("image", "png", png_bytes(open_picture(data, where)), digest)


def _of_picture(image: Any) -> Media:
    return Media(
        "image", "png", png_bytes(image), _digest(f"pixels{image.mode}{image.size}", image.tobytes())
    )


def _of_array(value: Any) -> Media | None:
    array = as_numpy(value)
    if array.ndim == 1:
        return None
    return _of_picture(picture_of_array(array))


def picture_of_array(value: Any) -> Any:
    """Pixels as a PIL image, RGB or grey.

    Args:
        value: ``[3, H, W]``, ``[1, H, W]``, ``[H, W, 3]``, ``[H, W, 1]`` or ``[H, W]``; uint8, or floats from
            0 to 1.

    Raises: DataError for another shape, type or range.
    """
    pixels = as_numpy(value)
    if pixels.ndim == 3 and pixels.shape[0] in (1, 3):
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim != 2 and not (pixels.ndim == 3 and pixels.shape[-1] == 3):
        raise DataError(
            f"An array of shape {list(np.shape(as_numpy(value)))} is no picture; give [3, H, W], [H, W, 3] or "
            "[H, W], and a sound as {'array': samples, 'sampling_rate': Hz}."
        )
    if pixels.dtype.kind == "f":
        low, high = float(pixels.min(initial=0)), float(pixels.max(initial=0))
        if not (low >= 0 and high <= 1):  # NaN too
            raise DataError(
                f"A picture's values go from {low:.3g} to {high:.3g}; give uint8, or floats from 0 to 1 (undo "
                "the normalisation)."
            )
        pixels = np.round(pixels * 255).astype(np.uint8)
    if pixels.dtype != np.uint8:
        raise DataError(f"A picture of {pixels.dtype} has no known range; give uint8, or floats from 0 to 1.")
    return _pillow().fromarray(np.ascontiguousarray(pixels))


def png_bytes(image: Any) -> bytes:
    """A PIL image as PNG; colour models that PNG lacks become RGB."""
    file = io.BytesIO()
    keep = image.mode in ("1", "L", "LA", "P", "RGB", "RGBA")
    (image if keep else image.convert("RGB")).save(file, format="PNG")
    return file.getvalue()


def open_picture(data: bytes, where: str) -> Any:
    """The PIL image in the bytes of a file; DataError naming ``where`` it is from."""
    pillow = _pillow()
    try:
        image = pillow.open(io.BytesIO(data))
        image.load()
    except (OSError, SyntaxError, ValueError, pillow.DecompressionBombError) as error:
        raise DataError(f"{where} cannot be read as a picture; remove it or replace it.") from error
    return image


def as_numpy(value: Any) -> np.ndarray:
    """An array, or a tensor on any device, as a numpy array."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float() if str(value.dtype) == "torch.bfloat16" else value
    return np.asarray(value)


def _digest(kind: str, content: bytes) -> str:
    digest = blake2b(kind.encode(), digest_size=16)
    digest.update(content)
    return digest.hexdigest()


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise ConfigError("Pictures need Pillow; install it with: pip install 'limbeck[vision]'.") from error
    return Image
