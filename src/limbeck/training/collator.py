"""From draws to a batch: student rows under their views, the teachers' rows that go with them, and unit counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from limbeck.data.base import Examples, Inputs, View
from limbeck.problems.base import Targets
from limbeck.seeding import keyed_generator
from limbeck.signals.key import Key
from limbeck.signals.links.base import Draw, Link, Source
from limbeck.signals.output import SIGNALS, TeacherOutput
from limbeck.signals.ragged import packed, unpacked
from limbeck.signals.teacher_rows import TeacherRows, places


@dataclass(frozen=True)
class LinkedTeacher:
    """One teacher as the collator finds its rows.

    Args:
        source: a bank, or the samples that a live teacher is asked about.    link: to the student's rows.
        signals: signals that the method reads; others stay on disk. None = all.
        sees_student: a live teacher that is asked about the student's own view of every row; then nothing is found.
    """

    source: Source
    link: Link
    signals: Sequence[str] | None = None
    sees_student: bool = False


class DistillationCollator:
    """Collates draws into what :class:`limbeck.training.Distiller` takes.

    Args:
        examples: the student's training rows.
        teachers: name to where its rows are; none = no teacher rows.
        views: ``weak`` and ``strong``; a missing one leaves the inputs as they are. Labelled rows are seen
            weakly, unlabelled rows strongly.
        needs_weak: also make the weak view of the unlabelled rows, for an average of the student.
        seed: of the views and of the links' own draws.
    """

    def __init__(
        self,
        examples: Examples,
        teachers: Mapping[str, LinkedTeacher] | None = None,
        *,
        views: Mapping[str, View],
        needs_weak: bool = False,
        seed: int,
    ) -> None:
        self.examples, self.teachers = examples, dict(teachers or {})
        self.views, self.needs_weak, self.seed = views, needs_weak, seed

    @property
    def problem(self) -> Any:
        return self.examples.problem

    def __call__(self, draws: Sequence[Any]) -> dict[str, Any]:
        if draws and not isinstance(draws[0], Draw):
            return _stack(draws)
        index = torch.tensor([draw.row for draw in draws], dtype=torch.long)
        labelled = torch.tensor([draw.stream == "labelled" for draw in draws], dtype=torch.bool)
        targets = self.examples.targets.rows(index).forgotten(~labelled)
        keys = [self.examples.keys[i] for i in index.tolist()]
        raw, targets = trimmed(self.examples.rows(index), targets)
        batch: dict[str, Any] = {
            "inputs": self._student_views(raw, draws, keys, labelled),
            "targets": targets.tensors(),
            "keys": keys,
            "step": draws[0].step if draws else 0,
            "slot": draws[0].slot if draws else 0,
        }
        if self.needs_weak:
            rows = torch.nonzero(~labelled).squeeze(1)
            batch["weak_inputs"] = self._view("weak", _take(raw, rows), rows, draws, keys, "ema")
            batch["weak_index"] = places(len(draws), rows)
        teachers = {
            name: self._rows_of(teacher, draws, keys, targets) for name, teacher in self.teachers.items()
        }
        batch["teachers"] = {name: _tensors(rows) for name, rows in teachers.items()}
        batch["counts"] = self._counts(batch, targets, teachers)
        return batch

    # ---- views ----------------------------------------------------------------------------------------------

    def _student_views(
        self, raw: Inputs, draws: Sequence[Draw], keys: Sequence[Key], labelled: Tensor
    ) -> Inputs:
        weak_rows, strong_rows = torch.nonzero(labelled).squeeze(1), torch.nonzero(~labelled).squeeze(1)
        weak = self._view("weak", _take(raw, weak_rows), weak_rows, draws, keys, "student")
        strong = self._view("strong", _take(raw, strong_rows), strong_rows, draws, keys, "student")
        order = torch.argsort(torch.cat([weak_rows, strong_rows]))
        return {name: torch.cat([weak[name], strong[name]])[order] for name in raw}

    def _view(
        self, name: str, inputs: Inputs, rows: Tensor, draws: Sequence[Draw], keys: Sequence[Key], use: str
    ) -> Inputs:
        view = self.views.get(name)
        if view is None or not len(rows):
            return inputs
        # The slot is in the key because a labelled row may be drawn twice in one step.
        generators = [
            keyed_generator(self.seed, draws[i].step, draws[i].slot, keys[i], name, use)
            for i in rows.tolist()
        ]
        return view(inputs, generators)

    # ---- teachers' rows, and what is counted ----------------------------------------------------------------

    def _rows_of(
        self, teacher: LinkedTeacher, draws: Sequence[Draw], keys: Sequence[Key], targets: Targets
    ) -> TeacherRows:
        if teacher.sees_student:
            return TeacherRows.of(TeacherOutput(inputs={}), pair_index=torch.arange(len(draws)), n=len(draws))
        classes = self.problem.classes(targets)
        return teacher.link.rows(
            teacher.source, keys, classes, draws, seed=self.seed, signals=teacher.signals
        )

    def _counts(
        self, batch: Mapping[str, Any], targets: Targets, teachers: Mapping[str, TeacherRows]
    ) -> dict[str, int]:
        """How many of each unit this micro-batch holds; known before any backward pass."""
        n, mask = len(targets), batch["inputs"].get("attention_mask")
        paired = torch.zeros(n, dtype=torch.bool)
        counts = {"labelled": self.problem.count(targets), "row": n, "batch": 1}
        for name, rows in teachers.items():
            paired |= rows.is_paired
            counts[f"pair:{name}"] = int(rows.is_paired.sum())
        counts["pair"] = int(paired.sum())
        counts["match"] = int(self.problem.matched(targets)[paired].sum())
        counts["bag"] = sum(len(rows.group_s[rows.group_s >= 0].unique()) for rows in teachers.values())
        counts["position"] = int(mask.sum()) if mask is not None else self.problem.positions(targets)
        return counts


def _take(inputs: Inputs, rows: Tensor) -> Inputs:
    return {name: value[rows] for name, value in inputs.items()}


def without_padding(inputs: Inputs) -> Inputs:
    """Token inputs ``[n, ..., L]`` without the positions that are padding in every row; others as they are."""
    span = _shown_span(inputs)
    if span is None:
        return inputs
    shape = inputs["attention_mask"].shape
    return {name: value[..., span] if value.shape == shape else value for name, value in inputs.items()}


def trimmed(inputs: Inputs, targets: Targets) -> tuple[Inputs, Targets]:
    """The same of inputs and of targets that have a value for each of their positions."""
    span = _shown_span(inputs)
    if span is not None and targets.values.shape == inputs["attention_mask"].shape:
        targets = replace(targets, values=targets.values[..., span])
    return without_padding(inputs), targets


def _shown_span(inputs: Inputs) -> slice | None:
    """The positions from the first to the last that any row shows; None where that is all of them."""
    mask = inputs.get("attention_mask")
    if mask is None or not len(mask):
        return None
    shown = torch.nonzero(mask.flatten(0, -2).any(dim=0)).squeeze(1)
    if not len(shown) or len(shown) == mask.shape[-1]:
        return None
    return slice(int(shown[0]), int(shown[-1]) + 1)


def _stack(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Evaluation rows ``{"inputs": {name: tensor}, "targets": {name: tensor}}`` as one batch."""

    def stacked(part: str) -> dict[str, Tensor]:
        return {name: torch.stack([item[part][name] for item in items]) for name in items[0][part]}

    inputs, targets = trimmed(stacked("inputs"), Targets.of(stacked("targets")))
    return {"inputs": inputs, "targets": targets.tensors()}


def _tensors(rows: TeacherRows) -> dict[str, Any]:
    """A teacher's rows as nested tensors, which the Trainer can move to a device."""
    said = {
        n: packed(v)
        for n in (*SIGNALS, "labels", "head", "form", "inputs")
        if (v := getattr(rows.said, n)) is not None
    }
    return {"said": said, "pair_index": rows.pair_index, "group_s": rows.group_s, "group_t": rows.group_t}


def teacher_rows(batch: Mapping[str, Any]) -> dict[str, TeacherRows]:
    """The inverse: name to that teacher's rows, from a collated batch."""
    return {
        name: TeacherRows(**{**rows, "said": TeacherOutput(**unpacked(rows["said"]))})
        for name, rows in batch.get("teachers", {}).items()
    }
