"""The one way from a picture to pixels: upright, its first frame, 8 bit grey or RGB, on white where it is clear.

Students, teachers of transformers and servers are all shown what comes out of :func:`as_seen`.
"""

from __future__ import annotations

import io
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.data.files.contents import first_bytes, what_it_is
from limbeck.errors import ConfigError, DataError
from limbeck.signals.content import orientation

MOST_PIXELS = 100_000_000  # as floats 0.4 GB; a file of a few bytes may claim any number
# What the values of a grey picture that is not 8 bit may go up to. One that does not say (mode I, F) has the least of
# these ranges that holds all of its values.
_RANGES: dict[str, tuple[int, ...]] = {"I": (255, 2**16 - 1, 2**31 - 1), "F": (1, 255, 2**16 - 1)}
_OF_A_FORMAT = {"PNG": 2**16 - 1, "PPM": 2**16 - 1}  # mode I of these files
_FILTERS = threading.Lock()  # the filters of warnings are the process's, and pictures are opened in threads
_LEAST_OF_A_RANGE = 1 / 256  # brightest value below this: black, so the range is not meant


def too_large(width: int, height: int) -> str:
    """The end of the sentence for a picture of more than :data:`MOST_PIXELS`."""
    return f"{width:,} x {height:,} pixels, and more than {MOST_PIXELS:,} are not read; make it smaller."


def open_picture(source: bytes | Path, where: str, *, only_check: bool = False) -> Any:
    """The PIL image of a file, read whole: its first frame.

    Args:
        only_check: a JPEG may come back at an eighth of its size, which is read several times faster.

    Raises: DataError naming ``where`` it is from, for what is missing, empty, cut short, no picture, or of more than
        :data:`MOST_PIXELS`, which its head tells before memory is taken. ConfigError without Pillow.
    """
    pillow = pil()
    head, _ = first_bytes(source, where)
    try:
        file = io.BytesIO(source if isinstance(source, bytes) else source.read_bytes())
        with _FILTERS, warnings.catch_warnings():
            # of Pillow's own limit, which lies below this one; not what other threads say meanwhile
            warnings.filterwarnings("ignore", module=r"PIL\.")
            image = pillow.open(file)
        if image.width * image.height > MOST_PIXELS:
            raise DataError(f"{where} has {too_large(image.width, image.height)}")
        if only_check and image.format in ("JPEG", "MPO"):
            image.draft(None, (1, 1))
        image.load()
    except DataError:
        raise
    except Exception as error:  # the readers of some forty formats raise whatever they stumble over
        reason = what_it_is(head) or _reason(error)
        raise DataError(
            f"{where} cannot be read as a picture ({reason}); remove it or replace it."
        ) from error
    return image


def as_seen(image: Any, where: str = "A picture") -> Any:
    """A PIL image as people see it: ``L`` if it is grey, else ``RGB``.

    Turned upright by its EXIF; clear parts laid on white; a palette looked up; 16 bit, 32 bit and float values scaled
    from their range to 0 to 255 (``I;16``: 65535; ``I`` and ``F``: the least of 255, 65535 and 2^31 - 1, for floats
    also 1, that holds all values, unless the file's format says); CMYK, YCbCr, HSV and LAB converted.

    Raises: DataError for values without a range (negative, not finite), and for a picture that cannot be read.
    """
    try:
        image.load()
        if 0 in image.size:
            raise DataError(f"{where} has no pixels; leave it out.")
        turn = orientation(image)
        if image.mode.startswith("I") or image.mode == "F":
            image = _eight_bit(image, where)
        flat = _flat(image)
        return flat if turn == 1 else flat.transpose(_turns()[turn])
    except DataError:
        raise
    except Exception as error:  # of an image that was opened and not read yet
        raise DataError(
            f"{where} cannot be read as a picture ({_reason(error)}); remove it or replace it."
        ) from error


def is_plain(image: Any) -> bool:
    """Whether a picture is its own :func:`as_seen`: one frame of 8 bit, upright, nothing clear."""
    try:
        moves = getattr(image, "is_animated", False) and image.format != "MPO"  # whose first frame is a JPEG
    except Exception:  # a broken later frame
        moves = True
    return (
        image.mode in ("L", "RGB", "1", "P")
        and not (moves or image.has_transparency_data)
        and orientation(image) == 1
    )


