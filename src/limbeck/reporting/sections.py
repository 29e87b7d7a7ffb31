"""The tables and lists of the report as HTML; every text is escaped here."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

from limbeck.evaluation.estimates import estimate
from limbeck.evaluation.results import NO_CONTROL, Row
from limbeck.evaluation.statistics import values_by_seed
from limbeck.problems.metric import Metric, metric_named
from limbeck.reporting.table import Line, score_text, split_name

# Keys of `info` that have a place of their own outside the setup.
MOST_ENTRIES = 12  # of a list among the facts
PLACED_ELSEWHERE = ("given", "warnings", "recipe", "summary", "metrics", "stages", "confusion")


def result_table(lines: Sequence[Line], metric: Metric) -> str:
    """The comparison; on a narrow screen each arm becomes a card of labelled values."""
    columns = {
        "Link": "link",
        "The teacher gave": "given",
        f"{metric} (%)" if metric.unit else str(metric): "number",
        "Gain [95%]": "number",
        "Control's gain": "controls",
    }
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ("Arm", *columns, "Verdict"))
    body = []
    for line in lines:
        controls = line.all_control_gains.replace(" ", "\u00a0").replace(
            ",\u00a0", ", "
        )  # breaks between controls
        cells = (line.link, line.given, line.score, line.gain, controls)
        body.append(f'<tr class="{line.verdict.kind}"><th scope="row">{html.escape(line.arm)}</th>')
        for (name, kind), cell in zip(columns.items(), cells):
            body.append(f'<td class="{kind}" data-label="{html.escape(name)}">{html.escape(cell)}</td>')
        badge = f'<span class="badge">{html.escape(line.short_verdict)}</span>'
        body.append(f'<td data-label="Verdict">{badge}</td></tr>')
    return (
        f'<div class="wide"><table class="results"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def reading_note(rows: Sequence[Row], metric: Metric) -> str:
    """How to read the table, as far as its number of seeds allows."""
    n = len({row.seed for row in rows})
    unit = "in percentage points" if metric.unit else f"in units of {metric}, positive where it is better"
    if n == 1:
        return f'<p class="note">One run: no spread, no interval, no verdict. Gains are {unit}.</p>'
    return (
        f'<p class="note">Mean ± standard deviation over {n} seeds. Gains are differences within a seed, '
        f"{unit}, with their 95% t interval. The teacher is said to help only if the gain is above 0 and above what "
        "every control gains, over the seeds (p &lt; 0.05 after Holm's correction) and over resampled test items.</p>"
    )


def setup(rows: Sequence[Row], info: Mapping[str, Any]) -> str:
    """Seeds, steps and every block of facts that the caller gave."""
    seeds, steps = sorted({row.seed for row in rows}), sorted({row.steps for row in rows})
    blocks: dict[str, Any] = {"runs": {"seeds": seeds, "steps": steps}}
    for key, value in info.items():
        if key not in PLACED_ELSEWHERE:
            blocks[key] = value if isinstance(value, Mapping) else {key: value}
    out = []
    for name, block in blocks.items():
        items = "".join(
            f"<dt>{html.escape(str(k).replace('_', ' '))}</dt><dd>{_fact(v)}</dd>" for k, v in block.items()
        )
        out.append(f"<div><h3>{html.escape(_heading(name))}</h3><dl>{items}</dl></div>")
    return f'<div class="setup">{"".join(out)}</div>'


def metrics_table(rows: Sequence[Row]) -> str:
    """Every metric on every split for arms and controls, and the seconds that a run took."""
    columns = sorted({(row.split, row.metric) for row in rows})
    names = [
        "Arm",
        *(f"{metric_named(metric)}, {split_name(split)}" for split, metric in columns),
        "Seconds a run",
    ]
    body = []
    for arm, control in dict.fromkeys((row.arm, row.control) for row in rows):
        own = [row for row in rows if (row.arm, row.control) == (arm, control)]
        cells = []
        for split, metric in columns:
            values = values_by_seed(own, arm, control, split=split, metric=metric)
            cells.append(score_text(estimate(values), metric) if values else "–")
        cells.append(f"{estimate({row.seed: row.seconds for row in own}).mean:.1f}")
        name = arm if control == NO_CONTROL else f"{arm}, {control}"
        texts = "".join(f'<td class="number">{html.escape(cell)}</td>' for cell in cells)
        body.append(f'<tr><th scope="row">{html.escape(name)}</th>{texts}</tr>')
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    several = len({row.seed for row in rows}) > 1
    note = f"{'Mean ± standard deviation over seeds; shares' if several else 'Shares'} in per cent."
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'
        f'<p class="note">{note}</p>'
    )


def stage_table(stages: Sequence[Mapping[str, Any]]) -> str:
    """The stages of a chain in order: what each learned from, its scores, and what it cost."""
    splits = list(dict.fromkeys(split for facts in stages for split in facts["scores"]))
    names = ["Stage", "Method", "Data", "Uses", *map(_heading, map(split_name, splits)), "Steps", "Seconds"]
    body = []
    for facts in stages:
        metric = metric_named(facts["metric"])
        scores = [facts["scores"].get(split) for split in splits]
        texts = ["–" if score is None else metric.text(score) for score in scores]
        uses = ", ".join(f"{what} of {stage}" for stage, what in facts["uses"].items()) or "–"
        words = "".join(f"<td>{html.escape(str(t))}</td>" for t in (facts["method"], facts["data"], uses))
        numbers = [*texts, f"{facts['steps']:,}", f"{facts['seconds']:.1f}"]
        cells = "".join(f'<td class="number">{html.escape(number)}</td>' for number in numbers)
        body.append(f'<tr><th scope="row">{html.escape(str(facts["stage"]))}</th>{words}{cells}</tr>')
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'
        '<p class="note">Each stage is scored on its own data. The seconds of a stage that was interrupted count '
        "from where it went on.</p>"
    )


def recipe_text(recipe: Any) -> str:
    """A recipe as it was given, or as indented JSON."""
    if isinstance(recipe, str):
        return recipe
    return json.dumps(recipe, indent=2, ensure_ascii=False, default=str)


def item_list(sentences: Sequence[str], kind: str = "") -> str:
    """A list of sentences; nothing where there are none."""
    items = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in sentences)
    return f'<ul class="{kind}">{items}</ul>' if items else ""


def _fact(value: Any) -> str:
    if isinstance(value, Mapping):
        return (
            "<br>".join(f"{html.escape(str(k).replace('_', ' '))}: {_fact(v)}" for k, v in value.items())
            or "–"
        )
    if isinstance(value, Sequence) and not isinstance(value, str):
        rest = f" and {len(value) - MOST_ENTRIES} more" if len(value) > MOST_ENTRIES else ""
        return ", ".join(_fact(v) for v in value[:MOST_ENTRIES]) + rest or "–"
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and abs(value) >= 10_000:
        return f"{value:,}"
    return html.escape(f"{value:.4g}" if isinstance(value, float) else str(value))


def _heading(key: Any) -> str:
    text = str(key).replace("_", " ")
    return text[:1].upper() + text[1:]
