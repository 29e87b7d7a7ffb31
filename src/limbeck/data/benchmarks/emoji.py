"""The data set emoji: names and keywords of emoji for the student, their pictures for the teacher."""

from __future__ import annotations

import functools
from collections import Counter
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from limbeck.data.benchmarks.image_text import ImageTexts, Pairs, image_text_task
from limbeck.data.files.images import read_image
from limbeck.data.files.records import read_table, refuse_bad
from limbeck.data.task import Task
from limbeck.errors import ConfigError, DataError, UnknownNameError, nearest, some

EmojiTask = Literal["dominant_color", "group", "subgroup"]
EmojiText = Literal["name_keywords", "name", "keywords"]
_COLUMNS = ("file", "codepoints", "name", "keywords", "group", "subgroup", "dominant_color", "split")
EMOJI_ROLES = {"train": "train", "val": "validation", "test": "test"}


def emoji(
    folder: str | Path | None = None,
    task: EmojiTask = "dominant_color",
    *,
    text: EmojiText = "name_keywords",
    labels_per_class: int | None = 10,
    pairs: Pairs = "all",
    image_size: int = 36,
    seed: int = 0,
) -> Task:
    """The task of teaching a reader of emoji names what their pictures show.

    Args:
        folder: holds ``emoji.csv`` and the pictures that it names.
        task: ``dominant_color`` (11 colours, computed from the picture: sight helps), ``group`` (9) or ``subgroup``
            (99), which the words tell better than the picture does.
        text: what the student reads: ``name`` ("red apple"), ``keywords`` ("apple, fruit, red"; one text may then
            stand for several emoji) or both ("red apple: fruit, ...").
        labels_per_class, pairs, seed: see :func:`~limbeck.data.benchmarks.image_text.image_text_task`.
        image_size: height and width of the pictures, which are 72 in the files.

    Returns: texts in ``splits``, RGB pictures ``[N, 3, image_size, image_size]`` in ``teacher_splits``. Training,
        validation and test rows are those of the CSV's ``split`` column.

    Raises: DataError for a wrong folder, a CSV without a column, a missing or broken picture; UnknownNameError and
        ConfigError for wrong settings.

    Source: Noto Color Emoji (pictures), Unicode CLDR (names, keywords), emoji-test.txt (groups).
    """
    if task not in get_args(EmojiTask):
        raise UnknownNameError(f"emoji has no task {task!r}; {nearest(task, get_args(EmojiTask))}")
    if text not in get_args(EmojiText):
        raise UnknownNameError(f"emoji has no text={text!r}; {nearest(text, get_args(EmojiText))}")
    if image_size < 8:
        raise ConfigError(f"image_size={image_size} must be at least 8 pixels.")
    if folder is None:
        raise ConfigError(
            "The data set emoji is read from a folder; set folder to the one that holds emoji.csv."
        )
    root = Path(folder).expanduser()
    table = root / "emoji.csv"
    rows = emoji_rows(table)
    things = ImageTexts(
        keys=[row["codepoints"] for row in rows],
        texts=[_text(row, text) for row in rows],
        classes=[row[task] for row in rows],
        pictures=emoji_pictures(
            root, tuple(row["file"] for row in rows), image_size, table.stat().st_mtime_ns
        ),
        roles=[EMOJI_ROLES[row["split"]] for row in rows],
    )
    facts = {"origin": "Noto Color Emoji, Unicode CLDR", "task": task, "text": text}
    return image_text_task(
        f"emoji {task}", things, labels_per_class=labels_per_class, pairs=pairs, seed=seed, info=facts
    )


def emoji_rows(table: Path) -> list[dict[str, str]]:
    """The lines of ``emoji.csv``, checked; DataError where it is missing or broken."""
    if not table.is_file():
        raise DataError(f"{table} does not exist; give the folder that holds emoji.csv and its pictures.")
    found = read_table(table)
    refuse_bad(found.bad, len(found.records) + len(found.bad), str(table), "error", may_skip=False)
    if absent := [column for column in _COLUMNS if column not in found.columns]:
        raise DataError(f"{table} lacks the columns {some(absent)}; is it the right emoji.csv?")
    for record in found.records:
        line = record.place.partition(" of ")[0]
        empty = [column for column in _COLUMNS if not record.cells[column]]
        if empty:
            raise DataError(f"{table}, {line}: nothing in the columns {some(empty)}; mend the line.")
        if record.cells["split"] not in EMOJI_ROLES:
            raise DataError(
                f"{table}, {line}: split {record.cells['split']!r} is none of {some(EMOJI_ROLES)}."
            )
    rows = [record.cells for record in found.records]
    counts = Counter(row["codepoints"] for row in rows)
    if twice := sorted(key for key, count in counts.items() if count > 1):
        raise DataError(f"{table} holds these codepoints more than once: {some(twice)}; drop the copies.")
    return rows


def _text(row: dict[str, str], text: EmojiText) -> str:
    name, keywords = row["name"], row["keywords"].split("|")
    if text == "name":
        return name
    if text == "keywords":
        return ", ".join(keywords)
    further = [word for word in keywords if word != name]
    return f"{name}: {', '.join(further)}" if further else name


@functools.lru_cache(maxsize=2)  # one comparison makes the task once an arm and seed
def emoji_pictures(root: Path, files: tuple[str, ...], size: int, changed: int) -> Tensor:
    """``[N, 3, size, size]`` float32 in 0 to 1; ``changed`` makes a new table be read anew."""
    if absent := [file for file in files if not (root / file).is_file()]:
        raise DataError(f"{root} lacks {len(absent)} pictures that emoji.csv names: {some(absent)}.")
    return torch.stack([read_image(root / file, (size, size), channels=3) for file in files])
