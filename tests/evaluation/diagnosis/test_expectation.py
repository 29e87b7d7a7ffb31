from __future__ import annotations

import pytest

from limbeck.evaluation.diagnosis.expectation import Room, expectation
from limbeck.evaluation.diagnosis.link_information import LinkInformation
from limbeck.evaluation.diagnosis.pilot import Pilot


def link(psi: float, low: float, high: float) -> LinkInformation:
    return LinkInformation(psi, low, high, 0.0, 0.0, 0.0, 1.0, 0.9, 50)


def pilot(gain: float, low: float, high: float, n: int = 200) -> Pilot:
    return Pilot(gain, low, high, 0.8, 0.8 - gain, n)


ROOM = Room(alone=0.5, n_labelled=10, n_new=990)  # cover 0.9


def test_cover_and_the_worth_of_a_link() -> None:
    assert ROOM.cover == pytest.approx(0.9)
    assert ROOM.gain(0.5) == pytest.approx(0.5 * 0.9 * 0.5)
    bags = Room(0.5, 10, 990, in_bags=True, n_bags=50)
    assert bags.gain(0.5) == pytest.approx(0.5 * 0.9 * 0.75)
    assert Room(0.1, 0, 100).cover == 1
    assert Room(0.1, 10, 0).cover == 0


@pytest.mark.parametrize(
    ("by_link", "by_pilot", "verdict"),
    [
        ((0.5, 0.4, 0.6), (0.3, 0.2, 0.4), "helps"),
        ((0.5, 0.4, 0.6), None, "likely helps"),  # a link cannot see whether the inputs hold the class
        ((0.5, 0.01, 0.6), (0.3, 0.2, 0.4), "likely helps"),
        ((0.05, 0.01, 0.1), (0.3, 0.2, 0.4), "may help"),
        ((0.5, 0.4, 0.6), (0.03, -0.02, 0.08), "may help"),
        ((0.01, 0.0, 0.03), (0.3, 0.2, 0.4), "cannot help"),
        ((0.5, 0.4, 0.6), (-0.2, -0.3, 0.0), "cannot help"),
        (None, (0.3, 0.2, 0.4), "helps"),
        (None, None, "cannot be told"),
    ],
)
def test_the_rule_in_its_order(by_link, by_pilot, verdict) -> None:
    parts = by_link and link(*by_link), by_pilot and pilot(*by_pilot)
    assert expectation(ROOM, *parts).verdict == verdict


def test_the_smaller_of_estimates_of_lower_and_of_upper_ends() -> None:
    found = expectation(ROOM, link(0.5, 0.1, 0.9), pilot(0.3, 0.2, 0.35)).gain
    assert found is not None
    assert (found.estimate, found.low, found.high) == pytest.approx((0.225, 0.045, 0.35))


def test_a_pilot_of_few_judges_or_bags_is_not_heard_and_harm_has_a_floor() -> None:
    assert expectation(ROOM, None, pilot(0.3, 0.2, 0.4, n=49)).verdict == "cannot be told"
    bags = Room(0.5, 10, 152, in_bags=True, n_bags=19)
    assert expectation(bags, link(0.5, 0.4, 0.6), pilot(-0.3, -0.4, -0.2)).verdict == "likely helps"
    harm = expectation(ROOM, None, pilot(-0.3, -0.4, -0.2)).gain
    assert harm is not None
    assert harm.estimate == -0.05


def test_without_an_estimate_the_most_there_is_to_gain_still_decides() -> None:
    assert expectation(Room(0.99, 10, 990), None, None).verdict == "cannot help"
    assert expectation(ROOM, None, None, clearest=0.01).verdict == "cannot help"
    assert expectation(ROOM, None, None).high == pytest.approx(0.45)


def test_nothing_reached_cannot_help() -> None:
    found = expectation(Room(0.5, 10, 0), None, None)
    assert (found.verdict, found.high) == ("cannot help", 0.0)
