"""Raw values of a column for a model of one's own: which kind they are, and from each row to an image or a wave."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

import numpy as np

from limbeck.data.files.audio import resampled
from limbeck.data.files.media import is_called_like_media, is_link, kind_of_value, to_picture, to_samples
from limbeck.errors import DataError, UnreadableRowsError
from limbeck.signals.content import media_kind, named_file, named_media

Read = TypeVar("Read")


def kind_of(name: str, values: Sequence[Any], able: Collection[str], *, are_paths: bool = False) -> str:
    """``text``, ``image`` or ``audio``: what a column holds.

    A column of texts most of which name pictures or sounds on this machine holds those, for a teacher that reads such.

    Args:
        able: kinds that the teacher reads; decides what files are whose bytes do not say it.
        are_paths: texts are paths of what the teacher reads.

    Raises: UnreadableRowsError for rows of no such kind, or of another kind than most.
    """
    kinds = _kinds(values, able, are_paths)
    usual = Counter(kind for kind in kinds if kind is not None).most_common(1)
    odd = [i for i, kind in enumerate(kinds) if not usual or kind != usual[0][0]]
    if not odd:
        return str(usual[0][0])
    raise UnreadableRowsError(
        f"The column {name!r} holds {type(values[odd[0]]).__name__}; a teacher reads tensors, texts, PIL images, "
        "sounds (arrays, or mappings with 'array' and 'sampling_rate'), or files of the data set (mappings with "
        "'bytes' or 'path', or paths), one kind in a column.",
        odd,
    )


def is_path(text: str) -> bool:
    """Whether a text names a file, or is written like the path or address of a picture or sound."""
    return is_called_like_media(text) or is_link(text) or named_file(text) is not None


def _kinds(values: Sequence[Any], able: Collection[str], are_paths: bool) -> list[str | None]:
    """The kind of each row, ``None`` for what is none."""
    of_file = "image" if "image" in able and "audio" not in able else "audio"
    kinds: list[str | None] = [kind_of_value(value) for value in values]
    texts = [i for i, kind in enumerate(kinds) if kind == "text"]
    if texts and set(able) - {"text"}:
        named = {i: path for i in texts if (path := named_media(values[i])) is not None}
        if are_paths or 2 * len(named) > len(values):
            kinds = ["file" if kind == "text" else kind for kind in kinds]
        for i, path in named.items():
            if kinds[i] == "file":
                kinds[i] = media_kind(path)
    is_array = [hasattr(value, "shape") or isinstance(value, (list, tuple)) for value in values]
    return [
        of_file if kind == "file" or (kind == "audio" and array and "audio" not in able) else kind
        for kind, array in zip(kinds, is_array)
    ]


def each(name: str, what: str, values: Sequence[Any], read: Callable[[str, Any], Read]) -> list[Read]:
    """``read(name, value)`` of every row of the column ``name``.

    Raises: UnreadableRowsError with all rows that raise DataError, and the reason of the first.
    """
    found: list[Read] = []
    bad: dict[int, DataError] = {}
    for row, value in enumerate(values):
        try:
            found.append(read(name, value))
        except DataError as error:
            bad[row] = error
    if bad:
        raise UnreadableRowsError(
            f"{len(bad)} of {len(values)} {what}s in the column {name!r} cannot be read: {next(iter(bad.values()))}",
            list(bad),
        )
    return found


def to_image(name: str, value: Any) -> Any:
    """An RGB image of PIL, as people see it (see :func:`~limbeck.data.files.pictures.as_seen`); files are read.

    Raises: DataError for what is no picture or cannot be read.
    """
    return to_picture(value, f"a value of the column {name!r}").convert("RGB")


def to_sound(name: str, value: Any) -> tuple[np.ndarray, int | None]:
    """Samples ``[n]`` float32 and their rate, ``None`` where they carry none; files are read. Raises: DataError."""
    return to_samples(value, f"a value of the column {name!r}")


def to_waves(
    name: str, values: Sequence[Any], *, own_rate: int | None, wanted: int, resample: bool
) -> list[np.ndarray]:
    """Each sound as samples ``[n]`` float32 at ``wanted`` Hz; files are read, channels averaged.

    Args:
        own_rate: of arrays that do not carry their rate.
        resample: convert a sound of another rate (polyphase filter) instead of refusing it.

    Raises: UnreadableRowsError for sounds that cannot be read, or whose rate is unknown or wrong.
    """
    read = each(name, "sound", values, to_sound)
    rates = [own_rate if found is None else found for _, found in read]
    if wrong := [i for i, rate in enumerate(rates) if rate != wanted and (rate is None or not resample)]:
        rate = rates[wrong[0]]
        raise UnreadableRowsError(
            f"The sounds in column {name!r} have a rate of {rate or 'unknown'} Hz and the teacher "
            f"reads {wanted} Hz; pass resample=True, and sampling_rate={rate or wanted} for plain arrays.",
            wrong,
        )
    waves = zip((wave for wave, _ in read), rates)
    return [
        wave if rate in (wanted, None) or not len(wave) else resampled(wave, rate, wanted).astype(np.float32)
        for wave, rate in waves
    ]
