"""The published systems, and what each of them has here; data, read without torch.

One line a system in ``systems.json``: it is the home of the table ``docs/systems.md`` and of
``limbeck methods --systems``.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from limbeck.errors import ConfigError, nearest

FILE = Path(__file__).with_name("systems.json")
STATES = ("works", "parts", "no", "out of scope")
SHOWN = ("row", "name", "state", "preset", "test", "remark")


@dataclass(frozen=True)
class System:
    """A published system.

    Args:
        row: its line in the list of 188 (``A``, ``U``, ``1`` to ``186``); empty for one that is asked for by name.
        name: the short name that its readers use.    what: what it does, in a line.
        state: ``works``: a test runs it to a shipped student, and fails when its defining term is set to zero;
            ``parts``: ``remark`` says what is missing; ``no``: not scheduled; ``out of scope``: ``remark`` says why.
        preset: the method or preset that is it (``limbeck methods NAME``), or that serves it; empty without.
        test: the file, or ``FILE::FUNCTION``, that shows it; empty without.
    """

    row: str
    name: str
    what: str
    state: str
    preset: str = ""
    test: str = ""
    remark: str = ""

    def __post_init__(self) -> None:
        if self.state not in STATES:
            raise ConfigError(f"A system is in no state {self.state!r}; {nearest(self.state, STATES)}")
        if self.state == "works" and not self.test:
            raise ConfigError(f"The system {self.name!r} is said to work, and names no test of it.")
        if self.state in ("parts", "out of scope") and not self.remark:
            raise ConfigError(f"The system {self.name!r} is {self.state!r}, and no remark says what or why.")

    def shown(self) -> dict[str, str]:
        """What is printed of it."""
        return {name: value for name, value in asdict(self).items() if name in SHOWN}


@cache
def systems() -> tuple[System, ...]:
    """All of them: the two main works, the numbered rows, and those without a row, by name."""
    return tuple(System(**values) for values in json.loads(FILE.read_text(encoding="utf-8")))


def state_counts(of: tuple[System, ...]) -> dict[str, int]:
    """How many are in each state, in the order of ``STATES``."""
    counts = Counter(system.state for system in of)
    return {state: counts[state] for state in STATES}
