"""A network of one's own, by every command that trains: refused unless --trust-code is given."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from raw_files import write_csv

from limbeck.cli import main

NET = """
from torch import nn

def make(n_classes, width=4):
    return nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, n_classes))
"""
DATA = {"source": "n.csv", "modality": "table", "label": "found"}
RECIPE = {
    "data": {"name": "own", "config": {"student": DATA, "link": "paired"}},
    "student": {"model": "my_small_net:make"},
    "teacher": {"bank": "bank"},
    "method": {"name": "kd"},
    "training": {"max_steps": 2, "n_labelled": 4, "n_unlabelled": 4},
    "output_dir": "run",
}
CHAIN = {
    "base": RECIPE,
    "stages": {"first": {"method.name": "supervised"}, "second": {"student.init": "stage:first"}},
}
COMMANDS = {
    "chain": ["--config", "chain.yaml"],
    "compare": ["--config", "recipe.yaml", "--seeds", "1", "--controls", "none", "--output", "compared"],
    "diagnose": ["--config", "recipe.yaml", "--no-training"],
}


@pytest.fixture
def own_net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table, a bank of its rows, a network, a recipe and a chain, where one starts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "my_small_net", raising=False)
    write_csv(Path("n.csv"), ("id", "a", "b", "found"), [(i, i % 7, i % 2, "xy"[i % 2]) for i in range(60)])
    rows = np.eye(2, dtype=np.float32)[np.arange(60) % 2] * 3
    np.savez("said.npz", keys=np.arange(60), features=rows, logits=rows)
    arguments = ["--logits", "logits", "--features", "features", "--class-names", "x,y", "--output", "bank"]
    assert main(["bank", "import", "said.npz", *arguments]) == 0
    Path("my_small_net.py").write_text(NET)
    Path("recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    Path("chain.yaml").write_text(yaml.safe_dump(CHAIN))
    return tmp_path


@pytest.mark.parametrize("command", ["compare", "diagnose", pytest.param("chain", marks=pytest.mark.full)])
def test_its_code_runs_only_where_somebody_said_so(command, own_net, capsys):
    assert main([command, *COMMANDS[command]]) == 2
    assert "pass --trust-code" in capsys.readouterr().err
    assert "my_small_net" not in sys.modules
    assert main([command, *COMMANDS[command], "--trust-code"]) == 0, capsys.readouterr().err


@pytest.mark.full
def test_the_leave_reaches_the_processes_of_a_comparison(own_net, capsys):
    arguments = [*COMMANDS["compare"], "--seeds", "2", "--jobs", "2", "--trust-code"]
    assert main(["compare", *arguments]) == 0, capsys.readouterr().err
