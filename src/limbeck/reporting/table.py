"""The table of a comparison: its cells as text, for the terminal and for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from limbeck.errors import one_line
from limbeck.evaluation.estimates import Estimate, estimate
from limbeck.evaluation.resampling import Items
from limbeck.evaluation.results import Row
from limbeck.evaluation.statistics import Gain, Kind, Verdict, arms_of, values_by_seed, verdicts
from limbeck.problems.metric import Metric, metric_named
from limbeck.signals.links.choose import LINKS, link_class

if TYPE_CHECKING:
    from rich.table import Table

SHORT_VERDICT: dict[Kind, str] = {
    "baseline": "no teacher",
    "teacher_helps": "teacher helps",
    "distillation_helps": "not teacher's",
    "no_gain_seen": "no gain seen",
    "hurts": "hurts",
    "one_run": "one run",
    "no_baseline": "no baseline",
}
TEXT_WIDTH = 80


@dataclass(frozen=True)
class Line:
    """One arm of the table, as text."""

    arm: str
    link: str
    given: str
    score: str
    gain: str
    verdict: Verdict
    metric: Metric

    @property
    def control_gain(self) -> str:
        """Gain of the shuffled control over the baseline; of the strongest control without it."""
        gains = {name: gain.mean for name, gain in self.verdict.control_gain.items()}
        if not gains:
            return "–"
        return self.metric.signed(gains.get("shuffled", max(gains.values())))

    @property
    def all_control_gains(self) -> str:
        """Gains of all controls over the baseline, by name where there is not only the shuffled one."""
        gains = self.verdict.control_gain
        if set(gains) <= {"shuffled"}:
            return self.control_gain
        return ", ".join(
            f"{self.metric.signed(gain.mean)} {name.replace('_', ' ')}" for name, gain in gains.items()
        )

    @property
    def short_verdict(self) -> str:
        return SHORT_VERDICT[self.verdict.kind]


def table_lines(
    rows: Sequence[Row],
    *,
    split: str = "test",
    metric: str | Metric = "accuracy",
    given: Mapping[str, str] | None = None,
    items: Items | None = None,
) -> list[Line]:
    """One line per arm that has rows of ``split`` and ``metric``, the baseline first.

    Args:
        given: arm to what its teacher gave, where the link alone does not say it.
        items: draws of the test items, as :func:`limbeck.evaluation.verdicts` takes them.

    Raises: DataError or UnknownNameError, as :func:`limbeck.evaluation.verdicts`.
    """
    lines, metric = [], metric_named(metric)
    judged = verdicts(rows, split=split, metric=metric, items=items)
    links = {row.arm: row.link for row in reversed(rows)}
    for arm in arms_of(rows):
        values = values_by_seed(rows, arm, split=split, metric=metric)
        if arm not in judged or not values:
            continue
        verdict, link = judged[arm], links[arm]
        usual = "nothing" if link == "none" else link_class(link).gives if link in LINKS else "its answers"
        lines.append(
            Line(
                arm=arm,
                link="–" if link == "none" else link.replace("_", " "),
                given=(given or {}).get(arm, usual),
                score=score_text(estimate(values), metric),
                gain=gain_text(verdict.gain, metric),
                verdict=verdict,
                metric=metric,
            )
        )
    return lines


def results_table(
    rows: Sequence[Row],
    *,
    split: str = "test",
    metric: str | Metric = "accuracy",
    items: Items | None = None,
) -> Table:
    """The comparison as a rich table; gains are paired over seeds, in points, with their 95% interval."""
    from rich.table import Table

    lines = table_lines(rows, split=split, metric=metric, items=items)
    table = Table(
        title=f"{metric_named(metric)}, {split_name(split)}",
        caption=_seeds_text(rows),
        box=None,
        padding=(0, 2, 0, 0),
        pad_edge=False,
    )
    table.add_column("arm", style="bold", overflow="fold")
    table.add_column("link", no_wrap=True)
    table.add_column(_score_head(metric), justify="right", no_wrap=True)
    table.add_column("gain [95%]", justify="right", no_wrap=True)
    table.add_column("control", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    styles = {"teacher_helps": "green", "hurts": "red", "distillation_helps": "yellow"}
    for line in lines:
        cells = (line.arm, line.link, line.score, line.gain, line.control_gain, line.short_verdict)
        table.add_row(*map(_no_markup, cells[:-1]), cells[-1], style=styles.get(line.verdict.kind))
    return table


def results_text(rows: Sequence[Row], *, split: str = "test", metric: str | Metric = "accuracy") -> str:
    """The same table in plain text, no line wider than 80 columns; long names are cut."""
    head = ("arm", "link", _score_head(metric), "gain [95%]", "control", "verdict")
    lines = [
        (line.arm, line.link, line.score, line.gain, line.control_gain, line.short_verdict)
        for line in table_lines(rows, split=split, metric=metric)
    ]
    widths = [max(len(cells[i]) for cells in (head, *lines)) for i in range(len(head))]
    widths[0] = max(6, min(widths[0], TEXT_WIDTH - sum(widths[1:]) - 2 * (len(head) - 1)))
    right = {2, 3, 4}
    out = [f"{metric_named(metric)}, {split_name(split)}, {_seeds_text(rows)}", ""]
    for cells in (head, *lines):
        cut = [cells[0] if len(cells[0]) <= widths[0] else cells[0][: widths[0] - 1] + "…", *cells[1:]]
        padded = [c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(cut, widths))]
        out.append("  ".join(padded).rstrip())
    return "\n".join(out)


def score_text(value: Estimate, metric: str | Metric = "accuracy") -> str:
    """``88.2 ± 2.7`` (mean and sample sd, of shares in per cent); the mean alone from one run."""
    number = metric_named(metric).number
    return number(value.mean) if value.sd is None else f"{number(value.mean)} ± {number(value.sd)}"


def gain_text(gain: Gain | Estimate | None, metric: str | Metric = "accuracy") -> str:
    """``+39.2 [+32.9, +45.6]``, of shares in points; the difference alone from one run; a dash where there is none."""
    if gain is None:
        return "–"
    signed, seeds = metric_named(metric).signed, gain.seeds if isinstance(gain, Gain) else gain
    if seeds.low is None or seeds.high is None:
        return signed(seeds.mean)
    return f"{signed(seeds.mean)} [{signed(seeds.low)}, {signed(seeds.high)}]"


def _score_head(metric: str | Metric) -> str:
    return f"{metric_named(metric).unit} ± sd".strip()


def split_name(split: str) -> str:
    """A split's name for people."""
    return {"test": "test", "test_unseen": "unseen test"}.get(split, split.replace("_", " "))


def _seeds_text(rows: Sequence[Row]) -> str:
    n = len({row.seed for row in rows})
    return "one run" if n == 1 else f"{n} seeds"


def _no_markup(text: str) -> str:
    from rich.markup import escape

    return escape(one_line(text))
