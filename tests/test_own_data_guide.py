"""docs/own_data.md names what there is, and its example in Python runs."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image
from raw_files import write_csv

GUIDE = Path(__file__).parents[1] / "docs" / "own_data.md"


def test_the_guide_says_what_there_is():
    from limbeck.data.own.sides.side import MODALITIES
    from limbeck.signals.links.choose import LINKS

    said = GUIDE.read_text(encoding="utf-8")
    assert all(f"| `{name}`" in said for name in (*MODALITIES, *LINKS))


def test_the_example_in_python_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = [(f"A{i}", f"a cup {i}", "xy"[i % 2]) for i in range(40)]
    write_csv(Path("products.csv"), ("sku", "title", "category"), rows)
    Path("photos").mkdir()
    for i in range(0, 40, 3):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(f"photos/A{i}.png")
    code = re.search(r"## In Python\n.*?```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert code is not None
    exec(compile(code[1], str(GUIDE), "exec"), {})
    assert "training rows have no row of the teacher" in capsys.readouterr().out
