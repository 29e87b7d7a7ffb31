"""Tables and picture of benchmarks/diagnose.py: diagnosed beside realised gains, in points.

Axis legend: k combinations.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from diagnose_combinations import FRESH, Combination
from scipy.stats import spearmanr

THRESHOLD = 2.0  # points, the least that is called a gain
VERDICTS = ("helps", "likely helps", "may help", "cannot help", "cannot be told")
N_BOOT = 2000


def report(folder: Path) -> None:
    """Print the tables and write ``diagnose.svg``."""
    rows = combined(_read(folder / "train.jsonl"), _read(folder / "diagnose.jsonl"))
    print(f"{len(rows)} combinations, {sum(row['n_seeds'] for row in rows)} diagnoses\n")
    print(predictors(rows))
    print(confusion(rows))
    print(halves(rows))
    print(table(rows))
    (folder / "diagnose.svg").write_text(scatter(rows), encoding="utf-8")


def _read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def combined(trained: Sequence[dict[str, Any]], told: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a combination: means over its seeds that have both, in points."""
    gains = {(row["name"], row["seed"]): 100 * (row["taught"] - row["alone"]) for row in trained}
    rows = []
    for name in dict.fromkeys(row["name"] for row in told):
        own = [row for row in told if row["name"] == name and (name, row["seed"]) in gains]
        if not own:
            continue
        rows.append(
            {
                "name": name,
                "n_seeds": len(own),
                "gain": float(np.mean([gains[name, row["seed"]] for row in own])),
                "expected": _mean(own, "expected"),
                "low": _mean(own, "expected", "low"),
                "high": _mean(own, "expected", "high"),
                "link": _mean(own, "link"),
                "pilot": _mean(own, "pilot"),
                "teacher": 100 * float(np.mean([row["facts"]["teacher_accuracy"] for row in own])),
                "verdicts": [row["verdict"] for row in own],
                "reasons": sorted({reason for row in own for reason in row["reasons"]}),
            }
        )
    return rows


def _mean(rows: Sequence[dict[str, Any]], part: str, end: str = "estimate") -> float:
    known = [100 * row[part][end] for row in rows if row[part] is not None]
    return float(np.mean(known)) if known else float("nan")


