"""Raw values of a column: which kind they are, and from files and bytes to images and waves."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from limbeck.data.files.audio import resampled
from limbeck.errors import ConfigError, DataError


def kind_of(name: str, values: Sequence[Any], able: Collection[str]) -> str:
    """``text``, ``image`` or ``audio``: what a column holds.

    Args:
        able: kinds that the teacher reads; decides what files (mappings with ``bytes`` or ``path``) are.

    Raises: DataError for values of no such kind, or of several kinds.
    """
    found = {_kind(value, able) for value in values}
    if len(found) == 1 and None not in found:
        return str(found.pop())
    kinds = [_kind(value, able) for value in values]
    odd = values[
        kinds.index(None) if None in kinds else next(i for i, k in enumerate(kinds) if k != kinds[0])
    ]
    raise DataError(
        f"The column {name!r} holds {type(odd).__name__}; a teacher reads tensors, texts, PIL images, sounds "
        "(arrays, or mappings with 'array' and 'sampling_rate'), or files of the data set (mappings with "
        "'bytes' or 'path'), one kind in a column."
    )


def _kind(value: Any, able: Collection[str]) -> str | None:
    if isinstance(value, str):
        return "text"
    if type(value).__module__.startswith("PIL."):
        return "image"
    if isinstance(value, Mapping):
        if "array" in value:
            return "audio"
        if "bytes" in value or "path" in value:
            return "image" if "image" in able and "audio" not in able else "audio"
        return None
    return "audio" if isinstance(value, (list, np.ndarray, Tensor)) else None


def to_image(name: str, value: Any) -> Any:
    """An RGB image of PIL; files are read."""
    if isinstance(value, Mapping):
        try:
            from PIL import Image, UnidentifiedImageError
        except ImportError as error:
            raise ConfigError(
                "Reading images needs Pillow; install it with: pip install 'limbeck[vision]'."
            ) from error
        try:
            value = Image.open(_file(value))
        except (OSError, UnidentifiedImageError) as error:
            raise DataError(f"An image of the column {name!r} cannot be read ({error}).") from error
    return value.convert("RGB")


def to_wave(name: str, value: Any, *, own_rate: int | None, wanted: int, resample: bool) -> np.ndarray:
    """Samples ``[n]`` float32 at ``wanted`` Hz; files are read by soundfile, their channels averaged.

    Args:
        own_rate: of arrays that do not carry their rate.
        resample: convert a sound of another rate (polyphase filter) instead of refusing it.

    Raises: DataError for a rate that is unknown or wrong, and for a sound of no samples or several channels.
    """
    rate: int | None
    if isinstance(value, Mapping) and "array" not in value:
        wave, rate = _read_sound(name, value)
    elif isinstance(value, Mapping):
        wave, rate = np.asarray(value["array"], dtype=np.float32), value.get("sampling_rate")
    else:
        wave, rate = np.asarray(value, dtype=np.float32), own_rate
    if wave.ndim != 1:
        raise DataError(
            f"A sound of the column {name!r} is an array of shape {list(wave.shape)}; give one channel, [samples]."
        )
    if rate == wanted:
        return wave
    if rate is None or not resample:
        raise DataError(
            f"The sounds in column {name!r} have a rate of {rate or 'unknown'} Hz and the teacher "
            f"reads {wanted} Hz; pass resample=True, and sampling_rate={rate or wanted} for plain arrays."
        )
    return resampled(wave, rate, wanted).astype(np.float32)


def _file(value: Mapping[str, Any]) -> Any:
    return io.BytesIO(value["bytes"]) if value.get("bytes") is not None else str(value["path"])


def _read_sound(name: str, value: Mapping[str, Any]) -> tuple[np.ndarray, int]:
    try:
        import soundfile
    except ImportError as error:
        raise ConfigError(
            "Reading audio needs soundfile; install it with: pip install 'limbeck[audio]'."
        ) from error
    try:
        samples, rate = soundfile.read(_file(value), dtype="float32", always_2d=True)
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"The file {value.get('path') or ''} of the column {name!r} cannot be read as audio ({error})."
        ) from error
    return samples.mean(axis=1), rate
