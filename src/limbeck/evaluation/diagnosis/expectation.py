"""What a teacher is expected to bring: the smaller of what the pilot gained and of what the link lets through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from limbeck.evaluation.diagnosis.link_information import LinkInformation
from limbeck.evaluation.diagnosis.pilot import Pilot

VerdictName = Literal["helps", "likely helps", "may help", "cannot help", "cannot be told"]
THRESHOLD = 0.02  # the least that is called a gain
LIKELY = 0.04
FLOOR = -0.05  # a pilot exaggerates harm
FEWEST_JUDGES = 50  # below which a pilot's verdict is not spoken
FEWEST_BAGS = 20  # below which a pilot in bags fails


@dataclass(frozen=True)
class Gain:
    """A difference of accuracies and its 95% interval, in [-1, 1]."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Room:
    """What there is to gain, and on how many rows.

    Args:
        alone: accuracy of the student without a teacher, in [0, 1]; chance without labels.
        n_labelled: training rows with a label.    n_new: rows without one that the teacher reaches.
        in_bags: they are reached by bags.    n_bags: how many.
    """

    alone: float
    n_labelled: int
    n_new: int
    in_bags: bool = False
    n_bags: int = 0

    @property
    def headroom(self) -> float:
        return 1 - self.alone

    @property
    def cover(self) -> float:
        """How much of the headroom so many rows can reach, in [0, 1]: 1 - (1 + n_new / n_labelled)^(-1/2)."""
        if not self.n_new:
            return 0.0
        return 1 - (1 + self.n_new / self.n_labelled) ** -0.5 if self.n_labelled else 1.0

    def gain(self, psi: float) -> float:
        """What a link of that information is worth; a bag says more than its one row, as its rows are told apart."""
        return self.headroom * self.cover * (1 - (1 - psi) ** 2 if self.in_bags else psi)


@dataclass(frozen=True)
class Expectation:
    """The expected gain, its two parts, and what it amounts to.

    Args:
        gain: the smaller of both parts, of their lower and of their upper ends; None where neither part can be had.
        high: the most that can be hoped for, also where there is no estimate.
        by_link, by_pilot: the parts; None where one cannot be had, or is not to be trusted.
    """

    verdict: VerdictName
    gain: Gain | None
    high: float
    by_link: Gain | None
    by_pilot: Gain | None


def expectation(
    room: Room, link: LinkInformation | None, pilot: Pilot | None, *, clearest: float = 1.0
) -> Expectation:
    """The rule, in its order: nothing reached, or no upper end of 2 points: *cannot help*; a lower end of 2 points:
    *helps*; an estimate of 4: *likely*; else *may*. A link alone cannot see whether the student's inputs hold the
    class, so it is never more than *likely*.

    Args:
        clearest: psi of the link without any wrong pair or bag, the most that the link can turn out to be.
    """
    if not room.n_new:
        nothing = Gain(0.0, 0.0, 0.0)
        return Expectation("cannot help", nothing, 0.0, nothing, nothing)
    by_link = None if link is None else Gain(*(room.gain(psi) for psi in (link.psi, link.low, link.high)))
    by_pilot = _trusted(pilot, room)
    parts = [part for part in (by_link, by_pilot) if part is not None]
    high = min([room.gain(clearest if by_link is None else 1.0), *(part.high for part in parts)])
    if not parts:
        return Expectation("cannot help" if high < THRESHOLD else "cannot be told", None, high, None, None)
    gain = Gain(min(high, *(part.estimate for part in parts)), min(high, *(part.low for part in parts)), high)
    return Expectation(_verdict(gain, certain=by_pilot is not None), gain, high, by_link, by_pilot)


def _trusted(pilot: Pilot | None, room: Room) -> Gain | None:
    if pilot is None or pilot.n < FEWEST_JUDGES or (room.in_bags and room.n_bags < FEWEST_BAGS):
        return None
    return Gain(*(max(FLOOR, value) for value in (pilot.gain, pilot.low, pilot.high)))


def _verdict(gain: Gain, *, certain: bool) -> VerdictName:
    if gain.high < THRESHOLD:
        return "cannot help"
    if gain.low >= THRESHOLD:
        return "helps" if certain else "likely helps"
    return "likely helps" if gain.estimate >= LIKELY else "may help"