def picture_of_array(value: Any, where: str = "A picture") -> Any:
    """Pixels as a PIL image, grey or RGB.

    Args:
        value: ``[3, H, W]``, ``[1, H, W]``, ``[4, H, W]`` (with alpha), ``[H, W, 1 | 3 | 4]`` or ``[H, W]``; uint8,
            uint16, truth values, or floats from 0 to 1.

    Raises: DataError for another shape, type or range.
    """
    given = as_numpy(value)
    pixels = _channels_last(given)
    if pixels is None or not pixels.size:
        raise DataError(
            f"An array of shape {list(given.shape)} is no picture; give [3, H, W], [H, W, 3] or "
            "[H, W], and a sound as {'array': samples, 'sampling_rate': Hz}."
        )
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * 255
    elif pixels.dtype == np.uint16:
        pixels = _scaled(pixels, 2**16 - 1)
    elif pixels.dtype.kind == "f":
        low, high = float(pixels.min()), float(pixels.max())
        if not (low >= 0 and high <= 1):  # NaN too
            raise DataError(
                f"{where}'s values go from {low:.3g} to {high:.3g}; give uint8, or floats from 0 to 1 (undo "
                "the normalisation)."
            )
        pixels = _scaled(pixels, 1)
    if pixels.dtype != np.uint8:
        raise DataError(
            f"{where} of {pixels.dtype} has no known range; give uint8, uint16, or floats from 0 to 1."
        )
    return as_seen(pil().fromarray(np.ascontiguousarray(pixels)), where)


def as_numpy(value: Any) -> np.ndarray:
    """An array, or a tensor on any device, as a numpy array."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float() if str(value.dtype) == "torch.bfloat16" else value
    return np.asarray(value)


def pil() -> Any:
    """PIL's Image; ConfigError without Pillow."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ConfigError("Pictures need Pillow; install it with: pip install 'limbeck[vision]'.") from error
    return Image


def _reason(error: Exception) -> str:
    if type(error).__name__ == "UnidentifiedImageError":
        return "its format is not known"
    text = str(error).partition("\n")[0].rstrip(".")
    return text[:1].lower() + text[1:] if text else type(error).__name__


def _eight_bit(image: Any, where: str) -> Any:
    """A grey picture of 16 or 32 bit, or of floats, as ``L``."""
    values = np.asarray(image)
    if image.mode.startswith("I;16"):
        return pil().fromarray(_scaled(values, 2**16 - 1))
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    ranges = _RANGES[image.mode]
    if image.mode == "I" and (top := _OF_A_FORMAT.get(image.format or "")) is not None and high <= top:
        ranges = (top,)
    fits = [top for top in ranges if high <= top]  # none for NaN
    if not (low >= 0 and fits) or (fits[0] == ranges[-1] > 2**16 and high < fits[0] * _LEAST_OF_A_RANGE):
        raise DataError(
            f"{where} of mode {image.mode} has values from {low:.6g} to {high:.6g}, which is no range of a picture; "
            "scale them to 0 to 255, 0 to 65535, or floats of 0 to 1."
        )
    return pil().fromarray(_scaled(values, fits[0]))


def _scaled(values: np.ndarray, top: float) -> np.ndarray:
    """0 to ``top`` as 0 to 255, uint8."""
    return np.round(values * (255 / top)).astype(np.uint8)


def _flat(image: Any) -> Any:
    """``L`` or ``RGB``, clear parts on white."""
    is_grey = image.mode in ("1", "L", "LA", "La")
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image
    if image.has_transparency_data:
        if image.mode in ("La", "RGBa"):  # colours times alpha
            image = image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
        clear = image.convert("RGBA")
        image = pil().alpha_composite(pil().new("RGBA", clear.size, "white"), clear)
    return image.convert("L" if is_grey else "RGB")


def _turns() -> dict[int, Any]:
    """From how a picture lies (EXIF) to what turns it upright."""
    turn = pil().Transpose
    return {
        2: turn.FLIP_LEFT_RIGHT,
        3: turn.ROTATE_180,
        4: turn.FLIP_TOP_BOTTOM,
        5: turn.TRANSPOSE,
        6: turn.ROTATE_270,
        7: turn.TRANSVERSE,
        8: turn.ROTATE_90,
    }


def _channels_last(pixels: np.ndarray) -> np.ndarray | None:
    """``[H, W]`` or ``[H, W, 3 | 4]``; ``None`` for what has no channels of a picture."""
    if pixels.ndim == 3 and (
        pixels.shape[0] in (1, 3) or (pixels.shape[0] == 4 and pixels.shape[-1] not in (1, 3, 4))
    ):
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    fits = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[-1] in (3, 4))
    return pixels if fits else None
