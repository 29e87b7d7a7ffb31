"""One HTML file that shows a comparison and opens without internet."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from limbeck.errors import DataError
from limbeck.evaluation.results import NO_CONTROL, Row, write_whole
from limbeck.evaluation.statistics import (
    BASELINE,
    Verdict,
    arms_of,
    cautions,
    estimate,
    points,
    values_by_seed,
)
from limbeck.reporting.figures import bars_figure, curves_figure, map_figure
from limbeck.reporting.table import Line, metric_name, percent, split_name, table_lines

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

REPORT_FILE = "report.html"
# Keys of `info` that are shown in places of their own, not in the setup.
_PLACED = ("given", "warnings", "recipe", "summary")


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
        rows: results; must hold ``accuracy`` on a split that starts with ``test``, or else on ``validation``.
        curves: mappings with ``arm, control, seed, step, value`` (validation accuracy, 0 to 1).
        embedding: ``x`` (``[k][2]``), ``label`` (k), ``modality`` (k), ``caption``, as from ``feature_map``.
        info: facts, JSON-able. ``summary``: a sentence under the title; ``given``: arm to what its teacher
            gave; ``warnings``: sentences; ``recipe``: text or mapping; every other key becomes a block of the
            setup (``data``, ``teacher``, ``versions``, ``machine``, ...).

    Raises: DataError without rows; as :func:`limbeck.evaluation.verdicts` for rows that cannot be compared.
    """
    rows, info = list(rows), dict(info or {})
    splits = _splits(rows)
    lines = table_lines(rows, split=splits[0], given=info.get("given"))
    parts = [
        _section("Results", _table(lines, splits[0]) + _reading_note(rows)),
        _section("Accuracy by arm", _figure("bars", bars_figure(rows, split=splits[0]), _BARS_NOTE)),
    ]
    for split in splits[1:]:
        more = table_lines(rows, split=split, given=info.get("given"))
        parts.insert(-1, _section(f"The same on {split_name(split)}", _table(more, split)))
    if curves:
        arms = arms_of([row for row in rows if row.split == splits[0]])
        parts.append(
            _section("Learning curves", _figure("curves", curves_figure(curves, arms=arms), _CURVES_NOTE))
        )
    if embedding:
        note = str(embedding.get("caption", ""))
        parts.append(_section("Features of teacher and student", _figure("map", map_figure(embedding), note)))
    parts.append(_section("Setup", _setup(rows, info)))
    found = [*cautions(rows, split=splits[0]), *map(str, info.get("warnings", ()))]
    page = Template(_asset("report.html")).substitute(
        title=html.escape(title),
        headline=html.escape(headline([line.verdict for line in lines], rows, splits[0])),
        summary=f'<p class="summary">{html.escape(str(info["summary"]))}</p>' if info.get("summary") else "",
        warnings=_warnings(found),
        sections="\n".join(parts),
        style=_asset("report.css"),
        script=_asset("report.js"),
        plotly=_plotly_js(),
    )
    path = Path(folder_or_path)
    path = path if path.suffix == ".html" else path / REPORT_FILE
    write_whole(path, page)
    return path


_BARS_NOTE = (
    "Bars: mean over seeds with its 95% t interval; dots: single seeds. Solid: the arm; hatched: the same arm with "
    "the link to its teacher broken. Dotted line: the student without a teacher."
)
_CURVES_NOTE = (
    "Mean over seeds; bands reach from the lowest to the highest seed; dotted: controls. Curves of the validation "
    "split: nothing was chosen by them unless the recipe says so."
)


def headline(judged: Sequence[Verdict], rows: Sequence[Row], split: str) -> str:
    """The comparison in a sentence or two, from the verdicts alone."""
    base = values_by_seed(rows, BASELINE, split=split)
    best = max(
        (v for v in judged if v.kind == "teacher" and v.gain is not None),
        key=lambda v: v.gain.mean if v.gain else 0.0,
        default=None,
    )
    if best is not None and best.gain is not None:
        reached = 100 * estimate(values_by_seed(rows, best.arm, split=split)).mean
        first = (
            f"With “{best.arm}” the student reaches {reached:.1f}% instead of {100 * estimate(base).mean:.1f}%: "
            f"{points(best.gain)}, and the gain is the teacher's."
        )
    elif any(v.kind == "one_run" for v in judged):
        top = max((v for v in judged if v.gain), key=lambda v: v.gain.mean if v.gain else 0.0)
        assert top.gain is not None
        first = f"One run: “{top.arm}” differs by {points(top.gain)} from no teacher; no verdict without more seeds."
    elif any(v.gain for v in judged):
        first = "No arm shows a gain that is its teacher's."
    else:
        first = f"Nothing to compare with: the arm “{BASELINE}” or a taught arm is missing."
    said = {
        "teacher": "also a gain that is the teacher's",
        "not_teacher": "a gain that is not shown to be the teacher's",
        "no_control": "a gain without a control",
        "no_gain": "no gain shown",
        "hurts": "hurts",
    }
    rest = [
        f"{words}: {', '.join(v.arm for v in judged if v.kind == kind and v is not best)}"
        for kind, words in said.items()
        if any(v.kind == kind and v is not best for v in judged)
    ]
    tail = "; ".join(rest)
    return f"{first} {tail[:1].upper()}{tail[1:]}." if tail else first


def _splits(rows: Sequence[Row]) -> list[str]:
    """Splits with an accuracy: the final ones, ``test`` first; ``validation`` only when there is no other."""
    found = list(dict.fromkeys(row.split for row in rows if row.metric == "accuracy"))
    final = sorted((s for s in found if s.startswith("test")), key=lambda s: s != "test")
    if not found:
        raise DataError("A report needs result rows with the metric 'accuracy'; there are none.")
    return final or found[:1]


