from __future__ import annotations

import xml.etree.ElementTree as ET

from limbeck.evaluation.diagnosis import Diagnosis, Expectation, Gain, Room
from limbeck.reporting.diagnosis_picture import diagnosis_svg


def diagnosis(gain: Gain | None, verdict: str = "helps", task: str = "digits") -> Diagnosis:
    expectation = Expectation(verdict, gain, 0.4, None if gain is None else Gain(0.3, 0.2, 0.4), gain)  # type: ignore[arg-type]
    return Diagnosis(
        task=task, teacher="teacher", link="paired", method="kd", expectation=expectation, room=Room(0.6, 20, 100),
        alone_from="as given", information=None, pilot=None, wrong_links=None, reasons=[],
    )  # fmt: skip


def test_points_and_intervals_lie_at_their_values() -> None:
    root = ET.fromstring(diagnosis_svg(diagnosis(Gain(0.2, 0.1, 0.3))))
    space = "{http://www.w3.org/2000/svg}"
    circles = [float(c.attrib["cx"]) for c in root.iter(f"{space}circle")]
    bars = [
        (float(b.attrib["x1"]), float(b.attrib["x2"]))
        for b in root.iter(f"{space}line")
        if b.get("class") == "bar"
    ]
    assert len(circles) == len(bars) == 3
    expected, link, pilot = circles
    assert expected == pilot < link
    low, high = bars[0]
    assert low < expected < high
    assert abs((expected - low) - (high - expected)) < 0.2


def test_what_cannot_be_told_and_names_that_are_markup() -> None:
    text = diagnosis_svg(diagnosis(None, "cannot be told", task="<script>alert(1)</script>"))
    assert text.count("cannot be told") >= 3
    assert "<script>" not in text
    ET.fromstring(text)
