"""Damage a thing at random, use it as a run would, and count what came of it.

A :class:`Subject` is a thing that lies in files. Add one to ``SUBJECTS`` in ``subjects.py``, and it is damaged with the
others by ``run.py`` and by ``test_robust.py``.
"""

from __future__ import annotations

import random
import shutil
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from operator import eq
from pathlib import Path
from typing import Any

from robust.damage import DAMAGES, Damage

from limbeck.errors import LimbeckError

OUTCOMES = ("right", "named", "raw", "wrong")


def all_files(folder: Path) -> list[Path]:
    """What may be damaged: every file but locks, which hold nothing."""
    return [p for p in sorted(folder.rglob("*")) if p.is_file() and not p.name.endswith(".lock")]


@dataclass(frozen=True)
class Subject:
    """A thing that lies in files.

    Args:
        name: unique.
        make: ``make(folder, variant)`` writes it into an empty folder; variant 1 has the same shape and other content.
        read: uses it as a run does, with the checks at its start, and returns what it says.
        agrees: ``agrees(found, expected)``; default equality.
        files: those that are damaged.
        checked: False where damage may be read as right, because the check was left out on purpose.
    """

    name: str
    make: Callable[[Path, int], None]
    read: Callable[[Path], Any]
    agrees: Callable[[Any, Any], bool] = eq
    files: Callable[[Path], list[Path]] = all_files
    checked: bool = True


@dataclass
class Tally:
    """What came of damaging a subject: how many of each outcome, and what must not be, told so that it can be repeated.

    ``right``: the damage was mended, dropped, or did not matter.    ``named``: a sentence.
    ``raw``: another error.    ``wrong``: something else was read, and nothing said so.
    """

    subject: str
    counts: Counter[str] = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        counts = " ".join(f"{self.counts[name]:>8}" for name in OUTCOMES)
        return f"{self.subject:<34}{sum(self.counts.values()):>8} {counts}"


def damaged(
    subject: Subject,
    n: int,
    folder: Path,
    *,
    seed: int = 0,
    until: float = float("inf"),
    damages: Iterable[Damage] = DAMAGES,
) -> Tally:
    """Damage copies of a subject ``n`` times, each in one way.

    Args:
        folder: scratch.    until: ``time.monotonic()`` at which to stop, whatever ``n`` is.
    """
    whole, other, kinds = folder / "whole", folder / "other", list(damages)
    for place, variant in ((whole, 0), (other, 1)):
        place.mkdir(parents=True)
        subject.make(place, variant)
    tally, expected = Tally(subject.name), subject.read(copied(whole, folder / "first"))
    assert subject.agrees(subject.read(copied(whole, folder / "second")), expected), (
        "reading it does not repeat"
    )
    for trial in range(n):
        if time.monotonic() > until:
            break
        draw = random.Random(f"{subject.name} {seed} {trial}")
        place = copied(whole, folder / f"trial-{trial}")
        path, kind = draw.choice(subject.files(place)), draw.choice(kinds)
        kind(path, other / path.relative_to(place).parent, draw)
        outcome, told = used(subject, place, expected)
        tally.counts[outcome] += 1
        if outcome == "raw" or (outcome == "wrong" and subject.checked):
            tally.bad.append(
                f"{subject.name}, seed {seed}, trial {trial}: {kind.__name__} {path.name}: {told}"
            )
        shutil.rmtree(place)
    return tally


def used(subject: Subject, place: Path, expected: Any) -> tuple[str, str]:
    """The outcome, and what there is to tell of it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = subject.read(place)
    except LimbeckError as error:
        return "named", str(error)
    except Exception:
        return "raw", traceback.format_exc(limit=-3)
    return (
        ("right", "")
        if subject.agrees(found, expected)
        else ("wrong", "it was read, and is not what was written")
    )


def copied(source: Path, target: Path) -> Path:
    shutil.copytree(source, target)
    return target
