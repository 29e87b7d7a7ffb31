"""Damage is a sentence or mended, and a kill loses nothing; ``run.py`` does the same at length."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from levels import some_of
from robust import damage
from robust.fuzz import Subject, damaged
from robust.kills import SCENARIOS, Scenario, killed
from robust.subjects import SUBJECTS

SUBJECT = {subject.name: subject for subject in SUBJECTS}
SCENARIO = {scenario.name: scenario for scenario in SCENARIOS}


@pytest.mark.parametrize(
    "name", some_of(SUBJECT, "bank that was built", "bank.json", "answers of a paid teacher")
)
def test_damage_is_never_read_as_right(name: str, tmp_path: Path) -> None:
    tally = damaged(SUBJECT[name], 25, tmp_path)
    assert not tally.bad, "\n".join(tally.bad)
    assert tally.counts["named"], "nothing was damaged enough to be noticed"


@pytest.mark.parametrize("name", some_of(SCENARIO, "arrays over another bank"))
def test_a_kill_loses_nothing(name: str, tmp_path: Path) -> None:
    n, lost = killed(SCENARIO[name], 3 if name == "training" else 8, tmp_path)
    assert not lost, "\n".join(lost)
    assert n > 0


# ---- the harness finds what there is to find ---------------------------------------------------------------


def lines(folder: Path, variant: int) -> None:
    (folder / "numbers.json").write_text(json.dumps([variant, 1, 2, 3, 4, 5, 6, 7, 8, 9] * 9))


def test_the_harness_counts_wrong_reads_and_raw_errors(tmp_path: Path) -> None:
    careless = Subject("careless", lines, lambda folder: json.loads((folder / "numbers.json").read_bytes()))
    tally = damaged(careless, 40, tmp_path)
    assert tally.counts["wrong"]
    assert tally.counts["raw"]
    assert len(tally.bad) == tally.counts["wrong"] + tally.counts["raw"]
    assert "numbers.json" in tally.bad[0]


def test_every_damage_changes_something(tmp_path: Path) -> None:
    import random

    for number, kind in enumerate(dict.fromkeys(damage.DAMAGES)):
        place, other = tmp_path / f"{number}", tmp_path / f"{number} other"
        for variant, folder in enumerate((place, other)):
            folder.mkdir()
            lines(folder, variant)
            (folder / "second").write_bytes(b"x" * 600)
        before = {p.name: p.read_bytes() for p in place.iterdir()}
        for trial in range(3):
            kind(place / "numbers.json", other, random.Random(trial))
            if kind is damage.gone:
                break
        assert {p.name: p.read_bytes() for p in place.iterdir()} != before, kind.__name__


def test_the_harness_sees_what_a_kill_loses(tmp_path: Path) -> None:
    def careless(folder: Path) -> None:
        (folder / "kept").unlink(missing_ok=True)  # what is there goes before what is new is there
        (folder / "kept").write_text("new")

    scenario = Scenario(
        "careless",
        lambda folder: (folder.mkdir(), (folder / "kept").write_text("old")),
        careless,
        lambda folder: (folder / "kept").read_text(),
        lambda folder: (folder / "kept").read_text(),
    )
    n, lost = killed(scenario, 6, tmp_path)
    assert n >= 6
    assert lost
