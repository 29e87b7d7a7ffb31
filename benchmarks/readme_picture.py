"""Draw docs/links.svg from the table of the README: ``python benchmarks/readme_picture.py``."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
_LEFT, _WIDTH, _TOP, _ROW = 300, 400, 84, 30
_STYLE = (
    'text{font-family:system-ui,-apple-system,"Segoe UI",sans-serif;fill:#24292f;font-size:13px}.t{font-size:17px;'
    "font-weight:600}.u{font-size:12.5px;fill:#57606a}.n{font-weight:600}.g{fill:#8c959f}.b{fill:#2f6fbb}"
    ".s{fill:#fff;stroke:#b35900;stroke-width:1.5}.e{stroke:#24292f}.a{stroke:#8c959f}.h{stroke:#d0d7de}"
    "@media (prefers-color-scheme:dark){text{fill:#e6edf3}.u{fill:#9da7b3}.b{fill:#5b9bea}.e{stroke:#e6edf3}"
    ".h{stroke:#3d444d}.s{fill:#0d1117}}"
)


@dataclass(frozen=True)
class Line:
    """A row of the table: accuracy in %, its deviation over seeds, and with the teacher shuffled (None: no teacher)."""

    name: str
    mean: float
    deviation: float
    shuffled: float | None


def lines_of(readme: str) -> list[Line]:
    """The rows of 240 steps in the table of links."""
    rows = re.findall(
        r"^\|(.*)\|$", readme.partition("| link | method |")[2].partition("\n\n")[0], re.MULTILINE
    )
    lines = []
    for row in rows[1:]:
        link, method, score, _, shuffled = [cell.strip() for cell in row.split("|")][:5]
        mean, deviation = map(float, score.split(" ± "))
        alone = lines[0].mean if lines else mean
        name = ", ".join(part for part in (link, method.replace("`", "")) if part)
        lines.append(Line(name, mean, deviation, alone + float(shuffled) if shuffled else None))
    return lines


def picture(lines: list[Line]) -> str:
    """The SVG: a bar with its deviation for each row, a mark where its teacher was shuffled, an axis in %."""

    def x(value: float) -> float:
        return round(_LEFT + _WIDTH * value / 100, 1)

    bottom = _TOP + _ROW * len(lines)
    parts = [
        '<text x="8" y="24" class="t">An image model teaches an audio model to hear spoken digits</text>',
        '<text x="8" y="44" class="u">2 labelled clips of each digit, 240 steps, 5 seeds</text>',
        '<text x="8" y="61" class="u">bar: mean; line: standard deviation; circle: with the teacher shuffled</text>',
    ]
    for tick in range(0, 101, 20):
        parts.append(f'<line x1="{x(tick)}" x2="{x(tick)}" y1="{_TOP - 6}" y2="{bottom}" class="h"/>')
        parts.append(f'<text x="{x(tick)}" y="{bottom + 18}" text-anchor="middle" class="u">{tick}</text>')
    for number, line in enumerate(lines):
        y = _TOP + _ROW * number
        low, high = x(line.mean - line.deviation), x(line.mean + line.deviation)
        kind = "g" if line.shuffled is None else "b"
        parts += [
            f'<text x="{_LEFT - 10}" y="{y + 15}" text-anchor="end">{html.escape(line.name)}</text>',
            f'<rect x="{_LEFT}" y="{y + 2}" width="{x(line.mean) - _LEFT:.1f}" height="17" rx="2" class="{kind}"/>',
            f'<line x1="{low}" x2="{high}" y1="{y + 10.5}" y2="{y + 10.5}" class="e"/>',
            *(
                f'<line x1="{end}" x2="{end}" y1="{y + 6.5}" y2="{y + 14.5}" class="e"/>'
                for end in (low, high)
            ),
            f'<text x="{high + 8}" y="{y + 15}" class="n">{line.mean:.1f}</text>',
        ]
        if line.shuffled is not None:
            parts.append(f'<circle cx="{x(line.shuffled)}" cy="{y + 10.5}" r="4.5" class="s"/>')
    axis = f'<line x1="{_LEFT}" x2="{_LEFT + _WIDTH}" y1="{bottom}" y2="{bottom}" class="a"/>'
    middle = f'x="{_LEFT + _WIDTH / 2}" y="{bottom + 36}" text-anchor="middle" class="u"'
    name = f"<text {middle}>accuracy on test takes, %</text>"
    said = "Accuracy of an audio student taught by an image teacher, by link and method"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 {bottom + 46}" role="img" aria-label="{said}">\n'
        f"<style>{_STYLE}</style>\n" + "\n".join([*parts, axis, name]) + "\n</svg>\n"
    )


def main() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (ROOT / "docs" / "links.svg").write_text(picture(lines_of(readme)), encoding="utf-8")


if __name__ == "__main__":
    main()
