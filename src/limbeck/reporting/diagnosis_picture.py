"""The diagnosis as one plot, an SVG without any other file: the parts of the expected gain and their intervals."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

from limbeck.evaluation.diagnosis.expectation import THRESHOLD, Gain
from limbeck.evaluation.diagnosis.outcome import Diagnosis, points

WIDTH, ROW, LEFT, RIGHT, TOP = 760, 44, 220, 40, 58
_STYLE = (
    "text{font:14px system-ui,sans-serif;fill:#222}.small{font-size:12px;fill:#666}.axis{stroke:#bbb}"
    ".bar{stroke-width:3}@media(prefers-color-scheme:dark){.card{fill:#161618}text{fill:#eee}.small{fill:#aaa}"
    ".axis{stroke:#555}}.card{fill:#fff}"
)
_COLOURS = {"expected gain": "#4c72d9", "by the link": "#0b98a3", "by the pilot": "#d9720b"}


def diagnosis_svg(d: Diagnosis) -> str:
    """The picture as text; names are escaped."""
    parts = {
        "expected gain": d.expectation.gain,
        "by the link": d.expectation.by_link,
        "by the pilot": d.expectation.by_pilot,
    }
    known = [gain for gain in parts.values() if gain is not None]
    low = min([-0.05, *(gain.low for gain in known)])
    high = max([0.05, d.room.headroom, *(gain.high for gain in known)])
    height = TOP + ROW * len(parts) + 54

    def x(value: float) -> float:
        return LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    title = f"The teacher {d.verdict}" if d.verdict != "cannot be told" else "It cannot be told"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(d.sentence, quote=True)}">',
        f"<style>{_STYLE}</style>",
        f'<rect class="card" width="{WIDTH}" height="{height}"/>',
        f'<text x="16" y="28" font-weight="600">{escape(title)}: {escape(d.task)}, {escape(d.link)}</text>',
        *_axis(x, low, high, height),
    ]
    for place, (name, gain) in enumerate(parts.items()):
        lines += _part(name, gain, x, TOP + ROW * place + ROW / 2)
    return "\n".join([*lines, "</svg>"]) + "\n"


def _axis(x: Callable[[float], float], low: float, high: float, height: int) -> list[str]:
    bottom = height - 46
    step = next(s for s in (0.02, 0.05, 0.1, 0.2, 0.5) if (high - low) / s <= 9)
    ticks = [
        step * k for k in range(round(low / step) - 1, round(high / step) + 2) if low <= step * k <= high
    ]
    lines = [
        f'<rect x="{x(min(0, low)):.1f}" y="{TOP - 8}" width="{x(THRESHOLD) - x(low):.1f}" height="{bottom - TOP + 8}" '
        'fill="#888" opacity="0.12"/>'
    ]
    for value in ticks:
        lines.append(
            f'<line class="axis" x1="{x(value):.1f}" x2="{x(value):.1f}" y1="{TOP - 8}" y2="{bottom}" '
            f'stroke-width="{1.5 if abs(value) < 1e-9 else 0.5}"/>'
        )
        lines.append(
            f'<text class="small" x="{x(value):.1f}" y="{bottom + 16}" text-anchor="middle">{points(value)}</text>'
        )
    lines.append(
        f'<text class="small" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{bottom + 34}" text-anchor="middle">'
        "points of accuracy over the student alone; grey: less than 2 points</text>"
    )
    return lines


def _part(name: str, gain: Gain | None, x: Callable[[float], float], y: float) -> list[str]:
    label = f'<text x="16" y="{y + 5:.1f}">{name}</text>'
    if gain is None:
        return [label, f'<text class="small" x="{LEFT}" y="{y + 5:.1f}">cannot be told</text>']
    colour = _COLOURS[name]
    return [
        label,
        f'<line class="bar" stroke="{colour}" x1="{x(gain.low):.1f}" x2="{x(gain.high):.1f}" y1="{y}" y2="{y}"/>',
        f'<circle cx="{x(gain.estimate):.1f}" cy="{y}" r="6" fill="{colour}"/>',
        f'<text class="small" x="{LEFT - 8}" y="{y + 5:.1f}" text-anchor="end">{points(gain.estimate)}</text>',
    ]
