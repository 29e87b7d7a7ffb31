"""One side of a user's own data as a recipe writes it: where its rows are, and which column is what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from limbeck.errors import ConfigError, UnknownNameError, nearest

MODALITIES = ("image", "audio", "text", "table", "series", "video")
OF_AN_INPUT = ("modality", "input", "size", "channels", "length", "frames", "log_mel", "resample")
WORDS = 32  # of a text that is one of several inputs, unless its length is given
ON_ERROR = ("error", "skip")


@dataclass(frozen=True)
class Side:
    """Settings of the student's or of a teacher's rows.

    Args:
        source: a table (``.csv``, ``.tsv``, ``.jsonl``, ``.parquet``), a folder of files (one sub-folder a class,
            perhaps below ``train``, ``val``, ``test``; or files alone), a folder that ``Dataset.save_to_disk`` wrote,
            ``hf:NAME`` of the hub; in Python also a ``datasets.Dataset`` or a frame of pandas or polars.
        modality: ``image``, ``audio``, ``text``, ``table``, ``series`` or ``video``. None: its rows are keys only, of a
            teacher whose bank holds the rest.
        input: the column of files, pictures or sounds; of the text, or ``{text, text_pair, choices}`` to columns; of a
            table of numbers its columns (default: all that are left).
        inputs: several of them, each of a modality of its own, in place of both: name to ``{modality, input, size,
            ...}``, or to a modality alone (``{title: text, price: table}``), whose column has that name.
        key: column that names a row; default ``key``, else ``id``, else the row's number. Of a folder ``path`` (without
            the suffix, the default) or ``stem`` (the file's name alone).
        label: column of what is to be found, empty where unknown; default ``label``, where there is one. Of a folder
            the sub-folder. False: none.
        group: column of what belongs together (session, product); a group stays in one split. Default ``group``.
        split: column of ``train``, ``validation`` and ``test``. Default ``split``.
        class_names: in the order of their numbers; others are then errors. Default: sorted.
        size, channels: of pictures and videos: height and width; 1 = grey, 3 = colour.
        length: of series, in steps: longer ones are cut at the end, shorter ones repeat their last step. None: all are
            as long as the first.
        frames: of videos: how many are read, spread evenly from the first to the last.
        log_mel: settings of the spectrogram of sounds.    resample: convert sounds of another rate.
        on_error: ``skip`` leaves out rows that cannot be used, and names them in the report.
        in_memory: read pictures, sounds, series and rows once, before the training (True), or when a step asks for them
            (False). Default: once, up to 256 MiB.
    """

    source: Any = None
    modality: str | None = None
    input: Any = None
    inputs: Mapping[str, Any] | None = None
    key: str | None = None
    label: str | bool | None = None
    group: str | None = None
    split: str | None = None
    class_names: Sequence[str] | None = None
    size: Sequence[int] = (28, 28)
    channels: int = 1
    length: int | None = None
    frames: int = 8
    log_mel: Mapping[str, Any] | None = None
    resample: bool = False
    on_error: str = "error"
    in_memory: bool | None = None


def side_of(values: Any, where: str, *, needs_modality: bool) -> Side:
    """A side from plain settings.

    Args:
        where: what they are called in messages, ``student``.

    Raises: ConfigError, UnknownNameError, one sentence with the mend.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(
            f"{where} is a mapping such as {{source: photos/, modality: image}}; it is {values!r}."
        )
    known = [f.name for f in fields(Side)]
    for name in values:
        if name not in known:
            raise UnknownNameError(f"{where} has no setting {name!r}; {nearest(str(name), known)}")
    side = Side(**values)
    if side.inputs is not None:
        side = replace(side, inputs=_inputs(side, where))
        needs_modality = False
    if side.source is None or (isinstance(side.source, str) and not side.source.strip()):
        raise ConfigError(f"{where} needs a source: a table, a folder, or hf:NAME of a data set.")
    if side.modality is None and needs_modality:
        raise ConfigError(f"{where} needs a modality: {', '.join(MODALITIES)}.")
    if side.modality is not None and side.modality not in MODALITIES:
        raise UnknownNameError(
            f"{where} has no modality {side.modality!r}; {nearest(str(side.modality), MODALITIES)}"
        )
    if side.on_error not in ON_ERROR:
        raise ConfigError(f"on_error={side.on_error!r} of {where} is not known; valid ones: error, skip.")
    if side.channels not in (1, 3):
        raise ConfigError(f"channels={side.channels!r} of {where} is not possible: 1 is grey, 3 is colour.")
    _check_size(side.size, where)
    if type(side.frames) is not int or side.frames < 1:
        raise ConfigError(f"frames={side.frames!r} of {where} is no number of pictures; write 8.")
    if side.length is not None and (type(side.length) is not int or side.length < 1):
        raise ConfigError(f"length={side.length!r} of {where} is no number of steps; write 128.")
    return side


def _inputs(side: Side, where: str) -> dict[str, Side]:
    """Each of several inputs as a side of its own.

    Raises: ConfigError, UnknownNameError.
    """
    if side.modality is not None or side.input is not None:
        raise ConfigError(f"{where} has both inputs and modality or input; name all under inputs.")
    if not isinstance(side.inputs, Mapping) or not side.inputs:
        raise ConfigError(
            f"{where}.inputs is a mapping such as {{title: text, price: table}}; it is {side.inputs!r}."
        )
    found = {}
    for name, values in side.inputs.items():
        place = f"{where}.inputs.{name}"
        if not str(name).isidentifier():
            raise ConfigError(f"{place}: an input's name is a word of letters, digits and _; rename it.")
        values = {"modality": values} if isinstance(values, str) else values
        if not isinstance(values, Mapping):
            raise ConfigError(f"{place} is a modality, or {{modality, input, ...}}; it is {values!r}.")
        for setting in values:
            if setting not in OF_AN_INPUT:
                raise UnknownNameError(
                    f"{place} has no setting {setting!r}; {nearest(str(setting), OF_AN_INPUT)}"
                )
        own = {"input": str(name), **values, "source": side.source, "in_memory": side.in_memory}
        found[str(name)] = side_of(own, place, needs_modality=True)
    return found


def _check_size(size: Any, where: str) -> None:
    if (
        not isinstance(size, Sequence)
        or len(size) != 2
        or not all(type(edge) is int and edge > 0 for edge in size)
    ):
        raise ConfigError(f"size={size!r} of {where} is no height and width; write [224, 224].")
