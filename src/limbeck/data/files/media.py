"""What a value of a data set is, found by looking at it: a text, or a picture or sound in one of their many forms."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor

from limbeck.data.files.pictures import as_numpy, as_seen, open_picture, picture_of_array
from limbeck.data.files.sounds import rate_of, read_sound, samples_of
from limbeck.errors import DataError
from limbeck.signals.content import is_decoder, is_picture, media_kind, media_start, media_suffix, named_file

Kind = Literal["text", "image", "audio"]
_LINK = re.compile(r"(?:https?|ftp|s3|gs|hf)://\S+", re.IGNORECASE)


def is_link(text: str) -> bool:
    """Whether a text is an address on the network and nothing else. It is never fetched."""
    return _LINK.fullmatch(text.strip()) is not None


def is_called_like_media(text: str) -> bool:
    """Whether a text is written like the path of a picture or sound: one word, ``.../name.jpg``."""
    return len(text) < 4096 and len(text.split()) == 1 and media_suffix(text.strip()) is not None


def kind_of_value(value: Any) -> Kind | Literal["file"] | None:
    """``text``, ``image`` or ``audio``; ``file`` for a picture or sound whose bytes do not say which; ``None`` for
    anything else, nothing included. An array of two axes is a sound: whoever reads pictures alone knows better."""
    if isinstance(value, str):
        return "text"
    if is_picture(value):
        return "image"
    if is_decoder(value):
        return "audio"
    if isinstance(value, Mapping):
        if value.get("array") is not None:
            return "audio"
        if value.get("bytes") is None and value.get("path") is None:
            return None
    if isinstance(value, (bytes, bytearray, memoryview, Path, Mapping)):
        source = file_of(value)
        if isinstance(source, bytes):
            return media_start(source[:64]) or "file"
        return (media_kind(source) if source is not None else None) or "file"
    if isinstance(value, (list, tuple, np.ndarray, Tensor)):
        return "image" if _axes(value) > 2 else "audio"
    return None


def _axes(value: Any) -> int:
    axes = getattr(value, "ndim", None)
    if axes is not None:
        return int(axes)
    axes = 0
    while isinstance(value, (list, tuple)) and value:
        axes, value = axes + 1, value[0]
    return axes


def file_of(value: Any) -> bytes | Path | None:
    """The file that a value is, holds or names: its bytes, or where it lies (it may be missing).

    Args:
        value: bytes, a path, ``{"bytes", "path"}`` as ``datasets`` gives it undecoded, a data URL, or a text that names
            a file on this machine.

    Returns: ``None`` for what is none of these.    Raises: DataError for a broken data URL, and for a link.
    """
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, Path):
        return value.expanduser()
    if isinstance(value, Mapping):
        if isinstance(content := value.get("bytes"), (bytes, bytearray, memoryview)):
            return bytes(content)
        path = value.get("path")
        if isinstance(path, Path):
            return path
        if not isinstance(path, str):
            return None
        refuse_link(path)
        return named_file(path) or Path(path)
    if isinstance(value, str):
        return decode_data_url(value) if is_data_url(value) else named_file(value)
    return None


def refuse_link(text: str) -> None:
    """Raise DataError for a link."""
    if is_link(text):
        shown = text.strip()
        raise DataError(
            f"{shown[:80]} is a link, and links are not fetched; download the file and give its path on this machine."
        )


def to_picture(value: Any, where: str = "a picture") -> Any:
    """Any form of a picture as a PIL image, ``L`` or ``RGB``, as people see it.

    Args:
        value: as for :func:`file_of`; a PIL image; or pixels, see
            :func:`~limbeck.data.files.pictures.picture_of_array`.
        where: what it is called in messages, where it has no path.

    Raises: DataError, one sentence, for all else and for what cannot be read.
    """
    if is_picture(value):
        return as_seen(value, where)
    if isinstance(value, (list, tuple, np.ndarray, Tensor)):
        return picture_of_array(_array(value, where), where)
    source = _source(value, "picture", where)
    where = path_of(value) or where
    return as_seen(open_picture(source, where), where)


def to_samples(value: Any, where: str = "a sound") -> tuple[np.ndarray, int | None]:
    """Any form of a sound as ``[n]`` float32 from -1 to 1, and its rate in Hz (``None``: it carries none).

    Args:
        value: as for :func:`file_of`; ``{"array", "sampling_rate"}``; samples, see
            :func:`~limbeck.data.files.sounds.samples_of`; or a decoder of torchcodec.
        where: what it is called in messages, where it has no path.

    Raises: DataError, one sentence, for all else and for what cannot be read.
    """
    if isinstance(value, Mapping) and value.get("array") is not None:
        return samples_of(_array(value["array"], where), where), rate_of(value, where)
    if is_decoder(value):
        try:
            found = value.get_all_samples()
        except Exception as error:  # of a decoder of another library, over a broken file
            raise DataError(
                f"{where} cannot be read ({str(error).partition(chr(10))[0]}); replace it."
            ) from error
        return samples_of(found.data, where), int(found.sample_rate)
    if isinstance(value, (list, tuple, np.ndarray, Tensor)):
        return samples_of(_array(value, where), where), None
    return read_sound(_source(value, "sound", where), path_of(value) or where)


def path_of(value: Any) -> str:
    """The path that a value is or carries, for messages; empty where it has none."""
    path = value.get("path") if isinstance(value, Mapping) else value
    return str(path).strip()[:200] if isinstance(path, (str, Path)) and not is_data_url(str(path)) else ""


def _source(value: Any, what: str, where: str) -> bytes | Path:
    if isinstance(value, str) and not is_data_url(value):
        refuse_link(value)
    source = file_of(value)
    if source is not None:
        return source
    if isinstance(value, str):
        raise DataError(
            f"There is no file {value.strip()[:200]!r}; paths count from the folder where you start."
        )
    held = (
        "nothing"
        if value is None or isinstance(value, Mapping)
        else f"{type(value).__name__}, which is no {what}"
    )
    raise DataError(f"{where} holds {held}; leave it out or fill it in.")


def _array(value: Any, where: str) -> np.ndarray:
    try:
        return as_numpy(value)
    except (TypeError, ValueError) as error:  # lists of different lengths
        raise DataError(f"{where} is a list of lists of different lengths; give an array.") from error


# ---- data URLs -----------------------------------------------------------------------------------------------


def is_data_url(text: str) -> bool:
    return text.startswith(("data:image/", "data:audio/"))


def decode_data_url(url: str) -> bytes:
    """The bytes in a base64 data URL; DataError when it is none."""
    head, _, body = url.partition(",")
    try:
        if not head.endswith(";base64"):
            raise ValueError("it is not base64")
        return base64.b64decode(body, validate=True)
    except ValueError as error:
        raise DataError(f"A data URL ({head[:40]}) cannot be read: {error}.") from error
