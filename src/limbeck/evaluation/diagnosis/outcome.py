"""What a diagnosis found, as a sentence and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from limbeck.evaluation.diagnosis.expectation import Expectation, Gain, Room
from limbeck.evaluation.diagnosis.link_information import LinkInformation
from limbeck.evaluation.diagnosis.pilot import Pilot
from limbeck.evaluation.diagnosis.reasons import Reason
from limbeck.evaluation.diagnosis.signal_facts import FeatureFacts, PredictionFacts
from limbeck.evaluation.diagnosis.wrong_links import WrongShare
from limbeck.evaluation.error_bound import Bound
from limbeck.files import write_whole

FILE = "diagnosis.json"
VERSION = 1


@dataclass(frozen=True)
class Diagnosis:
    """Whether a teacher can help, before any training with it.

    Args:
        task, teacher, link: what was diagnosed, by name.    method: of the recipe.
        expectation: the expected gain, its parts and the verdict.    room: what there is to gain.
        alone_from: where the accuracy without a teacher comes from.
        information: of the link.    pilot: the distillation by ridge regression.    None = could not be had.
        wrong_links: how many pairs or bags look like somebody else's.
        reasons: what holds the gain down, the weightiest first.
        helps_more: a change to what it would be worth at most, in shares, beside what is expected.
        warnings: leaks, collapse, and what else a user should know.
        facts: numbers that decide nothing, by name.    bound: of UCMKD, where it is defined; it decides nothing.
        features: side to facts of its features.    predictions: facts of the teacher's.
        seconds: wall time.
    """

    task: str
    teacher: str
    link: str
    method: str
    expectation: Expectation
    room: Room
    alone_from: str
    information: LinkInformation | None
    pilot: Pilot | None
    wrong_links: WrongShare | None
    reasons: list[Reason]
    helps_more: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    facts: dict[str, float] = field(default_factory=dict)
    bound: Bound | None = None
    features: dict[str, FeatureFacts] = field(default_factory=dict)
    predictions: PredictionFacts | None = None
    seconds: float = 0.0

    @property
    def verdict(self) -> str:
        """``helps``, ``likely helps``, ``may help``, ``cannot help`` or ``cannot be told``."""
        return self.expectation.verdict

    @property
    def gain(self) -> Gain | None:
        """The expected gain in accuracy; None where it cannot be told."""
        return self.expectation.gain

    @property
    def sentence(self) -> str:
        """The verdict with its figures, and the weightiest reason."""
        gain, alone = self.expectation.gain, f"{100 * self.room.alone:.1f}%"
        why = f" {self.reasons[0].sentence}" if self.reasons else ""
        if self.verdict == "cannot be told":
            most = 100 * self.expectation.high
            return f"It cannot be told whether the teacher helps; at most {most:.0f} points are to be gained.{why}"
        if self.verdict == "cannot help" or gain is None:
            return f"The teacher cannot help: less than 2 points are expected over the student alone ({alone}).{why}"
        size = f"about {points(gain.estimate)} points over the student alone ({alone}), {interval(gain)}"
        return f"The teacher {self.verdict}: {size}." + (why if self.verdict == "may help" else "")

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; keys as the fields, with ``verdict`` and ``sentence``; gains and accuracies as shares."""
        room = asdict(self.room) | {"headroom": self.room.headroom, "cover": self.room.cover}
        fields_ = asdict(self) | {"room": room}
        return {"version": VERSION, "verdict": self.verdict, "sentence": self.sentence, **fields_}

    def save(self, folder: str | Path) -> Path:
        """Write ``diagnosis.json`` into a folder; returns its path."""
        path = Path(folder) / FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(self.to_dict(), indent=1))
        return path


def points(share: float) -> str:
    """A difference of accuracies in points, signed, without a sign for what rounds to 0."""
    return "0" if abs(share) < 0.005 else f"{100 * share:+.0f}"


def interval(gain: Gain) -> str:
    """The interval in points."""
    return f"95% interval {points(gain.low)} to {points(gain.high)}"
