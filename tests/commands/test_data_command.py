"""limbeck data: what there is, and the settings of one."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys

from limbeck import cli
from limbeck.data.cards import all_cards
from limbeck.data.own.own_data import own_data
from limbeck.data.own.sides.side import Side


def test_settings_are_those_of_the_function(capsys):
    assert cli.main(["data", "own", "--json"]) == 0
    (card,) = json.loads(capsys.readouterr().out)
    assert list(card["settings"]) == list(inspect.signature(own_data).parameters)
    assert card["settings"]["student"] is None  # needed
    assert cli.main(["data", "own"]) == 0
    said = capsys.readouterr().out
    assert all(f"    {name}" in said or f", {name}" in said for name in Side.__dataclass_fields__)
    assert "`" not in said


def test_every_data_set_has_a_card(capsys):
    assert cli.main(["data"]) == 0
    said = capsys.readouterr().out
    for card in all_cards():
        assert card.summary.endswith(".")
        assert card.name in said


def test_a_wrong_name(capsys):
    assert cli.main(["data", "ovn"]) == 2
    assert "did you mean 'own'" in capsys.readouterr().err


def test_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "limbeck", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("limbeck ")
