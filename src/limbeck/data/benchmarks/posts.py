"""Hateful Memes and MM-IMDb from their own folders: the student reads the text, the teacher sees the picture.

Neither has been tried on the real set here: the layouts are those that their papers and releases describe.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from limbeck.data.own.own_data import own_data
from limbeck.data.task import Task
from limbeck.errors import DataError

# Hateful Memes: role to the files that may hold it, the first that is there with labels.
MEME_FILES: Mapping[str, tuple[str, ...]] = {
    "train": ("train",),
    "validation": ("dev_unseen",),
    "test": ("test_seen", "dev_seen", "dev"),
}
MEME_CLASSES = ("not_hateful", "hateful")
MOVIE_ROLES = {"train": "train", "dev": "validation", "test": "test"}
_READABLE = (".jpeg", ".jpg", ".png")


def hateful_memes(
    folder: str | Path,
    *,
    labels_per_class: int | None = None,
    size: Sequence[int] = (64, 64),
    validation_share: float = 0.1,
    seed: int = 0,
) -> Task:
    """Whether a meme is hateful, for a student that reads its words and a teacher that sees it.

    Args:
        folder: holds ``train.jsonl``, ``dev_seen.jsonl`` (or ``dev.jsonl``), perhaps ``dev_unseen.jsonl`` and
            ``test_seen.jsonl``, with ``id``, ``img``, ``label`` and ``text`` on each line, and the pictures named
            there.
        labels_per_class: labels that training keeps of each class, drawn by ``seed``; all by default.
        size: height and width of the teacher's pictures.
        validation_share: of the training rows, where there is no ``dev_unseen``.

    Returns: texts in ``splits``; ``test`` are the rows of ``test_seen`` where these have labels, else of ``dev_seen``.
        Pictures ``[3, *size]`` of every training row are what the teacher is asked about; it has no labels. The metric
        is accuracy; the challenge's AUROC is not computed.

    Raises: DataError naming file and line.
    Source: Kiela et al., The Hateful Memes Challenge, NeurIPS 2020, arXiv 2005.04790.
    """
    root = Path(folder).expanduser()
    rows: list[dict[str, Any]] = []
    for role, names in MEME_FILES.items():
        found = next((lines for name in names if (lines := _memes(root, name))), None)
        if found is None and role != "validation":
            raise DataError(
                f"{root} holds no {names[0]}.jsonl with labels; give the folder of Hateful Memes."
            )
        rows += [{**row, "split": role} for row in found or ()]
    return _task(
        "hateful_memes",
        root,
        rows,
        "classification",
        MEME_CLASSES,
        size,
        labels_per_class,
        validation_share,
        seed,
    )


def mm_imdb(
    folder: str | Path,
    *,
    labels_per_class: int | None = None,
    size: Sequence[int] = (64, 64),
    validation_share: float = 0.1,
    seed: int = 0,
) -> Task:
    """The genres of a film (several each), for a student that reads its plot and a teacher that sees its poster.

    Args:
        folder: holds ``split.json`` (``train``, ``dev``, ``test`` to film numbers) and ``dataset/`` with
            ``NUMBER.json`` (``plot``, of which the first is read, and ``genres``) and ``NUMBER.jpeg``.
        labels_per_class: how many training rows keep their genres, drawn by ``seed``; all by default.
        size: height and width of the teacher's pictures.

    Returns: texts in ``splits``, posters ``[3, *size]`` of every training row for the teacher. Genres that no training
        row has are left out of the other rows, as are films without one.

    Raises: DataError naming the file.
    Source: Arevalo et al., Gated Multimodal Units, arXiv 1702.01992.
    """
    root = Path(folder).expanduser()
    numbers = _json(root / "split.json")
    if not isinstance(numbers, Mapping) or any(role not in numbers for role in MOVIE_ROLES):
        raise DataError(f"{root / 'split.json'} must map {', '.join(MOVIE_ROLES)} to numbers of films.")
    rows = [
        {**_film(root / "dataset", str(number)), "split": role}
        for name, role in MOVIE_ROLES.items()
        for number in numbers[name]
    ]
    genres = sorted({genre for row in rows if row["split"] == "train" for genre in row["label"]})
    known = set(genres)
    kept = [{**row, "label": [g for g in row["label"] if g in known]} for row in rows]
    kept = [row for row in kept if row["label"]]
    return _task("mm_imdb", root, kept, "multilabel", genres, size, labels_per_class, validation_share, seed)


def _task(
    name: str,
    root: Path,
    rows: list[dict[str, Any]],
    problem: str,
    class_names: Sequence[str],
    size: Sequence[int],
    labels_per_class: int | None,
    validation_share: float,
    seed: int,
) -> Task:
    """The task of rows with ``key``, ``text``, ``image``, ``label`` and ``split``."""
    from datasets import Dataset

    table = Dataset.from_list(rows)
    text = {
        "source": table,
        "modality": "text",
        "input": "text",
        "key": "key",
        "label": "label",
        "split": "split",
    }
    seen = {
        "source": table,
        "modality": "image",
        "input": "image",
        "key": "key",
        "label": False,
        "split": "split",
    }
    task = own_data(
        student={**text, "class_names": list(class_names)},
        teacher={**seen, "size": tuple(size), "channels": 3},
        link="partly_paired",
        problem=problem,
        labels_per_class=labels_per_class,
        validation_share=validation_share,
        seed=seed,
    )
    return replace(task, name=name, info={**task.info, "source": str(root)})


def _memes(root: Path, name: str) -> list[dict[str, Any]]:
    """The labelled lines of a file; none where it is not there or has no labels."""
    path = root / f"{name}.jsonl"
    if not path.is_file():
        return []
    rows = []
    for number, line in enumerate(_text(path).split("\n"), 1):  # a text may hold other ends of lines
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        entry = _parsed(line, where)
        if not isinstance(entry, Mapping) or not {"id", "img", "text"} <= entry.keys():
            raise DataError(f"{where} lacks id, img or text; is this a file of Hateful Memes?")
        if entry.get("label") is None:
            continue
        if entry["label"] not in (0, 1):
            raise DataError(f"{where} has the label {entry['label']!r}, neither 0 nor 1.")
        image = _there(root / str(entry["img"]), where)
        label = MEME_CLASSES[entry["label"]]
        rows.append(
            {"key": f"{name}/{entry['id']}", "text": str(entry["text"]), "image": image, "label": label}
        )
    return rows


def _film(folder: Path, number: str) -> dict[str, Any]:
    path = folder / f"{number}.json"
    entry = _json(path)
    if not isinstance(entry, Mapping) or not entry.get("plot") or not isinstance(entry.get("genres"), list):
        raise DataError(f"{path} lacks plot or genres; is this a film of MM-IMDb?")
    plot = entry["plot"] if isinstance(entry["plot"], str) else entry["plot"][0]
    image = next(
        (f for suffix in _READABLE if (f := folder / f"{number}{suffix}").is_file()),
        folder / f"{number}.jpeg",
    )
    return {
        "key": number,
        "text": str(plot),
        "image": _there(image, str(path)),
        "label": [str(genre) for genre in entry["genres"]],
    }


def _there(path: Path, where: str) -> str:
    if not path.is_file():
        raise DataError(f"{where}: there is no picture {path}; give the whole folder.")
    return str(path.resolve())


def _json(path: Path) -> Any:
    if not path.is_file():
        raise DataError(f"{path} does not exist; give the folder that holds it.")
    return _parsed(_text(path), str(path))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text in UTF-8; save it anew.") from error


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise DataError(f"{where} is no JSON ({error}).") from error
