"""Several inputs of a row, each of a modality of its own: a title, a price and a photo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from limbeck.data.base import Inputs, Picked, Table, View, take_rows
from limbeck.data.files.table_files import Chunk
from limbeck.data.files.views import audio_views, image_views, series_views, vector_views, video_views
from limbeck.data.files.words import hashed_words
from limbeck.data.own.inputs import Bad, Reading
from limbeck.signals.cells import text_of

SEVERAL = "several"
VIEWS = {
    "image": image_views,
    "log_mel": audio_views,
    "table": vector_views,
    "series": series_views,
    "video": video_views,
}


class Words:
    """A column of texts as hashed words ``x [N, length]``; a row with an empty one is bad."""

    def __init__(self, column: str, length: int) -> None:
        self.column, self.columns, self._length = column, [column], length
        self._rows: list[Tensor] = []

    def take(self, chunk: Chunk) -> tuple[list[Any], Bad]:
        values: list[Any] = [text_of(cell).strip() for cell in chunk.values(self.columns[0])]
        bad = {
            row: f"has nothing in column {self.columns[0]!r}" for row, text in enumerate(values) if not text
        }
        return values, bad

    def keep(self, values: Sequence[Any], places: Sequence[int]) -> None:
        self._rows += [hashed_words(text, self._length) for text in values]

    def finish(self) -> tuple[Mapping[str, Any] | Table, dict[str, Any], Bad]:
        rows = torch.stack(self._rows) if self._rows else torch.zeros(0, self._length, dtype=torch.int64)
        return {"x": rows}, {"kind": "words", "length": self._length}, {}


class Several:
    """Readings by the name of their input; a row of which one is bad is bad."""

    def __init__(self, parts: Mapping[str, Reading]) -> None:
        self.parts, self._n = dict(parts), 0

    @property
    def columns(self) -> list[str]:
        return list(dict.fromkeys(name for part in self.parts.values() for name in part.columns))

    def take(self, chunk: Chunk) -> tuple[list[Any], Bad]:
        taken = [part.take(chunk) for part in self.parts.values()]
        bad: Bad = {}
        for _, wrong in taken:
            bad = {**wrong, **bad}
        return list(zip(*(values for values, _ in taken), strict=True)), bad

    def keep(self, values: Sequence[Any], places: Sequence[int]) -> None:
        self._n += len(values)
        for part, own in zip(self.parts.values(), zip(*values, strict=True), strict=True):
            part.keep(own, places)

    def finish(self) -> tuple[Mapping[str, Any] | Table, dict[str, Any], Bad]:
        found = {name: part.finish() for name, part in self.parts.items()}
        bad: Bad = {}
        for _, _, wrong in found.values():
            bad = {**wrong, **bad}
        columns = {name: _without(inputs, wrong, bad, self._n) for name, (inputs, _, wrong) in found.items()}
        settings = {
            "kind": SEVERAL,
            "inputs": {name: self._told(name, made) for name, (_, made, _) in found.items()},
        }
        if any(not isinstance(inputs, Mapping) for inputs in columns.values()):
            return Joined(columns), settings, bad
        return (
            {name: inputs["x"] for name, inputs in columns.items() if isinstance(inputs, Mapping)},
            settings,
            bad,
        )

    def _told(self, name: str, made: Mapping[str, Any]) -> dict[str, Any]:
        """The settings of one input, with the column of files or texts that it is read from."""
        column = getattr(self.parts[name], "column", None)
        return {**made, **({} if column is None else {"column": column})}


def _without(inputs: Mapping[str, Any] | Table, own: Bad, bad: Bad, n: int) -> Mapping[str, Any] | Table:
    """The n rows of one input without those that are bad in another; its own bad ones are gone already."""
    if len(own) == len(bad):
        return inputs
    left = [row for row in range(n) if row not in own]
    index = torch.tensor([place for place, row in enumerate(left) if row not in bad])
    if isinstance(inputs, Mapping):
        return {name: take_rows(value, index) for name, value in inputs.items()}
    return Picked(inputs, index)


@dataclass(frozen=True)
class Joined:
    """Inputs of which some are read when they are asked for."""

    parts: Mapping[str, Mapping[str, Any] | Table]

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.parts)

    def rows(self, index: Tensor) -> Inputs:
        return {
            name: take_rows(part["x"], index) if isinstance(part, Mapping) else part.rows(index)["x"]
            for name, part in self.parts.items()
        }


@dataclass(frozen=True)
class SeveralView:
    """A view of each input that has one; the others stay as they are."""

    views: Mapping[str, View]

    def __call__(self, inputs: Inputs, generators: Sequence[torch.Generator]) -> Inputs:
        return {
            name: self.views[name]({name: x}, generators)[name] if name in self.views else x
            for name, x in inputs.items()
        }


def several_views(settings: Mapping[str, Any]) -> dict[str, View]:
    """``weak`` and ``strong`` of inputs that were read by ``settings``."""
    made = {name: VIEWS[part["kind"]]() for name, part in settings["inputs"].items() if part["kind"] in VIEWS}
    return {
        view: SeveralView({name: views[view] for name, views in made.items()}) for view in ("weak", "strong")
    }
