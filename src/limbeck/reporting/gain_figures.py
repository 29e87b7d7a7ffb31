"""Figures of a comparison: gains beside their controls, confidence against truth, and what is confused with what."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from limbeck.evaluation.statistics import Gain, Verdict
from limbeck.problems.metric import Metric
from limbeck.reporting.figures import BASELINE_COLOUR, arm_colours

if TYPE_CHECKING:
    import numpy as np
    from plotly.graph_objects import Figure

ROW = 34  # pixels of a line of the forest
MOST_NAMED = 40  # classes that a picture of classes can name
BINS = 10


class Line(NamedTuple):
    """One line of the forest."""

    name: str
    gain: Gain
    colour: str
    own: bool


def forest_figure(verdicts: Sequence[Verdict], metric: Metric, shared: Mapping[str, Gain] = {}) -> Figure:
    """Gains over the student without a teacher, an arm's controls below it: the mean, the interval over seeds (thick)
    and the interval over test items (thin).

    Args:
        shared: controls of the student without a teacher.
    """
    from plotly import graph_objects as go

    colours = arm_colours([v.arm for v in verdicts])
    lines = [Line(name, gain, BASELINE_COLOUR, False) for name, gain in shared.items()]
    for verdict in verdicts:
        if verdict.gain is None:
            continue
        lines.append(Line(verdict.arm, verdict.gain, colours[verdict.arm], True))
        lines += [
            Line(f"{verdict.arm}, {control}", gain, colours[verdict.arm], False)
            for control, gain in verdict.control_gain.items()
            if control not in shared
        ]
    figure = go.Figure()
    for place, line in enumerate(lines):
        _add_line(figure, place, line, metric)
    figure.add_vline(x=0, line={"width": 1.5, "color": BASELINE_COLOUR, "dash": "dot"})
    unit = "points" if metric.unit else str(metric)
    figure.update_layout(
        showlegend=False,
        height=90 + ROW * len(lines),
        xaxis={"title": {"text": f"gain ({unit})"}, "range": _padded(lines, metric), "fixedrange": True},
        yaxis={
            "tickvals": list(range(len(lines))),
            "ticktext": [html.escape(_cut(line.name.replace("_", " "))) for line in lines],
            "range": [len(lines) - 0.4, -0.6],
            "fixedrange": True,
            "showgrid": False,
            "zeroline": False,
        },
    )
    return figure


def _padded(lines: Sequence[Line], metric: Metric) -> list[float]:
    """Everything with its intervals, 0 among it, and some room on both sides."""
    ends = [0.0]
    for line in lines:
        seeds = line.gain.seeds
        found = (seeds.mean, seeds.low, seeds.high, *(line.gain.items or ()))
        ends += [metric.scale * value for value in found if value is not None]
    room = 0.05 * (max(ends) - min(ends)) or 1.0
    return [min(ends) - room, max(ends) + room]


def _add_line(figure: Figure, place: int, line: Line, metric: Metric) -> None:
    from plotly import graph_objects as go

    seeds, items = line.gain.seeds, line.gain.items
    told = f"{html.escape(line.name)}: {metric.points(seeds.mean, seeds.low, seeds.high)}"
    for interval, width, dy in ((items, 1.5, 0.14), ((seeds.low, seeds.high), 5, 0.0)):
        if interval is None or interval[0] is None:
            continue
        figure.add_trace(
            go.Scatter(
                x=[metric.scale * value for value in interval if value is not None],
                y=[place + dy] * 2,
                mode="lines",
                line={"color": line.colour, "width": width},
                opacity=0.9 if line.own else 0.5,
                hoverinfo="skip",
            )
        )
    figure.add_trace(
        go.Scatter(
            x=[metric.scale * seeds.mean],
            y=[place],
            mode="markers",
            marker={
                "size": 11 if line.own else 9,
                "color": line.colour,
                "symbol": "circle" if line.own else "circle-open",
                "line": {"width": 2},
            },
            text=[told],
            hovertemplate="%{text}<extra></extra>",
        )
    )


def reliability_figure(shown: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """How often an arm was right against how sure it was, in ten bins; on the dotted line both agree.

    Args:
        shown: arm to confidences ``[k]`` and whether each was right ``[k]``, all seeds together.
    """
    import numpy as np
    from plotly import graph_objects as go

    colours = arm_colours(list(shown))
    figure = go.Figure(
        go.Scatter(
            x=[0, 100],
            y=[0, 100],
            mode="lines",
            line={"color": BASELINE_COLOUR, "dash": "dot", "width": 1.5},
            hoverinfo="skip",
            showlegend=False,
        )
    )
    for arm, (sure, right) in shown.items():
        bins = np.clip((sure * BINS).astype(int), 0, BINS - 1)
        counts = np.bincount(bins, minlength=BINS)
        known = np.flatnonzero(counts)
        mean = [
            np.bincount(bins, v, minlength=BINS)[known] / counts[known] for v in (sure, right.astype(float))
        ]
        figure.add_trace(
            go.Scatter(
                x=(100 * mean[0]).round(2).tolist(),
                y=(100 * mean[1]).round(2).tolist(),
                mode="lines+markers",
                name=html.escape(_cut(arm)),
                line={"color": colours[arm], "width": 2},
                marker={"size": (5 + 15 * np.sqrt(counts[known] / counts.sum())).round(1).tolist()},
                text=[f"{html.escape(arm)}: {n} answers" for n in counts[known]],
                hovertemplate="%{text}, sure %{x:.0f}%, right %{y:.0f}%<extra></extra>",
            )
        )
    figure.update_layout(
        height=430,
        xaxis={"title": {"text": "how sure (%)"}, "range": [0, 102], "fixedrange": True},
        yaxis={"title": {"text": "how often right (%)"}, "range": [0, 102], "fixedrange": True},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    )
    return figure


def classes_figure(
    values: np.ndarray, rows: Sequence[str], columns: Sequence[str], *, signed: bool
) -> Figure:
    """A square of classes by classes.

    Args:
        values: ``[C, D]`` in per cent or points.    rows, columns: names.
        signed: blue above 0 and red below; else from the card's colour to blue.
    """
    from plotly import graph_objects as go

    largest = float(abs(values).max()) or 1.0
    low = [[0, "#d9480f"], [0.5, "rgba(128,128,128,0.10)"], [1, "#1c7ed6"]]
    scale = low if signed else [[0, "rgba(128,128,128,0.06)"], [1, "#1c7ed6"]]
    named = max(values.shape) <= MOST_NAMED
    figure = go.Figure(
        go.Heatmap(
            z=values.round(2).tolist(),
            x=[html.escape(_cut(name, 12)) for name in columns] if named else None,
            y=[html.escape(_cut(name, 12)) for name in rows] if named else None,
            zmin=-largest if signed else 0,
            zmax=largest,
            colorscale=scale,
            colorbar={"thickness": 12, "outlinewidth": 0},
            hovertemplate="%{y} → %{x}: %{z:.1f}<extra></extra>",
        )
    )
    figure.update_layout(
        height=520,
        meta={"square": True},
        xaxis={"type": "category", "fixedrange": True, "showgrid": False, "side": "bottom"},
        yaxis={"type": "category", "fixedrange": True, "showgrid": False, "autorange": "reversed"},
    )
    return figure


def _cut(name: Any, length: int = 26) -> str:
    text = str(name)
    return text if len(text) <= length else text[: length - 1] + "…"
