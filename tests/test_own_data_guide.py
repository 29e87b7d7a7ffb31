"""The walks of docs/own_data.md run as printed: files are made, commands called, and the student answers."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from limbeck.cli import main

GUIDE = Path(__file__).parents[1] / "docs" / "own_data.md"


def blocks(section: str) -> list[tuple[str, str]]:
    text = GUIDE.read_text(encoding="utf-8").partition(f"## {section}")[2].partition("\n## ")[0]
    return re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("section", "recipe"), [("A table and photos", "products.yaml"), ("Recordings, and", "recordings.yaml")]
)
def test_a_walk_runs_as_printed(section, recipe, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for kind, text in blocks(section):
        if kind == "python":
            exec(compile(text, str(GUIDE), "exec"), {})
        elif kind == "yaml":
            Path(recipe).write_text(text)
        else:
            for line in text.strip().splitlines():
                program, *arguments = shlex.split(line)
                assert program == "limbeck"
                assert main(arguments) == 0, capsys.readouterr().err
    rows = json.loads((tmp_path / "runs" / Path(recipe).stem / "metrics.json").read_text())["rows"]
    test = {row["metric"]: row["value"] for row in rows if row["split"] == "test"}
    assert test["accuracy"] > 0.6  # a third by chance
    if recipe == "products.yaml":
        code = blocks("In Python")[0][1]
        exec(compile(code, str(GUIDE), "exec"), {})
        assert "training rows have no row of the teacher" in capsys.readouterr().out


def test_the_guide_says_what_there_is():
    from limbeck.data.own.side import MODALITIES
    from limbeck.signals.links.choose import LINKS

    said = GUIDE.read_text(encoding="utf-8")
    assert all(f"| `{name}`" in said for name in (*MODALITIES, *LINKS))
