"""Write docs/systems.md from the registry of systems: ``python docs/write_systems.py [--list METHODS.md] [--check]``.

With ``--list``, rows and names are compared with a list of systems: a Markdown table whose first two columns are row
and short name. With ``--check`` nothing is written: the exit code says whether the page is up to date.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from limbeck.methods.systems import System, state_counts, systems

PAGE = Path(__file__).with_name("systems.md")
TOP = """# Published systems

This page is written by `docs/write_systems.py` from `src/limbeck/methods/systems.json`; `limbeck methods --systems`
prints the same lines. What a state means:

- **works**: its formulas were checked, against the paper or the authors' code; the test that is named runs it from
  files to a shipped student that predicts, and fails when its defining term is set to zero. Of a system that distils
  nothing (a model, a metric), the test is a stand-in: a small thing with the same interface.
- **parts**: some of what it needs is here; the remark says what is missing. A preset named there is what there is of
  it, not the system. A formula that could not be checked keeps its row here, and its remark and docstring say so.
- **no**: not scheduled.
- **out of scope**: the remark says why.

No state says that a system helps: that is for [a comparison](compare.md) with its controls to show.
"""


def page(of: tuple[System, ...] | None = None) -> str:
    """The page as text."""
    of = systems() if of is None else of
    numbered, named = [s for s in of if s.row], [s for s in of if not s.row]
    counts = ", ".join(f"{n} {state}" for state, n in state_counts(tuple(numbered)).items())
    others = ", ".join(f"{n} {state}" for state, n in state_counts(tuple(named)).items() if n)
    parts = [TOP, f"## The {len(numbered)} rows\n\n{counts}.\n", table(numbered, "row")]
    parts += [f"## Asked for by name\n\nSystems without a row of their own: {others}.\n", table(named, "")]
    return "\n".join(parts)


def table(of: Iterable[System], first: str) -> str:
    """A Markdown table, with the column ``row`` or without."""
    columns = [*([first] if first else []), "system", "what it does", "state", "method", "test", "remark"]
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    for s in of:
        test = f"`{s.test.removeprefix('tests/')}`" if s.test else ""
        cells = [s.name, s.what, s.state, f"`{s.preset}`" if s.preset else "", test, s.remark]
        lines.append(f"| {' | '.join([*([s.row] if first else []), *cells])} |")
    return "\n".join(lines) + "\n"


def listed(text: str) -> dict[str, str]:
    """Row to short name, of a table whose lines start with ``| 12 | NAME |``."""
    found = re.findall(r"^\| (A|U|\d+) \| (.+?)(?: †)? \| .* \| [MDEAS] \|", text, flags=re.MULTILINE)
    return dict(found)


def differences(text: str) -> list[str]:
    """Sentences on what a list and the registry say differently; empty where they agree."""
    theirs, ours = listed(text), {s.row: s.name for s in systems() if s.row}
    said = [
        f"Row {row} ({theirs[row]}) is in the list and not in the registry."
        for row in theirs
        if row not in ours
    ]
    said += [
        f"Row {row} ({ours[row]}) is in the registry and not in the list."
        for row in ours
        if row not in theirs
    ]
    both = [row for row in ours if row in theirs and ours[row] != theirs[row]]
    return said + [f"Row {row} is {ours[row]!r} here and {theirs[row]!r} in the list." for row in both]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write docs/systems.md from the registry of systems.")
    parser.add_argument("--list", type=Path, help="a list of systems to compare rows and names with")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit code 1 if the page is not up to date"
    )
    values = parser.parse_args(arguments)
    wrong = [] if values.list is None else differences(values.list.read_text(encoding="utf-8"))
    if values.check and (not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != page()):
        wrong.append(f"{PAGE.name} is not what the registry says; run python docs/write_systems.py.")
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    if not values.check:
        PAGE.write_text(page(), encoding="utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
