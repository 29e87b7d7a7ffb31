"""The report of a comparison: what was found, how it is known, and everything needed to run it again."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from limbeck.evaluation.comparison import Comparison, read_comparison
from limbeck.evaluation.estimates import smallest_visible
from limbeck.evaluation.results import NO_CONTROL
from limbeck.evaluation.statistics import BASELINE, arms_of, cautions
from limbeck.evaluation.summary import Judged, finals, judged
from limbeck.files import write_whole
from limbeck.reporting.comparison_sections import (
    by_class,
    diagnosis,
    how_sure,
    learning,
    pictures,
    reproduced,
    what_it_cost,
)
from limbeck.reporting.figures import bars_figure
from limbeck.reporting.gain_figures import forest_figure
from limbeck.reporting.headline import headline
from limbeck.reporting.paper_tables import LATEX_FILE, MARKDOWN_FILE, latex_table, markdown_table
from limbeck.reporting.report import BARS_NOTE, aside, details, figure_block, section, write_page
from limbeck.reporting.sections import item_list, metrics_table, reading_note, result_table
from limbeck.reporting.table import Line, split_name, table_lines
from limbeck.reporting.trials_section import trials_section

FOREST_NOTE = (
    "Gain over the student without a teacher; below each arm its controls (open circles), in which the teacher or the "
    "link is broken on purpose. Thick: 95% t interval over seeds; thin: 95% interval over resampled test items. "
    "The teacher helps where an arm lies right of 0 and right of all its controls."
)


def comparison_report(folder: str | Path) -> Path:
    """Write ``report.html``, ``table.md`` and ``table.tex`` of a comparison, finished or not; returns the first's path.

    Raises: DataError as :func:`limbeck.evaluation.read_comparison`.
    """
    found = read_comparison(folder)
    title = str(found.info.get("title") or "A comparison")
    missing = [str(cell) for cell in found.missing]
    parts = aside(_what_is_missing(found, missing), "Unfinished")
    if not found.rows:
        return write_page(
            found.folder,
            title=title,
            headline="Nothing can be compared yet: no seed has been run for every arm and control.",
            asides=parts,
            sections=[*([_done_so_far(found)] if found.done else []), *reproduced(found)],
        )
    splits = finals(found.rows)
    said = [judged(found, split) for split in splits]
    lines = [
        table_lines(s.rows, split=s.split, metric=s.metric, given=found.info.get("given"), items=s.items)
        for s in said
    ]
    first, verdict_list = said[0], [line.verdict for line in lines[0]]
    sentence, others = headline(verdict_list, first.rows, split=first.split, metric=first.metric)
    write_whole(found.folder / MARKDOWN_FILE, markdown_table(lines[0], first.metric))
    write_whole(found.folder / LATEX_FILE, latex_table(lines[0], first.metric, caption=title))
    return write_page(
        found.folder,
        title=title,
        headline=sentence,
        others=others,
        summary=str(found.info.get("summary", "")),
        asides=parts + aside(_mind(found, first)),
        sections=[*_results(said, lines), *_evidence(found, first), *reproduced(found)],
    )


def _results(said: Sequence[Judged], lines: Sequence[Sequence[Line]]) -> list[str]:
    """Tables of every final split; the first is explained and drawn."""
    out = []
    for number, (found, own) in enumerate(zip(said, lines, strict=True)):
        content = result_table(own, found.metric)
        if number == 0:
            sentences = [line.verdict.sentence for line in own if line.verdict.kind != "baseline"]
            content += (
                item_list(sentences, "sentences") + reading_note(found.rows, found.metric) + _visible(found)
            )
        out.append(section(f"Results, {split_name(found.split)}", content))
        if number == 0 and any(line.verdict.gain for line in own):
            verdicts = [line.verdict for line in own]
            shared = _shared_controls(found)
            out.append(
                section(
                    "Gains beside their controls",
                    figure_block("forest", forest_figure(verdicts, found.metric, shared), FOREST_NOTE),
                )
            )
    return out


def _evidence(found: Comparison, said: Judged) -> list[str]:
    """Everything that stands behind the table."""
    arms = arms_of(said.rows)
    bars = bars_figure(said.rows, split=said.split, metric=said.metric)
    heading = f"{said.metric} by arm, {split_name(said.split)}"
    return [
        *diagnosis(found, said),
        section(heading, figure_block("bars", bars, BARS_NOTE)),
        *learning(found, said, arms),
        *by_class(found, said, arms),
        *how_sure(found, said, arms),
        *pictures(found, arms),
        *trials_section(found.info),
        section("Beside the score", details("All metrics on all splits", metrics_table(found.rows))),
        what_it_cost(found),
    ]


def _shared_controls(found: Judged) -> Mapping[str, Any]:
    """Controls of the student without a teacher, which every arm is held against."""
    own = {row.control for row in found.rows if row.arm == BASELINE} - {NO_CONTROL}
    for verdict in found.verdicts.values():
        if verdict.gain is not None:
            return {control: gain for control, gain in verdict.control_gain.items() if control in own}
    return {}


def _visible(found: Judged) -> str:
    """``With 5 seeds you can see gains over 1.8 points``, of the arm whose seeds differ most."""
    sizes = [
        size
        for verdict in found.verdicts.values()
        if verdict.gain is not None and (size := smallest_visible(verdict.gain.seeds)) is not None
    ]
    if not sizes:
        return ""
    n = len({row.seed for row in found.rows})
    told = found.metric.points(max(sizes)).lstrip("+")
    return (
        f'<p class="note">With these {n} seeds you can see gains over {html.escape(told)} (four times in five, for the '
        "arm whose seeds differ most); smaller ones need more seeds.</p>"
    )


def _what_is_missing(found: Comparison, missing: Sequence[str]) -> list[str]:
    if not missing:
        return []
    seeds = sorted({cell.seed for cell in found.cells} - {cell.seed for cell in found.missing})
    some = ", ".join(missing[:8]) + (f" and {len(missing) - 8} more" if len(missing) > 8 else "")
    whole = (
        f"What is shown is of the seeds that are complete ({', '.join(map(str, seeds))})." if seeds else ""
    )
    return [
        f"{len(missing)} of {len(found.cells)} runs are missing: {some}. {whole} The command that started the "
        "comparison goes on where it stopped."
    ]


def _done_so_far(found: Comparison) -> str:
    """Single runs, where nothing can be compared yet."""
    rows = [
        row
        for cell in found.done
        for row in found.outcomes[cell].rows
        if row.split in finals(found.outcomes[cell].rows)
    ]
    items = [
        f"{row.arm} ({row.control}), seed {row.seed}, {row.split}: {row.metric} {row.value:.4f}"
        for row in rows
    ]
    return section("Runs so far", item_list(items))


def _mind(found: Comparison, said: Judged) -> list[str]:
    """What the reader should know before believing the numbers."""
    sentences = cautions(said.rows, split=said.split, metric=said.metric, items=said.items)
    runs: dict[str, list[str]] = {}
    for cell in found.done:
        for text in found.outcomes[cell].warnings if cell.control == NO_CONTROL else ():
            runs.setdefault(text, []).append(f"{cell.arm}, seed {cell.seed}")
    return sentences + [
        f"{'; '.join(where[:3])}{' ...' if len(where) > 3 else ''}: {text}"
        for text, where in sorted(runs.items())
    ]
