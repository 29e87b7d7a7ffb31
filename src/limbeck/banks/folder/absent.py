"""What is said where a bank should be and is none; without torch, as a recipe is checked before it is loaded."""

from __future__ import annotations

from pathlib import Path

from limbeck.errors import nearest

MANIFEST_FILE = "bank.json"


def no_bank(folder: Path) -> str:
    """The sentence, with the nearest name of a bank that lies there."""
    if not folder.is_dir():
        near = (
            sorted(p.parent.name for p in folder.parent.glob(f"*/{MANIFEST_FILE}"))
            if folder.parent.is_dir()
            else []
        )
        hint = f"{nearest(folder.name, near)}" if near else "check the path, or build it with Bank.build."
        return f"There is no bank at {folder}; {hint}"
    return f"The folder {folder} is no bank: it has no {MANIFEST_FILE}."
