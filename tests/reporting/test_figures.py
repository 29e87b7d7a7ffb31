"""The figures show every arm, control and seed, and colour them alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from limbeck.evaluation import Row
from limbeck.reporting.figures import COLOURS, arm_colours, bars_figure, curves_figure, map_figure

Rows = Callable[..., list[Row]]


def contrast(a: str, b: str) -> float:
    """WCAG contrast ratio of two colours."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def test_colours_are_legible_in_light_and_dark() -> None:
    assert all(contrast(colour, card) >= 3 for colour in COLOURS for card in ("#ffffff", "#1c1f25"))


def test_bars(comparison: Rows) -> None:
    figure = bars_figure(comparison())
    bars = [trace for trace in figure.data if trace.type == "bar"]
    dots = [trace for trace in figure.data if trace.type == "scatter"]
    assert len(bars) == len(dots) == 7
    assert all(len(trace.x) == 5 for trace in dots)
    assert all(bar.error_x.array[0] > 0 for bar in bars)
    assert list(figure.layout.yaxis.ticktext) == ["supervised", "ucmkd", "paired", "bagged"]
    places = [bar.y[0] for bar in bars]
    assert places == sorted(set(places))


def test_one_run_has_no_interval(comparison: Rows) -> None:
    bars = [trace for trace in bars_figure(comparison(1)).data if trace.type == "bar"]
    assert not any(bar.error_x.visible for bar in bars)


def test_curves(curves: list[dict[str, Any]]) -> None:
    figure = curves_figure(curves, arms=["supervised", "ucmkd", "paired"])
    lines = {(trace.name, trace.line.dash): trace for trace in figure.data if trace.name}
    paired = lines["paired", "solid"]
    assert list(paired.x) == [0, 120, 240]
    assert paired.y[-1] == 100 * (0.1 + 240 / 500 + 0.005)
    assert paired.line.color == arm_colours(["supervised", "ucmkd", "paired"])["paired"]
    assert ("paired, shuffled", "dot") in lines
    assert sum(trace.fill == "toself" for trace in figure.data) == 2


def test_map_escapes_and_colours_many_classes() -> None:
    labels = [f"<b>{i}</b>" for i in range(14)]
    embedding = {"x": [[i, -i] for i in range(28)], "label": labels * 2, "modality": ["t"] * 14 + ["s"] * 14}
    figure = map_figure(embedding)
    shown = [trace for trace in figure.data if trace.text]
    assert len(shown) == 2
    assert len(set(shown[0].marker.color)) == 14
    assert all("<b>" not in text for trace in shown for text in trace.text)
    assert len(figure.layout.annotations) == 14
