"""The figures of the report, as plotly figures without fixed text or grid colours (the page sets those)."""

from __future__ import annotations

import html
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from limbeck.evaluation.estimates import estimate
from limbeck.evaluation.results import NO_CONTROL, Row
from limbeck.evaluation.statistics import BASELINE, arms_of, controls_of, values_by_seed
from limbeck.problems.metric import Metric, metric_named

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

# Each has a contrast of at least 3 to 1 with the white and with the near-black card of the page.
COLOURS = (
    "#4c72d9",
    "#d9720b",
    "#2f9e44",
    "#d6409f",
    "#9a5bd6",
    "#0b98a3",
    "#e5484d",
    "#a5714f",
    "#6f7d8f",
    "#968300",
)
BASELINE_COLOUR = "#7f858f"
MARKERS = ("circle", "diamond-open", "x-thin-open", "square-open", "triangle-up-open")
BAR_HEIGHT = 0.36


def arm_colours(arms: Sequence[str]) -> dict[str, str]:
    """Arm to colour: grey for the baseline, the palette for the others, the same in every figure."""
    taught = [arm for arm in arms if arm != BASELINE]
    return {**dict.fromkeys(arms, BASELINE_COLOUR), **{arm: _colour(i) for i, arm in enumerate(taught)}}


def bars_figure(rows: Sequence[Row], *, split: str = "test", metric: str | Metric = "accuracy") -> Figure:
    """A bar per arm beside its controls: mean, 95% interval and one dot per seed."""
    from plotly import graph_objects as go

    metric = metric_named(metric)
    rows = [row for row in rows if row.split == split and row.metric == metric.name]
    arms = arms_of(rows)
    colours = arm_colours(arms)
    figure = go.Figure()
    place, ticks = 0.0, {}
    for arm in arms:
        bars = [c for c in (NO_CONTROL, *controls_of(rows, arm)) if _values(rows, arm, c)]
        ticks[arm] = place + (len(bars) - 1) * BAR_HEIGHT / 2
        for control in bars:
            values = _values(rows, arm, control)
            _add_bar(figure, place, values, arm, control, colours[arm], metric)
            place += BAR_HEIGHT
        place += BAR_HEIGHT / 2
    base = _values(rows, BASELINE, NO_CONTROL)
    if base:
        figure.add_vline(
            x=metric.scale * estimate(base).mean, line={"dash": "dot", "width": 1.5, "color": BASELINE_COLOUR}
        )
    figure.update_layout(
        barmode="overlay",
        showlegend=False,
        height=int(90 + 75 * place / BAR_HEIGHT / 2),
        xaxis={
            "title": {"text": _titled(metric)},
            "range": _range((row.value for row in rows), metric),
            "fixedrange": True,
        },
        yaxis={
            "tickvals": list(ticks.values()),
            "ticktext": [html.escape(_short(arm)) for arm in ticks],
            "range": [place - BAR_HEIGHT / 2, -BAR_HEIGHT],
            "fixedrange": True,
            "showgrid": False,
            "zeroline": False,
        },
    )
    return figure


def _digits(metric: Metric) -> str:
    return ".1f" if metric.unit else ".3f"


def _titled(metric: Metric) -> str:
    return f"{metric} ({metric.unit})" if metric.unit else str(metric)


def _range(values: Iterable[float], metric: Metric) -> list[float] | None:
    """Of an axis in percent: 0 to 100, and down to the lowest of correlations below 0; None = as the values lie."""
    return [min(0.0, math.floor(100 * min(values, default=0.0))), 100] if metric.unit else None


