"""What a method sees of one micro-batch.

Axis legend: n student rows, m teacher rows, d student width, D teacher width, C outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.errors import ConfigError, UnknownNameError, nearest
from limbeck.problems.base import Bare, Problem, Shown, Targets
from limbeck.problems.smoothing import smoothed
from limbeck.signals.teacher_rows import TeacherRows
from limbeck.students.changes.visible import Visible
from limbeck.students.output import StudentOutput


@dataclass
class PeerRows:
    """What a peer shows of some of the student's rows.

    Args:
        out: its outputs.    index: ``[n]`` row of ``out`` that belongs to each student row, -1 = none.
    """

    out: StudentOutput
    index: Tensor


@dataclass
class StepBatch:
    """Inputs, targets, and what student, teachers and peers say of ``n`` rows.

    Labelled rows are seen under the weak view, unlabelled ones under the strong view. Any of them may be empty: one
    labelled row alone, no labelled row, no pair, no bag.

    Args:
        inputs: of the student, argument name to ``[n, ...]``.
        targets: what is to be found, known for the labelled rows.    problem: what that means.
        teachers: name to that teacher's rows.
        peers: name to what that peer shows.
        student: the student's outputs; of a method that says ``student="asked"`` none.
        run: the student on other inputs.    module: its bare module.
        ask: a live teacher or a peer, by name, on other inputs; a gradient reaches the inputs.
        states: the layers that the method declared, of ``student`` or of a live teacher by name, on other inputs and,
            if given, of their visible patches alone; the network is run no further than the last of them.
        progress: share of the training done, 0 to 1.
        generator: keyed by seed, step and micro-batch.
    """

    inputs: dict[str, Tensor]
    targets: Targets
    problem: Problem
    teachers: Mapping[str, TeacherRows] = field(default_factory=dict)
    peers: Mapping[str, PeerRows] = field(default_factory=dict)
    student: StudentOutput = None  # type: ignore[assignment]  # set when it has run
    run: Callable[[dict[str, Tensor]], StudentOutput] = None  # type: ignore[assignment]
    ask: Callable[[str, dict[str, Tensor]], Any] = None  # type: ignore[assignment]
    states: Callable[[str, dict[str, Tensor], Visible | None], dict[str, Tensor]] = None  # type: ignore[assignment]
    module: nn.Module | None = None
    progress: float = 0.0
    generator: torch.Generator | None = None

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def teacher(self) -> TeacherRows:
        """The rows of the only teacher."""
        if len(self.teachers) != 1:
            raise ConfigError(
                f"The method speaks of one teacher, and this batch has {len(self.teachers)}: name one in b.teachers."
            )
        return next(iter(self.teachers.values()))

    @property
    def labelled(self) -> Tensor:
        """``[n]`` bool, rows of which it is known what is to be found."""
        return self.targets.known

    @property
    def classes(self) -> Tensor:
        """``[n]`` int64 class numbers, -100 = unknown; ConfigError for a problem whose rows have no one class."""
        classes = self.problem.classes(self.targets)
        if classes is None:
            raise ConfigError(f"The rows of a {self.problem.kind} have no one class each.")
        return classes

    def peer(self, name: str, rows: Tensor | None = None) -> StudentOutput:
        """What a peer shows of the student's ``rows`` (numbers or a mask); default: of all n.

        Raises: UnknownNameError; ConfigError for rows that this peer was not shown.
        """
        if name not in self.peers:
            raise UnknownNameError(f"There is no peer {name!r}; {nearest(name, self.peers)}")
        peer = self.peers[name]
        index = peer.index if rows is None else peer.index[rows]
        if bool((index < 0).any()):
            raise ConfigError(
                f"The peer {name!r} was not shown all of these rows; ask for unlabelled rows alone."
            )
        return peer.out.rows(index)

    def label_loss(
        self,
        out: Shown | Tensor | None = None,
        rows: Tensor | None = None,
        *,
        label_smoothing: float = 0.0,
    ) -> Tensor:
        """The problem's loss: a sum over the known units; zero, with a gradient path, where there is none.

        Args:
            out: anything with logits, or logits; default: the student's.
            rows: the rows that ``out`` is about (numbers or a mask); default: all n.
            label_smoothing: in [0, 1); ConfigError above 0 for a problem without classes.
        """
        shown: Any = self.student if out is None else Bare(out) if isinstance(out, Tensor) else out
        targets = self.targets if rows is None else self.targets.rows(rows)
        return smoothed(self.problem, label_smoothing).loss(shown, targets)
