"""The list of systems, the page made from it, the methods and the tests say the same."""

from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from limbeck import cli
from limbeck.errors import ConfigError
from limbeck.methods.cards import all_cards
from limbeck.methods.registry import plan_method
from limbeck.methods.systems import STATES, System, state_counts, systems

ROOT = Path(__file__).parents[2]
SYSTEMS = systems()


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_systems", ROOT / "docs" / "write_systems.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_row_has_one_line() -> None:
    rows = [system.row for system in SYSTEMS if system.row]
    assert rows == ["A", "U", *map(str, range(1, 187))]
    assert len({system.name for system in SYSTEMS if not system.row}) == len(SYSTEMS) - len(rows)


@pytest.mark.parametrize("system", [s for s in SYSTEMS if s.preset], ids=lambda s: s.name)
def test_what_serves_it_loads(system: System) -> None:
    assert plan_method(system.preset).declared is not None


@pytest.mark.parametrize("system", [s for s in SYSTEMS if s.test], ids=lambda s: s.name)
def test_its_test_is_there(system: System) -> None:
    file, _, function = system.test.partition("::")
    found = [n.name for n in ast.parse((ROOT / file).read_text()).body if isinstance(n, ast.FunctionDef)]
    tests = [name for name in found if name.startswith("test_")]
    assert tests, "a file without a test"
    assert not function or function in tests


def test_a_row_that_works_is_named_by_its_test() -> None:
    """And a test of a row is of one that works, or of the part of it that is there."""
    for system in SYSTEMS:
        if system.state == "works" and system.row.isdigit() and "/test_row_" in system.test:
            assert f"test_row_{int(system.row):03d}.py" in system.test
    named = {system.test.partition("::")[0] for system in SYSTEMS}
    files = {f"tests/systems/{path.name}" for path in (ROOT / "tests" / "systems").glob("test_*.py")}
    assert files <= named, files - named


def test_cards_and_rows_agree() -> None:
    """What a card calls its row names it, and a row with a test of its own is the row of what serves it."""
    rows = {card.name: str(card.row) for card in all_cards() if card.row is not None}
    served = {system.row: system.preset for system in SYSTEMS}
    assert {row: name for name, row in rows.items()} == {row: served[row] for row in rows.values()}
    assert {s.preset for s in SYSTEMS if "/test_row_" in s.test} <= rows.keys()


def test_the_page_is_written_from_the_list(writer: ModuleType) -> None:
    assert (ROOT / "docs" / "systems.md").read_text() == writer.page(), "run python docs/write_systems.py"


def test_a_list_is_compared_with_the_rows(writer: ModuleType) -> None:
    line = "| {} | {} † | what | M | works when | needs | 2 | no |"
    rows = {system.row: system.name for system in SYSTEMS if system.row}
    assert writer.differences("\n".join(line.format(*row) for row in rows.items())) == []
    del rows["7"]
    rows |= {"23": "RDK", "187": "New"}
    assert writer.differences("\n".join(line.format(*row) for row in rows.items())) == [
        "Row 187 (New) is in the list and not in the registry.",
        "Row 7 (CLIP-CID) is in the registry and not in the list.",
        "Row 23 is 'RKD' here and 'RDK' in the list.",
    ]


def test_the_rows_are_those_of_the_design(writer: ModuleType) -> None:
    page = ROOT.parent / "shared" / "METHODS.md"
    if not page.is_file():
        pytest.skip("the list of systems of the design is not beside this checkout")
    assert writer.differences(page.read_text()) == []


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"state": "wroks"}, "did you mean 'works'"),
        ({"state": "works"}, "'X' is said to work, and names no test"),
        ({"state": "parts"}, "'X' is 'parts', and no remark"),
    ],
)
def test_a_line_says_what_its_state_needs(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        System("1", "X", "does", **values)


def test_the_command_prints_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["methods", "--systems", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [set(line) for line in printed] == [{"row", "name", "state", "preset", "test", "remark"}] * len(
        SYSTEMS
    )
    assert cli.main(["methods", "rkd", "--systems"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("23   works         RKD; limbeck methods rkd; tests/systems/test_row_023.py")
    assert out.endswith("\n1 works\n")
    assert cli.main(["methods", "rdk", "--systems"]) == 2
    assert "No system is served by 'rdk'; did you mean 'rkd'" in capsys.readouterr().err
    assert set(state_counts(SYSTEMS)) == set(STATES)


def test_it_is_read_without_torch() -> None:
    code = (
        "import sys\nfrom limbeck import cli\nassert cli.main(['methods', '--systems']) == 0\n"
        "assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, stdout=subprocess.DEVNULL)
