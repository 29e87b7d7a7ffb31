"""A package of somebody else, as pip would leave it: code, and the entry points that register it."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest


def install(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: str, entry_points: dict[str, str]
) -> None:
    """Put ``name.py`` and its metadata on the path; ``entry_points``: ``GROUP:NAME`` to the class in the file."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / f"{name}.py").write_text(textwrap.dedent(code), encoding="utf-8")
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    lines = []
    for key, target in entry_points.items():
        group, _, entry = key.partition(":")
        lines += [f"[{group}]", f"{entry} = {name}:{target}"]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))