def curves_figure(
    curves: Sequence[Mapping[str, Any]], *, arms: Sequence[str] = (), metric: str | Metric = "accuracy"
) -> Figure:
    """The score on validation over steps: mean over seeds, a band from the lowest to the highest seed.

    Args:
        curves: mappings with ``arm, control, seed, step, value`` (a share, or a correlation).
        arms: order of the arms, for colours that match the other figures.
    """
    from plotly import graph_objects as go

    metric = metric_named(metric)
    by_line: dict[tuple[str, str], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for point in curves:
        by_line[point["arm"], point["control"]][point["step"]].append(metric.scale * point["value"])
    order = list(dict.fromkeys((*arms, *(arm for arm, _ in by_line))))
    colours = arm_colours(order)
    figure = go.Figure()
    for arm, control in sorted(by_line, key=lambda line: (order.index(line[0]), line[1] != NO_CONTROL)):
        by_step = by_line[arm, control]
        steps = sorted(by_step)
        means = [math.fsum(by_step[s]) / len(by_step[s]) for s in steps]
        own = control == NO_CONTROL
        if own and any(len(v) > 1 for v in by_step.values()):
            figure.add_trace(_band(steps, by_step, arm, colours[arm]))
        name = _short(arm) if own else f"{_short(arm)}, {control}"
        figure.add_trace(
            go.Scatter(
                x=steps,
                y=means,
                mode="lines",
                name=html.escape(name),
                legendgroup=html.escape(arm),
                showlegend=own,
                line={"color": colours[arm], "width": 2.5 if own else 1.5, "dash": "solid" if own else "dot"},
                hovertemplate=f"step %{{x}}: %{{y:{_digits(metric)}}}{metric.unit}",
            )
        )
    figure.update_layout(
        height=430,
        hovermode="closest",
        xaxis={"title": {"text": "training step"}, "fixedrange": True, "rangemode": "tozero"},
        yaxis={
            "title": {"text": f"validation: {_titled(metric)}"},
            "range": _range((p["value"] for p in curves), metric),
            "fixedrange": True,
        },
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    )
    return figure


def map_figure(embedding: Mapping[str, Any]) -> Figure:
    """A map of features: colour and a written name for the class, marker for the modality.

    Args:
        embedding: ``x`` (``[k][2]``), ``label`` (k), ``modality`` (k) and, to place the names of the classes,
            ``corners`` (class to ``[2]``), as from ``feature_map``.
    """
    from plotly import graph_objects as go

    points = list(zip(embedding["x"], map(str, embedding["label"]), map(str, embedding["modality"])))
    labels = sorted({label for _, label, _ in points}, key=lambda name: (len(name), name))
    colours = {label: _colour(i) for i, label in enumerate(labels)}
    modalities = list(dict.fromkeys(modality for _, _, modality in points))
    figure = go.Figure()
    for number, modality in enumerate(modalities):
        own = [(x, label) for x, label, m in points if m == modality]
        figure.add_trace(
            go.Scatter(
                x=[float(x[0]) for x, _ in own],
                y=[float(x[1]) for x, _ in own],
                mode="markers",
                legendgroup=html.escape(modality),
                showlegend=False,
                text=[html.escape(f"{label}, {modality}") for _, label in own],
                hovertemplate="%{text}<extra></extra>",
                marker={
                    "color": [colours[label] for _, label in own],
                    "symbol": MARKERS[number % len(MARKERS)],
                    "size": 6 if number == 0 else 7,
                    "opacity": 0.55 if number == 0 else 0.9,
                    "line": {"width": 0 if number == 0 else 1.4},
                },
            )
        )
        figure.add_trace(_legend_entry(modality, MARKERS[number % len(MARKERS)]))
    corners = embedding.get("corners") or {
        label: _middle([x for x, own, m in points if own == label and m == modalities[0]]) for label in labels
    }
    for label, corner in corners.items():
        _name_class(figure, str(label), corner)
    figure.update_layout(
        height=640,
        meta={"square": True},
        xaxis={"visible": False, "fixedrange": True},
        yaxis={"visible": False, "scaleanchor": "x", "fixedrange": True},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    )
    return figure


def _add_bar(
    figure: Figure,
    place: float,
    values: Mapping[int, float],
    arm: str,
    control: str,
    colour: str,
    metric: Metric,
) -> None:
    """One horizontal bar with its interval and its seeds; a control is hatched and says what it is."""
    from plotly import graph_objects as go

    found, own = estimate(values), control == NO_CONTROL
    half = 0.0 if found.high is None else metric.scale * (found.high - found.mean)
    name = html.escape(arm if own else f"{arm}, {control} control")
    marker: dict[str, Any] = {"color": colour, "opacity": 0.85}
    if not own:
        marker = {"color": "rgba(0,0,0,0)", "line": {"color": colour, "width": 1.2}}
        marker["pattern"] = {
            "shape": "/",
            "fgcolor": colour,
            "bgcolor": "rgba(0,0,0,0)",
            "size": 7,
            "solidity": 0.18,
        }
    error = {"type": "data", "array": [half], "thickness": 1.6, "width": 5, "visible": half > 0}
    figure.add_trace(
        go.Bar(
            x=[metric.scale * found.mean],
            y=[place],
            width=BAR_HEIGHT * 0.86,
            orientation="h",
            marker=marker,
            error_x=error,
            hovertemplate=f"{name}: %{{x:{_digits(metric)}}}{metric.unit}<extra></extra>",
        )
    )
    figure.add_trace(
        go.Scatter(
            x=[metric.scale * v for v in values.values()],
            y=[place + BAR_HEIGHT * 0.16 * (i % 3 - 1) for i in range(len(values))],
            mode="markers",
            marker={"size": 6, "color": "#ffffff", "line": {"width": 1.3, "color": "#30343b"}},
            text=[f"{name}, seed {seed}" for seed in values],
            hovertemplate=f"%{{text}}: %{{x:{_digits(metric)}}}{metric.unit}<extra></extra>",
        )
    )


def _band(steps: Sequence[int], by_step: Mapping[int, Sequence[float]], arm: str, colour: str) -> Any:
    from plotly import graph_objects as go

    low, high = [min(by_step[s]) for s in steps], [max(by_step[s]) for s in steps]
    return go.Scatter(
        x=[*steps, *reversed(steps)],
        y=[*high, *reversed(low)],
        fill="toself",
        fillcolor=_translucent(colour, 0.16),
        line={"width": 0},
        hoverinfo="skip",
        showlegend=False,
        legendgroup=html.escape(arm),
    )


def _legend_entry(modality: str, symbol: str) -> Any:
    """A legend entry without a class colour, since colour says the class and not the modality."""
    from plotly import graph_objects as go

    return go.Scatter(
        x=[None],
        y=[None],
        mode="markers",
        name=html.escape(modality),
        legendgroup=html.escape(modality),
        marker={"color": BASELINE_COLOUR, "symbol": symbol, "size": 9, "line": {"width": 1.6}},
    )


def _middle(points: Sequence[Sequence[float]]) -> tuple[float, float]:
    n = max(len(points), 1)
    return math.fsum(p[0] for p in points) / n, math.fsum(p[1] for p in points) / n


def _name_class(figure: Figure, label: str, corner: Sequence[float]) -> None:
    """The class's name, pushed outward from where its points lie."""
    length = max(math.hypot(*corner), 1e-9)
    figure.add_annotation(
        x=corner[0],
        y=corner[1],
        text=f"<b>{html.escape(_short(label))}</b>",
        showarrow=False,
        xshift=20 * corner[0] / length,
        yshift=16 * corner[1] / length,
        font={"size": 14},
    )


def _values(rows: Sequence[Row], arm: str, control: str) -> dict[int, float]:
    return values_by_seed(rows, arm, control, split=rows[0].split, metric=rows[0].metric)


def _short(name: str, length: int = 22) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"


def _colour(index: int) -> str:
    """Colours of the palette, then hues a golden angle apart."""
    if index < len(COLOURS):
        return COLOURS[index]
    return f"hsl({(index * 137.508) % 360:.0f},55%,55%)"


def _translucent(colour: str, alpha: float) -> str:
    if colour.startswith("hsl("):
        return f"hsla({colour[4:-1]},{alpha})"
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"
