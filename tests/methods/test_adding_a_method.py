"""The example of docs/adding_a_method.md is a method that trains."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from packages import install

from limbeck.banks.bank import Bank
from limbeck.cli import main
from limbeck.errors import ConfigError, UnknownNameError
from limbeck.methods import registry


def test_the_example_trains(
    toy: ModuleType, bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (Path(__file__).parents[2] / "docs" / "adding_a_method.md").read_text(encoding="utf-8")
    (code,) = (
        block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "RankKD(Method)" in block
    )
    module = ModuleType("limbeck.methods.rankkd")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(registry.METHODS, "rankkd", "limbeck.methods.rankkd:RankKD")
    exec(compile(code, "rankkd.py", "exec"), module.__dict__)
    run = toy.trainer("rankkd", tmp_path, bank, link="paired")
    run.train()
    logs = [entry for entry in run.state.log_history if "term/rank" in entry]
    assert logs[-1]["term/rank"] < logs[0]["term/rank"]
    assert run.terms.warnings == []


def test_a_method_of_another_package(
    toy: ModuleType,
    bank: Bank,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The same file in a package of its own, registered by an entry point."""
    text = (Path(__file__).parents[2] / "docs" / "adding_a_method.md").read_text(encoding="utf-8")
    (code,) = (
        block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "RankKD(Method)" in block
    )
    install(tmp_path / "site", monkeypatch, "ranked", code, {"limbeck.methods:rankkd": "RankKD"})
    assert "rankkd" in registry.method_names()
    with pytest.raises(UnknownNameError, match="did you mean 'rankkd'"):
        registry.method_class("rankd")
    with pytest.raises(ConfigError, match=r"Setting 'margin' of method 'rankkd' must lie in \[0, inf\)"):
        registry.method_config("rankkd", {"margin": -1})
    assert main(["methods"]) == 0
    assert "rankkd" in capsys.readouterr().out
    assert main(["methods", "rankkd"]) == 0
    assert "One sentence that says what it does." in capsys.readouterr().out
    run = toy.trainer("rankkd", tmp_path, bank, link="paired")
    run.train()
    assert any("term/rank" in entry for entry in run.state.log_history)
