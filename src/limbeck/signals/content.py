"""What an input says, as bytes to be hashed: all that changes what is seen or heard, and nothing else.

A picture counts with its palette, transparency and orientation, a sound with its rate, and a file with its bytes,
wherever it lies and however it is named in the data.
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
import os
from collections.abc import Mapping
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

import numpy as np
import torch
from torch import Tensor

from limbeck.errors import DataError

SIZE = 16  # bytes of a digest
_LONGEST_PATH = 4096
# What the files of pictures and sounds begin with. Names say nothing: a .jpg may be a web page.
_PICTURES = (
    b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"8BPS", b"qoif",
    b"\0\0\1\0", b"\xff\x0a", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ", b"\0\0\0\x0cJXL ",
)  # fmt: skip
_SOUNDS = (b"fLaC", b"OggS", b"ID3", b".snd", b"caff", b"RF64", b"#!AMR", b"wvpk")
_PICTURE_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1", b"jxl ")


def media_start(head: bytes) -> Literal["image", "audio"] | None:
    """Whether a file that begins with ``head`` (16 bytes do) is a picture or a sound; ``None`` for all else."""
    if head.startswith(_PICTURES) or (head[:2] == b"BM" and head[6:10] == b"\0\0\0\0"):
        return "image"
    if head.startswith(_SOUNDS):
        return "audio"
    if head[:4] in (b"RIFF", b"FORM"):
        form = head[8:12]
        if form == b"WEBP":
            return "image"
        return "audio" if form in (b"WAVE", b"AIFF", b"AIFC") else None
    if head[4:8] == b"ftyp":
        return "image" if head[8:12] in _PICTURE_BRANDS else "audio"
    # a frame of MPEG sound: 11 bits set, a version, layer 2 or 3 (or none: AAC); FF FE is a text in UTF-16
    if (
        len(head) > 1
        and head[0] == 0xFF
        and head[1] & 0xE0 == 0xE0
        and head[1] & 0x18 != 8
        and head[1] & 6 != 6
    ):
        return "audio"
    return None


def named_file(text: str) -> Path | None:
    """The file on this machine that ``text`` names (a path, ``~`` and ``file://`` included), found by looking.

    Blanks around it do not count. A longer text, or one of several lines, names none.
    """
    if len(text) > _LONGEST_PATH:
        return None
    name = text.strip()
    if not name or "\n" in name or "\0" in name:
        return None
    if name.startswith("file://"):
        name = unquote(urlsplit(name).path)
    elif name[0] == "~":
        name = os.path.expanduser(name)
    return Path(name) if os.path.isfile(name) else None  # Path.is_file() fails for a long text


def named_media(text: str) -> Path | None:
    """The file that ``text`` names, if it is or is called a picture or a sound."""
    path = named_file(text)
    return None if path is None or media_kind(path) is None else path


def media_kind(path: Path) -> Literal["image", "audio"] | None:
    """What a file is by its first bytes; where they say nothing, what it is called."""
    if (kind := media_start(head_of(path))) is not None:
        return kind
    return media_suffix(path.name)


def media_suffix(name: str) -> Literal["image", "audio"] | None:
    """What a file is called, by the common table of media types."""
    called = (mimetypes.guess_type(name)[0] or "").partition("/")[0]
    return called if called in ("image", "audio") else None  # type: ignore[return-value]


def head_of(path: Path, n: int = 64) -> bytes:
    """The first bytes of a file; none where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(n)
    except OSError:
        return b""


def content_bytes(value: Any) -> bytes:
    """Bytes that are equal for values that say the same.

    Args:
        value: a text (that of a picture's or sound's path counts as the file), number, tensor, array, PIL image,
            decoded sound, file of a data set (``bytes`` or ``path``), or a list or mapping of such.

    Raises: DataError for a picture that cannot be read.
    """
    if isinstance(value, str):
        # to look for a file costs as much as to hash a text: only where it has a folder or a suffix
        if ("." in value[-10:-1] or "/" in value or "\\" in value) and (
            path := named_media(value)
        ) is not None:
            return path.read_bytes()
        return encode_basestring_ascii(value).encode()
    if isinstance(value, Tensor):
        return tensor_digest(value)
    if isinstance(value, np.ndarray) and value.dtype != object:
        return f"{value.dtype}{value.shape}".encode() + value.tobytes()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, Mapping):
        return _mapping_bytes(value)
    if is_picture(value):
        return picture_bytes(value)
    if is_decoder(value):
        samples = value.get_all_samples()
        return tensor_digest(samples.data) + str(samples.sample_rate).encode()
    if isinstance(value, Path):
        return value.read_bytes() if value.is_file() else repr(value).encode()
    return json.dumps(value, sort_keys=True, default=_stand_in).encode()


def tensor_digest(value: Tensor) -> bytes:
    """Digest of type, shape and content."""
    value = value.detach().cpu().contiguous()
    digest = hashlib.blake2b(f"{value.dtype}{tuple(value.shape)}".encode(), digest_size=SIZE)
    if value.numel():
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.digest()


# ---- pictures and sounds in memory ---------------------------------------------------------------------------


def is_picture(value: Any) -> bool:
    """True for an image of PIL."""
    return type(value).__module__.startswith("PIL.") or any(
        kind.__module__ == "PIL.Image" for kind in type(value).__mro__
    )


def is_decoder(value: Any) -> bool:
    """True for a sound as ``datasets`` decodes it with torchcodec."""
    return hasattr(value, "get_all_samples")


def orientation(image: Any) -> int:
    """How a PIL image lies, 1 (upright) to 8, as its EXIF says; 1 where that cannot be read."""
    try:
        found = image.getexif().get(0x0112, 1)
    except Exception:  # a broken EXIF block raises whatever its parser stumbles over; the picture is good
        return 1
    return found if found in range(1, 9) else 1


def picture_bytes(image: Any) -> bytes:
    """Mode, size and pixels, and where there are some: palette, transparency and orientation."""
    try:
        content = f"{image.mode}{image.size}".encode() + image.tobytes()
        if image.mode in ("P", "PA"):
            content += bytes(image.getpalette("RGBA") or b"")
    except Exception as error:  # PIL reads late, and raises whatever a broken file makes it stumble over
        raise DataError(f"a picture cannot be read ({str(error).rstrip('.')})") from error
    if (clear := image.info.get("transparency")) is not None:
        content += f"transparency {clear!r}".encode()
    if (turned := orientation(image)) != 1:
        content += f"orientation {turned}".encode()
    return content


def _mapping_bytes(value: Mapping[str, Any]) -> bytes:
    """A file of a data set (``bytes`` or ``path``) by its content, wherever it lies; of others every entry."""
    if set(value) == {"bytes", "path"} and value["bytes"] is not None:
        return bytes(value["bytes"])
    if set(value) <= {"bytes", "path"} and value.get("path") and Path(value["path"]).is_file():
        return Path(value["path"]).read_bytes()
    return b"".join(str(name).encode() + content_bytes(value[name]) for name in sorted(value, key=str))


def _stand_in(value: Any) -> str:
    """What stands in JSON for a value that is none: its content, since a picture's ``repr`` holds an address and a
    long array's leaves out its middle."""
    if isinstance(value, (Tensor, np.ndarray, bytes, bytearray, memoryview, Path)) or is_picture(value):
        plain = value.tolist() if isinstance(value, np.ndarray) and value.dtype == object else value
        return hashlib.blake2b(content_bytes(plain), digest_size=SIZE).hexdigest()
    return repr(value)
