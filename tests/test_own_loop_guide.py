"""The examples of docs/own_loop.md run as printed, one after the other, and are as short as they are said to be."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

GUIDE = Path(__file__).parents[1] / "docs" / "own_loop.md"
SECTIONS = ("A loss and a bank", "A whole method", "Lightning", "transformers.Trainer")


def code_of(heading: str | None) -> str:
    text = GUIDE.read_text(encoding="utf-8")
    part = text.partition("\n## ")[0] if heading is None else text.partition(f"## {heading}\n")[2]
    found = re.search(r"```python\n(.*?)```", part, re.DOTALL)
    assert found is not None
    return found[1]


def test_examples_are_short():
    for heading in SECTIONS:
        lines = [line for line in code_of(heading).splitlines() if line.strip()]
        assert len(lines) <= 15, heading


@pytest.mark.parametrize(
    "heading",
    [*SECTIONS[:2], pytest.param("Lightning", marks=pytest.mark.full), "transformers.Trainer"],
)
def test_an_example_teaches(heading, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(code_of(None), str(GUIDE), "exec"), names)
    exec("from limbeck import Distillation", names)
    exec(compile(code_of(heading), str(GUIDE), "exec"), names)
    right = (names["net"](names["clips"]).argmax(1) == names["classes"]).float().mean()
    assert right > 0.6  # a third by chance
