"""A small stand-in for the emoji data set: plain pictures with names, keywords and groups."""

from __future__ import annotations

from pathlib import Path

from raw_files import write_csv

# name, keywords, group, split, colour
EMOJI = [
    ("dog face", "dog|face|pet", "Animals", "train", (120, 70, 20)),
    ("cat face", "cat|face|pet", "Animals", "val", (200, 120, 40)),
    ("tiger", "tiger", "Animals", "test", (250, 150, 0)),
    ("flag: Iraq", "flag", "Flags", "train", (200, 0, 0)),
    ("flag: United States", "flag", "Flags", "test", (0, 0, 200)),
    ("city", "city|building", "Places", "train", (90, 90, 90)),
    ("running shoe", "run|running shoe|shoe", "Places", "train", (0, 160, 60)),
]


def emoji_folder(folder: Path) -> Path:
    from PIL import Image

    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows = []
    for number, (name, keywords, group, split, colour) in enumerate(EMOJI):
        Image.new("RGB", (72, 72), colour).save(folder / "images" / f"{number}.png")
        rows.append((f"images/{number}.png", f"1F{number}", name, keywords, group, group, "brown", split))
    header = ("file", "codepoints", "name", "keywords", "group", "subgroup", "dominant_color", "split")
    write_csv(folder / "emoji.csv", header, rows)
    return folder