def predictors(rows: Sequence[dict[str, Any]]) -> str:
    """Rank correlation with the gain, its bootstrap interval over combinations, and the mean absolute error."""
    groups: dict[str, Callable[[dict[str, Any]], bool]] = {
        "all": lambda row: True,
        "digits": lambda row: not Combination.named(row["name"]).text,
        "text": lambda row: bool(Combination.named(row["name"]).text),
        "fresh": lambda row: row["name"] in FRESH,
    }
    lines = ["| predictor | " + " | ".join(groups) + " |", "|---" * (len(groups) + 1) + "|"]
    for name in ("expected", "link", "pilot", "teacher"):
        cells = [_rho([row for row in rows if keep(row)], name) for keep in groups.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _rho(rows: Sequence[dict[str, Any]], name: str) -> str:
    pairs = np.array([(row[name], row["gain"]) for row in rows if np.isfinite(row[name])])
    if len(pairs) < 5 or len(set(pairs[:, 0])) < 3:
        return "-"
    rng = np.random.default_rng(0)
    samples = [pairs[rng.integers(len(pairs), size=len(pairs))] for _ in range(N_BOOT)]
    drawn = [spearmanr(*sample.T)[0] for sample in samples if (np.ptp(sample, axis=0) > 0).all()]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    error = "" if name == "teacher" else f", error {np.abs(pairs[:, 0] - pairs[:, 1]).mean():.1f}"
    return f"{spearmanr(*pairs.T)[0]:+.2f} [{low:+.2f}, {high:+.2f}]{error} ({len(pairs)})"


def confusion(rows: Sequence[dict[str, Any]]) -> str:
    """Each diagnosis (one a seed) against the mean gain of its combination."""
    lines = [
        "| verdict | gain of 2 or more | within 2 | loss of 2 or more | largest gain |",
        "|---|---|---|---|---|",
    ]
    for verdict in VERDICTS:
        gains = np.array([row["gain"] for row in rows for said in row["verdicts"] if said == verdict])
        if len(gains):
            lines.append(
                f"| {verdict} | {(gains >= THRESHOLD).sum()} | {(abs(gains) < THRESHOLD).sum()} | "
                f"{(gains <= -THRESHOLD).sum()} | {gains.max():+.1f} |"
            )
    return "\n".join(lines) + "\n"


def halves(rows: Sequence[dict[str, Any]], times: int = 200) -> str:
    """Error of a line fitted on a random half and judged on the other; of a constant, the half's mean."""
    rng = np.random.default_rng(0)
    lines = ["| predictor | error in the other half | as it is | a constant |", "|---|---|---|---|"]
    for name in ("expected", "teacher"):
        pairs = np.array([(row[name], row["gain"]) for row in rows if np.isfinite(row[name])])
        found = []
        for _ in range(times):
            order = rng.permutation(len(pairs))
            fitted, judged = pairs[order[: len(pairs) // 2]], pairs[order[len(pairs) // 2 :]]
            slope, offset = np.polyfit(*fitted.T, 1)
            guesses = (slope * judged[:, 0] + offset, judged[:, 0], np.full(len(judged), fitted[:, 1].mean()))
            found.append([np.abs(guess - judged[:, 1]).mean() for guess in guesses])
        line, plain, constant = np.mean(found, axis=0)
        lines.append(f"| {name} | {line:.1f} | {plain:.1f} | {constant:.1f} |")
    return "\n".join(lines) + "\n"


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Every combination."""
    lines = [
        "| combination | gain | expected | link | pilot | verdict | reasons |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda row: -row["gain"]):
        expected = f"{row['expected']:+.0f} [{row['low']:+.0f}, {row['high']:+.0f}]"
        verdicts = ", ".join(dict.fromkeys(row["verdicts"]))
        lines.append(
            f"| {row['name']} | {row['gain']:+.1f} | {expected} | {row['link']:+.0f} | {row['pilot']:+.0f} | "
            f"{verdicts} | {', '.join(row['reasons']).replace('_', ' ')} |".replace("+nan", "-").replace(
                "nan", "-"
            )
        )
    return "\n".join(lines) + "\n"


def scatter(rows: Sequence[dict[str, Any]], size: int = 520) -> str:
    """Diagnosed (across, with its interval) and realised gain (up); a colour for each kind of link."""
    colours = {"p": "#4c72d9", "b": "#d9720b", "c": "#6f7d8f", "u": "#6f7d8f"}
    names = {"p": "pairs", "b": "bags", "c": "labels only or nothing"}
    known = [row for row in rows if np.isfinite(row["expected"])]
    low, high = -12.0, max(45.0, *(max(row["gain"], row["high"]) for row in known)) + 3

    def x(value: float) -> float:
        return 60 + (value - low) / (high - low) * (size - 80)

    def y(value: float) -> float:
        return size - 50 - (value - low) / (high - low) * (size - 80)

    style = (
        "text{font:12px system-ui,sans-serif;fill:#333}.g{stroke:#bbb;stroke-width:.5}.card{fill:#fff}"
        "@media(prefers-color-scheme:dark){.card{fill:#161618}text{fill:#ddd}.g{stroke:#555}}"
    )
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" role="img" '
        'aria-label="Diagnosed against realised gains in points of accuracy">',
        f'<style>{style}</style><rect class="card" width="{size}" height="{size}"/>',
    ]
    for value in range(-10, int(high), 10):
        out.append(
            f'<line class="g" x1="{x(value):.1f}" x2="{x(value):.1f}" y1="{y(low):.1f}" y2="{y(high):.1f}"/>'
        )
        out.append(
            f'<line class="g" y1="{y(value):.1f}" y2="{y(value):.1f}" x1="{x(low):.1f}" x2="{x(high):.1f}"/>'
        )
        out.append(f'<text x="{x(value):.1f}" y="{size - 32}" text-anchor="middle">{value}</text>')
        out.append(f'<text x="52" y="{y(value) + 4:.1f}" text-anchor="end">{value}</text>')
    out.append(
        f'<line x1="{x(low)}" y1="{y(low)}" x2="{x(high)}" y2="{y(high)}" stroke="#888" stroke-dasharray="4 4"/>'
    )
    for row in known:
        c = Combination.named(row["name"])
        colour, at = colours[c.kind], f'cx="{x(row["expected"]):.1f}" cy="{y(row["gain"]):.1f}"'
        low_x, high_x, row_y = x(max(low, row["low"])), x(row["high"]), y(row["gain"])
        out.append(
            f'<line x1="{low_x:.1f}" x2="{high_x:.1f}" y1="{row_y:.1f}" y2="{row_y:.1f}" stroke="{colour}" '
            'opacity=".35"/>'
        )
        fill = f'fill="{colour}"' if not c.text else f'fill="none" stroke="{colour}" stroke-width="1.8"'
        out.append(f'<circle {at} r="4" {fill}><title>{row["name"]}</title></circle>')
    for place, (kind, name) in enumerate(names.items()):
        out.append(f'<circle cx="76" cy="{28 + 18 * place}" r="4" fill="{colours[kind]}"/>')
        out.append(f'<text x="86" y="{32 + 18 * place}">{name}</text>')
    out.append('<text x="86" y="86">open: emoji and glyphs</text>')
    out.append(f'<text x="{size / 2}" y="{size - 10}" text-anchor="middle">diagnosed gain, points</text>')
    out.append(
        f'<text transform="translate(16 {size / 2}) rotate(-90)" text-anchor="middle">realised gain, points</text>'
    )
    return "\n".join([*out, "</svg>"]) + "\n"
