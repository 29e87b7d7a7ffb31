"""The example of docs/adding_a_method.md is a method that trains."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from limbeck.banks.bank import Bank
from limbeck.methods import registry


def test_the_example_trains(
    toy: ModuleType, bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (Path(__file__).parents[2] / "docs" / "adding_a_method.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert code is not None
    module = ModuleType("limbeck.methods.rankkd")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(registry.METHODS, "rankkd", "limbeck.methods.rankkd:RankKD")
    exec(compile(code[1], "rankkd.py", "exec"), module.__dict__)
    run = toy.trainer("rankkd", tmp_path, bank, link="paired")
    run.train()
    logs = [entry for entry in run.state.log_history if "term/rank" in entry]
    assert logs[-1]["term/rank"] < logs[0]["term/rank"]
    assert run.terms.warnings == []