def _table(lines: Sequence[Line], split: str) -> str:
    head = (
        "Arm",
        "Link",
        "The teacher gave",
        f"Accuracy, {split_name(split)}",
        "Gain [95%]",
        "Control's gain",
        "Verdict",
    )
    out = ["<table><thead><tr>", *(f"<th>{html.escape(h)}</th>" for h in head), "</tr></thead><tbody>"]
    for line in lines:
        score = line.score + " %"
        cells = (line.link, line.given, score, line.gain, line.control_gain)
        out.append(f'<tr class="{line.verdict.kind}"><th scope="row">{html.escape(line.arm)}</th>')
        for name, cell in zip(head[1:-1], cells):
            number = ' class="number"' if name not in ("Link", "The teacher gave") else ""
            out.append(f'<td data-label="{html.escape(name)}"{number}>{html.escape(cell)}</td>')
        badge = f'<span class="badge">{html.escape(line.short_verdict)}</span>'
        out.append(f'<td data-label="Verdict">{badge}</td></tr>')
    out.append("</tbody></table>")
    said = [line.verdict.sentence for line in lines if line.verdict.kind != "baseline"]
    return "".join(out) + _list(said, "sentences")


def _reading_note(rows: Sequence[Row]) -> str:
    n = len({row.seed for row in rows})
    how = (
        "One run: no spread, no interval, no verdict."
        if n == 1
        else (
            f"Mean ± standard deviation over {n} seeds. Gains are differences within a seed, in percentage points, with "
            "their 95% t interval. A gain is called the teacher's only if it is above 0 and above what the same arm "
            "gains with its teacher shuffled, p < 0.05 after Holm's correction over all arms."
        )
    )
    return f'<p class="note">{how}</p>'


def _figure(name: str, figure: Figure, note: str) -> str:
    # "<" as an escape, so that no name can close the script element
    content = (figure.to_json() or "").replace("<", "\\u003c")
    return (
        f'<div class="figure" id="figure-{name}"></div>'
        f'<script type="application/json" data-figure="figure-{name}">{content}</script>'
        f'<p class="note">{html.escape(note)}</p>'
    )


def _setup(rows: Sequence[Row], info: Mapping[str, Any]) -> str:
    seeds = sorted({row.seed for row in rows})
    facts = {
        "seeds": ", ".join(map(str, seeds)),
        "steps": ", ".join(map(str, sorted({r.steps for r in rows}))),
    }
    blocks: dict[str, Any] = {"runs": facts}
    for key, value in info.items():
        if key not in _PLACED:
            blocks[key] = value if isinstance(value, Mapping) else {key: value}
    out = ['<div class="setup">']
    for name, block in blocks.items():
        items = "".join(f"<dt>{html.escape(_words(k))}</dt><dd>{_value(v)}</dd>" for k, v in block.items())
        out.append(f"<section><h3>{html.escape(_words(name))}</h3><dl>{items}</dl></section>")
    out.append("</div>")
    out.append(_details("All metrics and times", _all_metrics(rows)))
    if info.get("recipe"):
        recipe = info["recipe"]
        text = (
            recipe
            if isinstance(recipe, str)
            else json.dumps(recipe, indent=2, ensure_ascii=False, default=str)
        )
        out.append(_details("Recipe", f"<pre>{html.escape(text)}</pre>"))
    return "".join(out)


def _all_metrics(rows: Sequence[Row]) -> str:
    columns = sorted({(row.split, row.metric) for row in rows})
    head = "".join(f"<th>{html.escape(f'{metric_name(m)}, {split_name(s)}')}</th>" for s, m in columns)
    body = []
    for arm, control in dict.fromkeys((row.arm, row.control) for row in rows):
        own = [row for row in rows if (row.arm, row.control) == (arm, control)]
        cells = []
        for split, metric in columns:
            values = values_by_seed(own, arm, control, split=split, metric=metric)
            cells.append(percent(estimate(values)) if values else "–")
        seconds = estimate({row.seed: row.seconds for row in own}).mean
        name = arm if control == NO_CONTROL else f"{arm}, {control}"
        texts = "".join(f'<td class="number">{html.escape(c)}</td>' for c in (*cells, f"{seconds:.1f}"))
        body.append(f'<tr><th scope="row">{html.escape(name)}</th>{texts}</tr>')
    return (
        f'<div class="wide"><table class="plain"><thead><tr><th>Arm</th>{head}<th>Seconds a run</th></tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "<br>".join(f"{html.escape(_words(k))}: {_value(v)}" for k, v in value.items()) or "–"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_value(v) for v in value) or "–"
    if isinstance(value, float):
        return html.escape(f"{value:.4g}")
    return html.escape(
        {True: "yes", False: "no", None: "–"}.get(value, str(value)) if _is_flag(value) else str(value)
    )


def _is_flag(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def _words(key: Any) -> str:
    text = str(key).replace("_", " ")
    return text[:1].upper() + text[1:]


def _warnings(sentences: Sequence[str]) -> str:
    return f'<aside class="warnings"><h2>Mind</h2>{_list(sentences)}</aside>' if sentences else ""


def _list(sentences: Sequence[str], kind: str = "") -> str:
    items = "".join(f"<li>{html.escape(s)}</li>" for s in sentences)
    return f'<ul class="{kind}">{items}</ul>' if items else ""


def _section(heading: str, content: str) -> str:
    return f"<section><h2>{html.escape(heading)}</h2>{content}</section>"


def _details(summary: str, content: str) -> str:
    return f"<details><summary>{html.escape(summary)}</summary>{content}</details>"


def _asset(name: str) -> str:
    return resources.files("limbeck.reporting").joinpath("template", name).read_text(encoding="utf-8")


def _plotly_js() -> str:
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()
