"""The sections of a comparison's report below its table; each gives nothing where there is nothing to show."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from limbeck.evaluation.comparison import Comparison
from limbeck.evaluation.results import NO_CONTROL
from limbeck.evaluation.statistics import BASELINE
from limbeck.evaluation.summary import Judged
from limbeck.reporting.figures import curves_figure, map_figure
from limbeck.reporting.gain_figures import classes_figure, reliability_figure
from limbeck.reporting.per_class import Confusions, confidences, confusions
from limbeck.reporting.report import CURVES_NOTE, details, figure_block, section
from limbeck.reporting.sections import item_list, recipe_text, setup

if TYPE_CHECKING:
    import numpy as np

MOST_CLASSES = 60  # rows of the table of classes
OF_A_RUN = ("link", "seed", "teacher_accuracy")  # facts of the data that are not those of all arms
DIAGNOSIS_FILE = "diagnosis.json"
RELIABILITY_NOTE = (
    "How often an answer was right against how sure the student was of it, all seeds together; larger dots stand for "
    "more answers. Below the dotted line a student is surer than it should be."
)
CONFUSION_NOTE = (
    "What changes against the student without a teacher, in points of each true class (a row): blue, an answer given "
    "more often; red, less often. Blue on the diagonal is what was gained."
)


def learning(found: Comparison, said: Judged, arms: Sequence[str]) -> list[str]:
    """Learning curves."""
    curves = [
        {"arm": cell.arm, "control": cell.control, "seed": cell.seed, "step": step, "value": value}
        for cell in found.done
        for step, value in found.outcomes[cell].curve
    ]
    if not curves:
        return []
    figure = curves_figure(curves, arms=arms, metric=said.metric)
    return [section("Learning curves", figure_block("curves", figure, CURVES_NOTE))]


def by_class(found: Comparison, said: Judged, arms: Sequence[str]) -> list[str]:
    """What each class gains, and what is confused with what."""
    table = confusions(found, said.split, arms)
    if table is None or BASELINE not in table.counts:
        return []
    taught = [arm for arm in arms if arm in table.counts and arm != BASELINE]
    content = _class_table(table, taught)
    for number, arm in enumerate(taught):
        change = 100 * (table.shares(arm) - table.shares(BASELINE))
        figure = classes_figure(_known(change), table.names, table.names, signed=True)
        block = figure_block(f"confusion-{number}", figure, f"{arm}. {CONFUSION_NOTE}")
        content += (
            block
            if number == len(taught) - 1 and len(taught) == 1
            else details(f"Confusions of {arm}", block)
        )
    if table.absent:
        content += item_list(
            [f"Classes without a test row: {', '.join(table.absent)}; nothing is known of them."]
        )
    return [section("Class by class", content)]


def _known(values: np.ndarray) -> np.ndarray:
    import numpy as np

    return np.nan_to_num(values, nan=0.0)


def _class_table(table: Confusions, taught: Sequence[str]) -> str:
    """Share of each class that was found, and by how much more than without a teacher."""
    base = table.recall(BASELINE)
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ("Class", "Test rows", BASELINE, *taught))
    counts = table.counts[BASELINE].sum(1)
    body = []
    for i, name in enumerate(table.names[:MOST_CLASSES]):
        cells = [f"{int(counts[i])}", _percent(base[i])]
        for arm in taught:
            change = 100 * (table.recall(arm)[i] - base[i])
            kind = "better" if change > 0.05 else "worse" if change < -0.05 else ""
            cells.append(
                f'{_percent(table.recall(arm)[i])} <span class="{kind}">{change:+.1f}</span>'
                if counts[i]
                else "–"
            )
        texts = "".join(f'<td class="number">{cell}</td>' for cell in cells)
        body.append(f'<tr><th scope="row">{html.escape(name)}</th>{texts}</tr>')
    rest = len(table.names) - MOST_CLASSES
    more = f'<p class="note">{rest} more classes are left out here.</p>' if rest > 0 else ""
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>{more}'
        '<p class="note">Per cent of each class that was found, all seeds together, and the change in points against '
        "the student without a teacher.</p>"
    )


def _percent(share: float) -> str:
    return "–" if share != share else f"{100 * share:.1f}"


def how_sure(found: Comparison, said: Judged, arms: Sequence[str]) -> list[str]:
    """The reliability diagram."""
    shown = confidences(found, said.split, arms)
    if not any(len(sure) for sure, _ in shown.values()):
        return []
    ordered = {arm: shown[arm] for arm in arms if arm in shown and len(shown[arm][0])}
    return [
        section(
            "How sure, how right", figure_block("reliability", reliability_figure(ordered), RELIABILITY_NOTE)
        )
    ]


def pictures(found: Comparison, arms: Sequence[str]) -> list[str]:
    """Feature maps and transport plans of the first seed."""
    maps, plans = "", ""
    made = {
        cell.arm: found.outcomes[cell].pictures
        for cell in found.done
        if cell.control == NO_CONTROL and found.outcomes[cell].pictures
    }
    for number, arm in enumerate(arm for arm in reversed(arms) if arm in made):
        if embedding := made[arm].get("map"):
            block = figure_block(f"map-{number}", map_figure(embedding), str(embedding.get("caption", "")))
            maps += f"<h4>{html.escape(arm)}</h4>{block}" if not maps else details(arm, block)
        if plan := made[arm].get("plan"):
            block = figure_block(f"plan-{number}", _plan_figure(plan), str(plan["caption"]))
            plans += f"<h4>{html.escape(arm)}</h4>{block}" if not plans else details(arm, block)
    sections = [section("What teacher and student see", maps)] if maps else []
    return sections + ([section("What the transport plan joins", plans)] if plans else [])


def _plan_figure(plan: Mapping[str, Any]) -> Any:
    import numpy as np

    return classes_figure(np.array(plan["shares"]), plan["student"], plan["teacher"], signed=False)


def diagnosis(found: Comparison, said: Judged) -> list[str]:
    """What was expected before training, beside what came; from ``diagnosis.json``, where there is one."""
    path = found.folder / DIAGNOSIS_FILE
    if not path.is_file():
        return []
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        gain = (told.get("expectation") or {}).get("gain") or {}
        sentence, method = str(told["sentence"]), str(told.get("method", ""))
    except (ValueError, KeyError, AttributeError, RecursionError) as error:
        return [
            section("Expected and found", f"<p>{html.escape(f'{path.name} cannot be read ({error!r}).')}</p>")
        ]
    methods = {row.arm: row.method for row in said.rows}
    found_gains = [
        f"Found: {verdict.sentence}"
        for arm, verdict in said.verdicts.items()
        if verdict.gain is not None and (not method or methods.get(arm) == method)
    ]
    expected = f"Expected before training: {sentence}"
    if {"estimate", "low", "high"} <= set(gain) and found_gains:
        expected += f" ({said.metric.points(gain['estimate'], gain['low'], gain['high'])})"
    return [section("Expected and found", item_list([expected, *found_gains]))]


def what_it_cost(found: Comparison) -> str:
    """Means over seeds of each arm and control."""
    names = (
        "Arm",
        "Wall time (s)",
        "Processor time (s)",
        "Memory (MiB)",
        "Accelerator (MiB)",
        "Teacher calls",
    )
    head = "".join(f"<th>{name}</th>" for name in names)
    body = []
    for arm, control in dict.fromkeys((cell.arm, cell.control) for cell in found.done):
        costs = [
            found.outcomes[cell].cost for cell in found.done if (cell.arm, cell.control) == (arm, control)
        ]
        n = len(costs)
        cells = (
            f"{sum(c.wall for c in costs) / n:.1f}",
            f"{sum(c.processor for c in costs) / n:.1f}",
            f"{max(c.memory for c in costs):.0f}",
            f"{max(c.accelerator_memory for c in costs):.0f}",
            f"{max(c.teacher_calls for c in costs):,}",
        )
        name = arm if control == NO_CONTROL else f"{arm}, {control}"
        texts = "".join(f'<td class="number">{cell}</td>' for cell in cells)
        body.append(f'<tr><th scope="row">{html.escape(name)}</th>{texts}</tr>')
    total = sum(found.outcomes[cell].cost.wall for cell in found.done)
    return section(
        "Cost",
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'
        '<p class="note">Times: mean of a run with its data and its evaluation; memory: largest of all seeds. Teacher '
        "calls: rows that a teacher was asked about, of a bank once for all runs. All runs together took "
        f"{total / 60:.1f} minutes.</p>",
    )


def reproduced(found: Comparison) -> list[str]:
    """Everything needed to run it again."""
    info = dict(found.info)
    recipe, command, arms = info.pop("recipe", None), info.pop("command", ""), info.pop("arms", {})
    for name in ("title", "given", "summary", "tune"):
        info.pop(name, None)
    outcome = next(iter(found.outcomes.values()), None)
    rows = [row for cell in found.done for row in found.outcomes[cell].rows]
    if outcome is not None:
        shared = {k: v for k, v in outcome.facts.get("data", {}).items() if k not in OF_A_RUN}
        info = {"data": shared, "fingerprints of the data": outcome.data, **info}
    content = setup(rows, info) if rows else ""
    if command:
        content += f"<h4>The command</h4><pre>{html.escape(str(command))}</pre>"
    if arms:
        changes = [
            f"{arm}: "
            + (
                ", ".join(f"{key} = {json.dumps(value)}" for key, value in changed.items())
                or "the recipe itself"
            )
            for arm, changed in arms.items()
        ]
        content += f"<h4>What each arm changes in the recipe</h4>{item_list(changes)}"
    if recipe:
        content += details("Recipe", f"<pre>{html.escape(recipe_text(recipe))}</pre>")
    return [section("Setup", content)] if content else []
