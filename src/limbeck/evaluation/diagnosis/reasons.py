"""Why a teacher will not bring more, the smallest factor first, and what would help."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from limbeck.evaluation.diagnosis.expectation import (
    FEWEST_BAGS,
    FEWEST_JUDGES,
    LIKELY,
    THRESHOLD,
    Expectation,
    Room,
)
from limbeck.evaluation.diagnosis.link_information import LinkInformation
from limbeck.evaluation.diagnosis.pilot import Pilot
from limbeck.evaluation.diagnosis.wrong_links import WrongShare

SMALL_HEADROOM = 0.1
SHORT = 0.15  # of accuracy through the link, below the teacher's own
WEAK = 0.8  # accuracy of a teacher that a better one would beat
SMALL_COVER = 0.6
EVEN = 0.2  # information in bags without any wrong one
ENOUGH_LINKED_LABELS = 20


@dataclass(frozen=True)
class Reason:
    """One thing that holds the gain down.

    Args:
        name: stable, for programs.    sentence: what was seen.    mend: what to do about it.
    """

    name: str
    sentence: str
    mend: str


@dataclass(frozen=True)
class Evidence:
    """What the reasons are read from.

    Args:
        class_names: C names.    room, expectation: what was reckoned.    link, pilot: its parts.
        own: the teacher's accuracy on held-out rows of its own, where it is known.
        through: accuracy of what arrives at the student's rows.    expected: what it would be if all bags were right.
        commonest: share of the linked rows that get the class which most get.    usual: share of the commonest label.
        confidence: mean largest probability of the teacher.
        wrong: how many pairs or bags are somebody else's.    exchanged: (class, class as the teacher calls it).
        clearest: psi of the link without any wrong pair or bag.    n_judges: held-out rows with a label.
        has_predictions: the teacher says classes.    doubling: what the last doubling of the labels brought a probe.
    """

    class_names: tuple[str, ...]
    room: Room
    expectation: Expectation
    link: LinkInformation | None = None
    pilot: Pilot | None = None
    own: float | None = None
    through: float | None = None
    expected: float | None = None
    commonest: float = 0.0
    confidence: float = 1.0
    usual: float = 0.0
    wrong: WrongShare | None = None
    exchanged: list[tuple[int, int]] = field(default_factory=list)
    clearest: float = 1.0
    n_judges: int = 0
    has_predictions: bool = True
    doubling: float | None = None

    @property
    def things(self) -> str:
        return "bags" if self.room.in_bags else "pairs"

    @property
    def falls_short(self) -> bool:
        """What arrives is far less often right than what the teacher says on rows of its own."""
        best = self.expected if self.room.in_bags else self.own
        return self.through is not None and best is not None and best - self.through > SHORT

    @property
    def one_class(self) -> bool:
        """The teacher says one class of far too many rows."""
        return self.commonest > min(0.95, max(2 / len(self.class_names), self.usual) + SHORT)

    @property
    def by_link(self) -> float:
        return 0.0 if self.expectation.by_link is None else self.expectation.by_link.estimate


Rule = Callable[[Evidence], Reason | None]


def reasons(e: Evidence) -> list[Reason]:
    """In the order of their weight; where nothing is linked, that alone."""
    if not e.has_predictions:
        return [
            Reason(
                "no_predictions",
                "The teacher says no classes (no logits, no log-probabilities), so it cannot be told what arrives.",
                "diagnose with a bank that holds them, or compare after training.",
            )
        ]
    if not e.room.n_new:
        return [_nothing_linked(e)]
    return [reason for rule in RULES if (reason := rule(e)) is not None]


def _nothing_linked(e: Evidence) -> Reason:
    return Reason(
        "nothing_linked",
        "No row without a label has a teacher row or bag: the teacher can only say again what the labels say.",
        "pairs or bags for unlabelled rows are needed; more teacher rows are not.",
    )


def _no_headroom(e: Evidence) -> Reason | None:
    if e.room.headroom >= SMALL_HEADROOM:
        return None
    return Reason(
        "no_headroom",
        f"The student is already right in {e.room.alone:.1%}: at most {100 * e.room.headroom:.1f} points are left.",
        "a teacher helps most where labels are few; here a better student or cleaner labels would.",
    )


def _wrong_domain(e: Evidence) -> Reason | None:
    if not e.one_class or not (e.falls_short or e.through is None):
        return None
    own = "" if e.own is None else f" (on rows of its own it is right in {e.own:.0%})"
    return Reason(
        "wrong_domain",
        f"The teacher says one class of {e.commonest:.0%} of the linked rows{own}: it seems to see another kind of "
        "data than it has learned from.",
        "ask it with the preprocessing and the kind of rows it was trained on, or train it on such rows.",
    )


def _wrong_links(e: Evidence) -> Reason | None:
    sure = e.wrong is not None and e.wrong.is_clear(e.room.n_labelled / len(e.class_names), e.confidence)
    if (
        e.link is not None and e.link.noise_low == 0
    ):  # labelled linked rows know better than a judge of few labels
        sure = False
    if e.exchanged or e.one_class or not (sure or e.falls_short):
        return None
    if e.wrong is not None and sure:
        seen = f"About {e.wrong.share:.0%} of the {e.things} (at least {e.wrong.low:.0%}) look like somebody else's."
    elif e.link is not None and e.link.noise > 0:
        seen = (
            f"What arrives is right in {e.through:.0%} of the rows; about {e.link.noise:.0%} of the {e.things} seem to "
            "be wrong."
        )
    else:
        seen = f"What arrives is right in only {e.through:.0%} of the rows."
    return Reason("wrong_links", seen, f"check that both sides of the {e.things} belong together.")


def _exchanged(e: Evidence) -> Reason | None:
    if e.exchanged:
        pairs = [f"{e.class_names[a]} -> {e.class_names[b]}" for a, b in e.exchanged]
        return Reason(
            "exchanged_classes",
            f"The teacher seems to mean other classes by its names ({', '.join(pairs[:4])}"
            f"{f' and {len(pairs) - 4} more' if len(pairs) > 4 else ''}).",
            "check the order of the class names, or give a class_map.",
        )
    harmful = e.pilot is not None and e.expectation.by_pilot is not None and e.pilot.high < 0
    if harmful and e.link is not None and e.link.low > 0.05 and not (e.falls_short and e.one_class):
        return Reason(
            "exchanged_classes",
            "The pilot loses although classes come through the link: the teacher errs in the same way again and again.",
            "check class names and class_map; look at which classes it confuses.",
        )
    return None


def _weak_teacher(e: Evidence) -> Reason | None:
    level = e.own if e.own is not None else None if e.room.in_bags else e.through
    if level is None or e.falls_short or e.exchanged or level >= WEAK:
        return None
    beats = "" if level > e.room.alone else f", the student alone in {e.room.alone:.0%}"
    return Reason(
        "weak_teacher", f"The teacher is right in {level:.0%}{beats}.", "a better teacher would help more."
    )


def _inputs_lack_the_class(e: Evidence) -> Reason | None:
    part = e.expectation.by_pilot
    if part is None or e.exchanged or e.by_link < LIKELY or part.estimate >= max(THRESHOLD, e.by_link / 3):
        return None
    if e.pilot is not None and e.pilot.high < 0:
        return None
    return Reason(
        "inputs_lack_the_class",
        f"The link would be worth {100 * e.by_link:.0f} points, the pilot gains {100 * part.estimate:.0f}: the "
        "student's inputs seem to hold little of what the teacher says.",
        "another student or richer inputs would help; another teacher would not.",
    )


def _few_linked(e: Evidence) -> Reason | None:
    if e.room.cover >= SMALL_COVER:
        return None
    return Reason(
        "few_linked_rows",
        f"Only {e.room.n_new} rows are linked beside {e.room.n_labelled} labelled ones: they reach "
        f"{e.room.cover:.0%} of what is to be gained.",
        f"more {e.things} would help.",
    )


def _even_bags(e: Evidence) -> Reason | None:
    if not e.room.in_bags or e.clearest >= EVEN:
        return None
    return Reason(
        "even_bags",
        f"The bags are mixed too evenly: even if all are right they say {e.clearest:.0%} of the class.",
        "smaller bags, or bags whose mixes differ.",
    )


def _few_bags(e: Evidence) -> Reason | None:
    if not e.room.in_bags or e.room.n_bags >= FEWEST_BAGS:
        return None
    return Reason(
        "few_bags",
        f"There are only {e.room.n_bags} bags, too few for a pilot: what is expected stands on the link alone.",
        f"at least {FEWEST_BAGS} bags.",
    )


def _few_judges(e: Evidence) -> Reason | None:
    if e.expectation.by_pilot is not None or (e.room.in_bags and e.room.n_bags < FEWEST_BAGS):
        return None
    return Reason(
        "few_judges",
        f"Only {e.n_judges} labelled rows are held out, so the pilot's word is not taken.",
        f"hold out at least {FEWEST_JUDGES} labelled rows for validation; 200 are good.",
    )


def _few_linked_labels(e: Evidence) -> Reason | None:
    n = 0 if e.link is None else e.link.n
    if n >= ENOUGH_LINKED_LABELS:
        return None
    return Reason(
        "few_linked_labels",
        f"Of {n or 'no'} linked rows is the class known, so little can be said of the link itself.",
        "label 50 rows that have a pair or lie in a bag.",
    )


RULES: tuple[Rule, ...] = (
    _no_headroom,
    _exchanged,
    _wrong_domain,
    _wrong_links,
    _weak_teacher,
    _inputs_lack_the_class,
    _even_bags,
    _few_bags,
    _few_linked,
    _few_judges,
    _few_linked_labels,
)


def helps_more(e: Evidence) -> dict[str, float]:
    """What one change would be worth at most, in accuracy beside what is expected now, largest first: twice the
    ``labels``, ``pairs`` in place of bags, more linked rows, a perfect teacher over a right link. Nothing that concerns
    the link where the pilot is the limit."""
    gains = _better_links(e)
    if e.doubling is not None and e.doubling >= LIKELY:  # less is the judges' own noise
        gains["twice the labels"] = min(e.doubling, e.room.headroom)
    return dict(sorted(((w, g) for w, g in gains.items() if g > THRESHOLD), key=lambda item: -item[1]))


def _better_links(e: Evidence) -> dict[str, float]:
    part, pilot, room = e.expectation.by_link, e.expectation.by_pilot, e.room
    if e.link is None or part is None or (pilot and pilot.estimate < part.estimate / 2):
        return {}
    things = "bags" if room.in_bags else "pairs"
    clearest = max(e.clearest, e.link.psi) if room.in_bags else 1.0
    better = {
        f"many times the {room.n_new} linked rows": Room(room.alone, 0, 1, room.in_bags).gain(e.link.psi),
        f"a perfect teacher and {things} that are all right": room.gain(clearest),
    }
    if room.in_bags:
        better["pairs in place of bags"] = Room(room.alone, room.n_labelled, room.n_new).gain(1.0)
    return {what: value - part.estimate for what, value in better.items()}
