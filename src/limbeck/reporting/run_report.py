"""The report of one run: its own result, how it learned, and what it finds of each class."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck.evaluation.results import NO_CONTROL, Row
from limbeck.reporting.figures import COLOURS, curves_figure
from limbeck.reporting.gain_figures import classes_figure
from limbeck.reporting.report import (
    aside,
    details,
    figure_block,
    main_metric,
    section,
    splits_of,
    write_page,
)
from limbeck.reporting.sections import metrics_table, recipe_text, setup, stage_table
from limbeck.reporting.table import split_name

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MOST_CLASSES = 40  # in the table; a confusion of more is a picture of nothing
ONE_RUN = (
    "One run, without anything to compare it with: it does not tell whether the teacher helped. “limbeck compare” with "
    "the same recipe trains the same student without a teacher, and with a broken one."
)
CURVE_NOTE = "The score on the validation split."
TERMS_NOTE = "Each term of the loss, unweighted, a mean since the log before; on a logarithmic axis."
SHARES_NOTE = "Each term's share of the gradient at the student's outputs. A term near 0 teaches nothing."
CONFUSION_NOTE = "Per cent of each true class (down) by the class that was found (across)."


def is_one_run(rows: Sequence[Row]) -> bool:
    """Whether the rows are those of a single run."""
    return len({(row.arm, row.control, row.seed) for row in rows}) == 1


def write_run_report(
    folder: str | Path,
    *,
    title: str,
    rows: Sequence[Row],
    curve: Sequence[Mapping[str, Any]] = (),
    log: Sequence[Mapping[str, float]] = (),
    info: Mapping[str, Any] | None = None,
) -> Path:
    """Write ``report.html``; returns its path.

    Args:
        rows: results of the run.    curve: mappings with ``arm, control, seed, step, value`` of the validation score.
        log: entries of ``log.jsonl``: ``step``, ``term/NAME``, ``gradient_share/NAME``.
        info: as of :func:`~limbeck.reporting.report.write_report`; ``confusion``: ``{split, names, counts}``.

    Raises: DataError without rows.
    """
    info = dict(info or {})
    metric = main_metric(rows, info)
    splits = splits_of(rows, metric)
    first = rows[0]
    scores = {row.split: row.value for row in rows if row.metric == metric.name}
    told = "; ".join(f"{metric.text(scores[split])} on {split_name(split)}" for split in splits)
    by = "" if first.control == NO_CONTROL else f", control {first.control!r}"
    sections = [section("Results", metrics_table(rows))]
    if info.get("confusion"):
        sections.append(section("Class by class", _by_class(info.pop("confusion"))))
    if curve:
        figure = curves_figure(curve, arms=(first.arm,), metric=metric)
        sections.append(section("Learning curves", figure_block("curves", figure, CURVE_NOTE)))
    sections += _terms(log)
    if info.get("stages"):
        sections.append(section("Stages", stage_table(info["stages"])))
    more = (
        details("Recipe", f"<pre>{html.escape(recipe_text(info['recipe']))}</pre>")
        if info.get("recipe")
        else ""
    )
    sections.append(section("Setup", setup(rows, info) + more))
    return write_page(
        folder,
        title=title,
        headline=f"{first.method}{by}: {str(metric).lower()} {told}",
        summary=str(info.get("summary", "")) or ONE_RUN,
        asides=aside([str(text) for text in info.get("warnings", ())]),
        sections=sections,
    )


def _by_class(found: Mapping[str, Any]) -> str:
    """Share of each class that was found and of each answer that was right, and the confusions."""
    names, counts = list(map(str, found["names"])), found["counts"]
    head = "".join(f"<th>{name}</th>" for name in ("Class", "Rows", "Found (%)", "Right when said (%)"))
    body = []
    for i, name in enumerate(names[:MOST_CLASSES]):
        true, said = sum(counts[i]), sum(row[i] for row in counts)
        cells = (str(true), _percent(counts[i][i], true), _percent(counts[i][i], said))
        texts = "".join(f'<td class="number">{cell}</td>' for cell in cells)
        body.append(f'<tr><th scope="row">{html.escape(name)}</th>{texts}</tr>')
    left = len(names) - MOST_CLASSES
    note = f"{split_name(found['split']).capitalize()}" + (f"; {left} more classes are left out" * (left > 0))
    table = (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'
        f'<p class="note">{html.escape(note)}.</p>'
    )
    if left > 0:
        return table
    import numpy as np

    shares = 100 * np.array(counts, dtype=float) / np.maximum(1, np.sum(counts, axis=1, keepdims=True))
    return table + figure_block(
        "confusion", classes_figure(shares, names, names, signed=False), CONFUSION_NOTE
    )


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}" if whole else "–"


def _terms(log: Sequence[Mapping[str, float]]) -> list[str]:
    """Curves of terms and of their shares of the gradient; nothing of a run with one term, which has all of it."""
    sections = []
    for kind, heading, note in (
        ("term/", "Terms of the loss", TERMS_NOTE),
        ("gradient_share/", "Shares of the gradient", SHARES_NOTE),
    ):
        lines: dict[str, list[tuple[float, float]]] = {}
        for entry in log:
            for name, value in entry.items():
                if name.startswith(kind):
                    lines.setdefault(name.removeprefix(kind), []).append((entry["step"], value))
        if lines and (kind == "term/" or len(lines) > 1):
            figure = _lines_figure(lines, logarithmic=kind == "term/")
            sections.append(section(heading, figure_block(kind.strip("/").replace("_", "-"), figure, note)))
    return sections


def _lines_figure(lines: Mapping[str, Sequence[tuple[float, float]]], *, logarithmic: bool) -> Figure:
    """A line for each name, over steps."""
    from plotly import graph_objects as go

    figure = go.Figure()
    for number, (name, points) in enumerate(lines.items()):
        x, y = zip(*points, strict=True)
        line = {"color": COLOURS[number % len(COLOURS)], "width": 2.5}
        figure.add_trace(go.Scatter(x=x, y=y, mode="lines+markers", name=html.escape(name), line=line))
    above = logarithmic and all(value > 0 for points in lines.values() for _, value in points)
    figure.update_layout(
        height=340,
        xaxis={"title": {"text": "training step"}, "fixedrange": True, "rangemode": "tozero"},
        yaxis={"fixedrange": True, **({"type": "log"} if above else {"rangemode": "tozero"})},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    )
    return figure
