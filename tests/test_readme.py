"""The README: its Python example runs as printed (with fewer steps), its picture and its tables are those of
scripts, and what it points at is there."""

import importlib.util
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look for it there
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_python_example_runs(tmp_path, monkeypatch, capsys):
    block = re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert block is not None
    code = block.group(1)
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    monkeypatch.chdir(tmp_path)
    exec(compile(code.replace('"max_steps": 240', '"max_steps": 20'), str(README), "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed] == ["none", "shuffled"]


def test_the_picture_is_drawn_from_the_table():
    drawing = script("readme_picture")
    lines = drawing.lines_of(TEXT)
    svg = (ROOT / "docs" / "links.svg").read_text(encoding="utf-8")
    assert svg == drawing.picture(lines), "run python benchmarks/readme_picture.py"
    shown = [element.text for element in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert len(lines) == 9
    assert {line.name for line in lines} | {f"{line.mean:.1f}" for line in lines} <= set(shown)
    assert "accuracy on test takes, %" in shown
    assert {"0", "20", "100"} <= set(shown)


def test_the_table_of_peers_is_the_one_that_the_script_checks():
    peers = script("peers")
    assert peers.differences(TEXT) == []
    assert peers.differences(TEXT.replace("its own vLLM server", "yes")) != []
    bags = {name: {f"{name}/x.py": "num_items_in_batch bags of"} for name in peers.PEERS}
    assert any("bags" in line for line in peers.refuted(bags))


def test_it_can_be_read_anywhere_and_points_at_what_there_is():
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    home = re.search(r'^Homepage = "(.*)"$', pyproject, re.MULTILINE).group(1)
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", TEXT)
    assert all(target.startswith("https://") for target in targets)
    raw = home.replace("github.com", "raw.githubusercontent.com") + "/main/"
    places = [t.removeprefix(f"{home}/blob/main/").removeprefix(raw) for t in targets]
    assert len(places) > 15
    assert [place for place in places if not (ROOT / place).exists()] == []


def test_two_screens_before_the_details():
    before = TEXT.partition("# In detail")[0].splitlines()
    assert len(before) < 80
    assert len(before[3 - 1 : 8]) == 6  # what it is for: five lines and a blank one
    assert before[2].startswith("Limbeck distils")
    assert before[7] == ""
