"""What was tried before a comparison: the best values of every arm, and all trials."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

from limbeck.problems.metric import Metric
from limbeck.reporting.report import details, section

NOTE = (
    "Every arm had the same number of trials (none where an arm has none of the settings, which favours the others), "
    "drawn with the same seed, each one run at seed {seed}, which is none of "
    "the comparison's, and judged by its validation rows alone; no trial had a test row. The best values are those of "
    "the arm and of its controls in all seeds. The best of several trials is too good a score for its values: that of "
    "the results counts."
)


def trials_section(info: Mapping[str, Any]) -> list[str]:
    """The table of arms and, folded, that of all trials; nothing where nothing was tuned."""
    tune = info.get("tune")
    if not tune:
        return []
    arms, metric = tune["arms"], Metric(**tune["metric"]) if "metric" in tune else Metric("accuracy")
    best, every = [], []
    for arm, found in arms.items():
        trials = found["trials"]
        if not trials:
            best.append((arm, "0", "none of the keys are its own", "–"))
            continue
        chosen = trials[found["best"]]
        best.append((arm, str(len(trials)), _values(chosen["values"]), _score(chosen, metric)))
        every += [
            (arm, str(number), _values(trial["values"]), _score(trial, metric))
            for number, trial in enumerate(trials)
        ]
    named = f"Validation {metric}" + (" (%)" if metric.unit else "")
    content = _table(("Arm", "Trials", "Best values", named), best)
    content += f'<p class="note">{html.escape(NOTE.format(seed=tune["seed"]))}</p>'
    content += details("All trials", _table(("Arm", "Trial", "Values", named), every))
    return [section("Tuning", content)]


def _table(names: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    body = ""
    for arm, number, values, score in lines:
        body += (
            f'<tr><th scope="row">{html.escape(arm)}</th><td class="number">{number}</td>'
            f'<td>{html.escape(values)}</td><td class="number">{html.escape(score)}</td></tr>'
        )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _values(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} = {_short(value)}" for key, value in values.items())


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value)


def _score(trial: Mapping[str, Any], metric: Metric) -> str:
    return str(trial["failed"]) if trial["score"] is None else metric.number(trial["score"])
