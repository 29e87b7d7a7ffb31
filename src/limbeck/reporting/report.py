"""One HTML file that shows a comparison and opens without internet."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from limbeck.errors import DataError
from limbeck.evaluation.results import Row
from limbeck.evaluation.statistics import arms_of, cautions
from limbeck.files import write_whole
from limbeck.problems.metric import Metric, metric_named
from limbeck.reporting.figures import bars_figure, curves_figure, map_figure
from limbeck.reporting.headline import headline
from limbeck.reporting.sections import (
    item_list,
    metrics_table,
    reading_note,
    recipe_text,
    result_table,
    setup,
    stage_table,
)
from limbeck.reporting.table import split_name, table_lines

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

REPORT_FILE = "report.html"
BARS_NOTE = (
    "Bars: mean over seeds with its 95% t interval; dots: single seeds. Solid: the arm; hatched: its "
    "control, the same arm with a broken teacher or link. Dotted line: the student without a teacher."
)
CURVES_NOTE = (
    "The score on the validation split, mean over seeds; bands reach from the lowest to the highest seed; "
    "dotted: the controls of the arm of that colour."
)


def write_report(
    folder_or_path: str | Path,
    *,
    title: str,
    rows: Sequence[Row],
    curves: Sequence[Mapping[str, Any]] = (),
    embedding: Mapping[str, Any] | None = None,
    info: Mapping[str, Any] | None = None,
) -> Path:
    """Write ``report.html`` (about 5 MB, the drawing library included once); returns its path.

    Args:
        folder_or_path: a folder, or a path that ends in ``.html``.
        rows: results on a split that starts with ``test``, or else on another; the report is about the
            first of ``info["metrics"]``, else about ``accuracy``, else about the first row's metric.
        curves: mappings with ``arm, control, seed, step, value`` (the metric on validation, 0 to 1).
        embedding: ``x`` (``[k][2]``), ``label`` (k), ``modality`` (k), optionally ``corners`` and
            ``caption``, as from ``feature_map``.
        info: facts, JSON-able. ``summary``: a sentence under the title; ``given``: arm to what its teacher
            gave; ``warnings``: sentences; ``metrics``: how the task is scored, fields of :class:`Metric`, the one
            that decides first; ``stages``: of a chain, see ``limbeck.recipes.stages.stage_facts``; ``recipe``: text or
            mapping; every other key becomes a block of the setup (``data``, ``teacher``, ``versions``, ...).

    Raises: DataError without rows; as :func:`limbeck.evaluation.verdicts` for rows that cannot be compared.
    """
    rows, info = list(rows), dict(info or {})
    metric = main_metric(rows, info)
    splits = splits_of(rows, metric)
    lines = table_lines(rows, split=splits[0], metric=metric, given=info.get("given"))
    finding, others = headline([line.verdict for line in lines], rows, split=splits[0], metric=metric)
    mind = [*cautions(rows, split=splits[0], metric=metric), *map(str, info.get("warnings", ()))]
    return write_page(
        folder_or_path,
        title=title,
        headline=finding,
        others=others,
        summary=str(info.get("summary", "")),
        asides=aside(mind),
        sections=_sections(rows, splits, metric, curves, embedding, info),
    )


def write_page(
    folder_or_path: str | Path,
    *,
    title: str,
    headline: str,
    others: str = "",
    summary: str = "",
    asides: str = "",
    sections: Sequence[str],
) -> Path:
    """The page around the sections; ``asides`` and ``sections`` are HTML, the other texts are escaped here."""
    page = Template(_asset("report.html")).substitute(
        title=html.escape(title),
        headline=html.escape(headline),
        others=f'<p class="others">{html.escape(others)}</p>' if others else "",
        summary=f'<p class="summary">{html.escape(summary)}</p>' if summary else "",
        warnings=asides,
        sections="\n".join(sections),
        style=_asset("report.css"),
        script=_asset("report.js"),
        plotly=_plotly_js(),
    )
    path = Path(folder_or_path)
    path = path if path.suffix == ".html" else path / REPORT_FILE
    write_whole(path, page)
    return path


def _sections(
    rows: Sequence[Row],
    splits: Sequence[str],
    metric: Metric,
    curves: Sequence[Mapping[str, Any]],
    embedding: Mapping[str, Any] | None,
    info: Mapping[str, Any],
) -> list[str]:
    sections = []
    for number, split in enumerate(splits):
        lines = table_lines(rows, split=split, metric=metric, given=info.get("given"))
        content = result_table(lines, metric)
        if number == 0:
            said = [line.verdict.sentence for line in lines if line.verdict.kind != "baseline"]
            content += item_list(said, "sentences") + reading_note(rows, metric)
        sections.append(section(f"Results, {split_name(split)}", content))
    bars = bars_figure(rows, split=splits[0], metric=metric)
    heading = f"{metric} by arm, {split_name(splits[0])}"
    sections.append(section(heading, figure_block("bars", bars, BARS_NOTE)))
    if info.get("stages"):
        sections.append(section("Stages", stage_table(info["stages"])))
    if curves:
        figure = curves_figure(curves, arms=arms_of(rows), metric=metric)
        sections.append(section("Learning curves", figure_block("curves", figure, CURVES_NOTE)))
    if embedding:
        content = figure_block("map", map_figure(embedding), str(embedding.get("caption", "")))
        sections.append(section("What teacher and student see", content))
    more = details("All metrics and times", metrics_table(rows))
    if info.get("recipe"):
        more += details("Recipe", f"<pre>{html.escape(recipe_text(info['recipe']))}</pre>")
    sections.append(section("Setup", setup(rows, info) + more))
    return sections


def main_metric(rows: Sequence[Row], info: Mapping[str, Any]) -> Metric:
    """What the report is about."""
    if not rows:
        raise DataError("A report needs result rows; there are none.")
    if told := info.get("metrics"):
        return Metric(**told[0])
    names = [row.metric for row in rows]
    return metric_named("accuracy" if "accuracy" in names else names[0])


def splits_of(rows: Sequence[Row], metric: Metric) -> list[str]:
    """Splits with the main metric: the final ones, ``test`` first; any other only when there is none."""
    found = list(dict.fromkeys(row.split for row in rows if row.metric == metric.name))
    final = sorted((split for split in found if split.startswith("test")), key=lambda split: split != "test")
    return final or found[:1]


def figure_block(name: str, figure: Figure, note: str) -> str:
    """A figure that the page draws, with a note that also speaks for it."""
    content = (figure.to_json() or "").replace("<", "\\u003c")  # so that no name can close the script element
    return (
        f'<figure><div class="figure" id="figure-{name}" role="img" aria-label="{html.escape(note)}"></div>'
        f'<script type="application/json" data-figure="figure-{name}">{content}</script>'
        f'<figcaption class="note">{html.escape(note)} <button type="button" class="svg" data-svg="figure-{name}">'
        "Save as SVG</button></figcaption></figure>"
    )


def aside(sentences: Sequence[str], heading: str = "Mind") -> str:
    """Sentences that a reader should not miss; nothing where there are none."""
    if not sentences:
        return ""
    return f'<aside class="warnings"><h2>{html.escape(heading)}</h2>{item_list(sentences)}</aside>'


def section(heading: str, content: str) -> str:
    """HTML under a heading."""
    return f"<section><h2>{html.escape(heading)}</h2>{content}</section>"


def details(summary: str, content: str) -> str:
    """HTML that opens."""
    return f"<details><summary>{html.escape(summary)}</summary>{content}</details>"


def _asset(name: str) -> str:
    return resources.files("limbeck.reporting").joinpath("template", name).read_text(encoding="utf-8")


def _plotly_js() -> str:
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()
