"""The data set audio_visual: clips of RAVDESS, CREMA-D, AVE or VGGSound, seen by one network and heard by another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch

from limbeck.data.audio_visual.films import PictureOfClip, SoundOfClip
from limbeck.data.audio_visual.layouts import LAYOUTS, Clip
from limbeck.data.audio_visual.places import places_below
from limbeck.data.audio_visual.unpairing import LEVELS, Noisy, pools, thinned
from limbeck.data.base import Examples, Table, View
from limbeck.data.files.readers import MediaReader, spectrogram
from limbeck.data.files.views import CropFlipView, GridView
from limbeck.data.own.stored import MediaTable
from limbeck.data.splits import Splits
from limbeck.data.task import TEACHER, Task, TeacherSide
from limbeck.errors import ConfigError, DataError, LinkError, UnknownNameError, nearest, some
from limbeck.problems.classification import Classification, numbered
from limbeck.signals.links.choose import link_named
from limbeck.signals.links.paired import Paired

Modality = Literal["audio", "image"]
AudioVisualLink = Literal["paired", "by_class", "unpaired"]
# Four seconds of speech or of an event; of a longer clip the middle.
LOG_MEL = {
    "rate": 16000, "n_bands": 128, "lowest": 20.0, "highest": 8000.0, "n_fft": 1024, "window": 400, "hop": 160,
    "n_frames": 400, "pool": 1,
}  # fmt: skip


def audio_visual(
    *,
    layout: str,
    folder: str,
    student: Modality = "audio",
    link: AudioVisualLink = "by_class",
    share: float = 1.0,
    unpairing: str = "none",
    size: Sequence[int] = (224, 224),
    log_mel: Mapping[str, Any] | None = None,
    crop_flip: bool = True,
    missing: str = "error",
    seed: int = 0,
) -> Task:
    """The task of teaching what is heard by what is seen, or the other way round, on films of classes.

    Never tried on the real set, none of the four: the readers follow the layouts and split files as their owners
    describe them, and are tested on made-up clips of that form.

    Args:
        layout: ``ravdess``: speech of 24 actors in 8 emotions; no official split, actors 1 to 4 test and 5 to 8
            validation (Chumachenko et al., ICPR 2022). ``crema_d``: 91 actors, 6 emotions; no official split,
            ``train.csv`` and ``test.csv`` of OGM-GE (CVPR 2022). ``ave``: 28 events; the data set's ``trainSet.txt``,
            ``valSet.txt``, ``testSet.txt``. ``vggsound``: 309 sounds; the data set's ``vggsound.csv``. Where no
            validation is official it is a tenth of the training clips, by a hash.
        folder: of the data set. Sounds, films (extra ``av``), pictures and folders of numbered pictures are found by
            their names anywhere below it; pictures go before films, sounds before films.
        student: what the student is shown; the teacher is shown the other.
        link: ``paired``: sound and picture of one film. ``by_class``: of films of one class, as the released code of
            UCMKD draws them. ``unpaired``: of any two films, labels stay on both sides. With ``paired`` the setting
            ``unpair: true`` permutes one side.
        share: of the training clips of each class that are there at all (the scarce-data runs of UCMKD: 0.5, 0.4, 0.3).
        unpairing: ``none``, ``mild``, ``medium`` or ``hard``: sounds and pictures of different films, noise, a long
            tail of sounds; in training alone.
        size: height and width of the pictures, the middle one of each film.    log_mel: changes to the spectrogram of
            the sounds, 128 bands of 4 seconds at 16,000 Hz.
        crop_flip: training pictures are cut out at random (8 to 100% of the area) and turned left to right.
        missing: ``skip`` leaves out clips without a sound or a picture, which the report counts.
        seed: of ``share`` and ``unpairing``.

    Returns: all training clips with their labels. Files are read when a step asks for them.

    Raises: DataError, LinkError, ConfigError, UnknownNameError: one sentence with the mend.

    Source: UCMKD, arXiv 2606.10504, section 4; the split files named above.
    """
    _check(layout, student, link, share, unpairing, missing)
    if not Path(folder).expanduser().is_dir():
        raise DataError(f"{folder} is not a folder; give the folder of the data set.")
    clips, files, left_out = _found(layout, Path(folder).expanduser(), missing)
    names = tuple(sorted({clip.label for clip in clips}))
    labels = np.array([names.index(clip.label) for clip in clips])
    roles = np.array([clip.role for clip in clips])
    train = np.flatnonzero(roles == "train")
    train = train[thinned(labels[train], share, seed)]
    heard, seen = (train[rows] for rows in pools(labels[train], LEVELS[unpairing], seed))
    settings = {
        "audio": {"kind": "log_mel", **asdict(spectrogram({**LOG_MEL, **(log_mel or {})}))},
        "image": {
            "kind": "image",
            "height": size[0],
            "width": size[1],
            "channels": 3,
            "mean": 0.5,
            "deviation": 0.5,
        },
    }
    teacher: Modality = "image" if student == "audio" else "audio"
    noise = LEVELS[unpairing].noise

    def splits(modality: Modality, *trained: str) -> dict[str, Examples]:
        read = (SoundOfClip if modality == "audio" else PictureOfClip)(
            MediaReader(settings[modality], resample=True)
        )
        made = {role: np.flatnonzero(roles == role) for role in ("validation", "test")}
        made |= dict.fromkeys(trained, heard if modality == "audio" else seen)
        return {
            role: _examples(
                modality, rows, clips, files[modality], labels, names, read, noise * (role in trained)
            )
            for role, rows in made.items()
        }

    ours, theirs = splits(student, "train"), splits(teacher, "train", "link")
    partner = {f"{student}/{clips[row].name}": f"{teacher}/{clips[row].name}" for row in train.tolist()}
    return Task(
        name=layout,
        splits=Splits(**ours),
        teachers={
            TEACHER: TeacherSide(
                Splits(**theirs),
                Paired(partner) if link == "paired" else link_named(link),
                _views(teacher, crop_flip),
                settings[teacher],
            )
        },
        views=_views(student, crop_flip),
        preprocessor=settings[student],
        info={
            "origin": f"{layout}, read from {Path(folder).name}",
            "link": link,
            "unpairing": unpairing,
            "share": share,
            "n_labelled": len(ours["train"]),
            "n_unlabelled": 0,
            "left_out": left_out,
            "seed": seed,
        },
    )


def _check(layout: str, student: str, link: str, share: float, unpairing: str, missing: str) -> None:
    chosen = {
        "layout": (layout, LAYOUTS),
        "student": (student, get_args(Modality)),
        "link": (link, get_args(AudioVisualLink)),
        "unpairing": (unpairing, LEVELS),
        "missing": (missing, ("error", "skip")),
    }
    for name, (value, options) in chosen.items():
        if value not in options:
            raise UnknownNameError(f"audio_visual has no {name} {value!r}; {nearest(str(value), options)}")
    if not 0 < share <= 1:
        raise ConfigError(f"share={share} must lie above 0 and be at most 1.")
    if link == "paired" and unpairing != "none":
        raise LinkError(
            f"unpairing={unpairing!r} keeps sounds and pictures of different films, so none are paired; take link "
            "by_class or unpaired."
        )


def _found(layout: str, folder: Path, missing: str) -> tuple[list[Clip], dict[str, list[Path]], int]:
    """Clips that can be both seen and heard, their files by modality, and how many others there are."""
    places = places_below(folder)
    clips = LAYOUTS[layout](folder, places.names)
    kept: list[Clip] = []
    files: dict[str, list[Path]] = {"audio": [], "image": []}
    lost: dict[str, str] = {}
    for clip in clips:
        sound, picture = places.sound(clip.sound), places.picture(clip.picture)
        if sound is None or picture is None:
            lost[clip.name] = "sound" if sound is None else "picture"
            continue
        kept.append(clip)
        files["audio"].append(sound)
        files["image"].append(picture)
    if lost and (missing == "error" or not kept):
        name, part = next(iter(lost.items()))
        raise DataError(
            f"{len(lost)} of {len(clips)} clips lack a sound or a picture below {folder}, for example {name!r} (no "
            f"{part}); add them, or set missing: skip."
        )
    for role in ("train", "validation", "test"):
        if not any(clip.role == role for clip in kept):
            raise DataError(f"{folder} holds no {role} clips of {layout}; check the folder.")
    classes = {clip.label for clip in kept if clip.role == "train"}
    if strange := sorted({clip.label for clip in kept} - classes):
        raise DataError(f"No training clip is of the class {some(strange)}; check the files of {folder}.")
    return kept, files, len(lost)


def _examples(
    modality: str,
    rows: np.ndarray,
    clips: Sequence[Clip],
    files: Sequence[Path],
    labels: np.ndarray,
    names: Sequence[str],
    read: Any,
    noise: float,
) -> Examples:
    keys = tuple(f"{modality}/{clips[row].name}" for row in rows.tolist())
    table: Table = MediaTable([files[row] for row in rows.tolist()], read)
    table = Noisy(table, keys, noise) if noise else table
    return Examples(table, keys, numbered(torch.from_numpy(labels[rows])), Classification(tuple(names)))


def _views(modality: str, crop_flip: bool) -> dict[str, View]:
    if modality == "audio":
        return {
            "weak": GridView(shift=(1, 8), mask=(8, 20)),
            "strong": GridView(shift=(2, 16), mask=(19, 80), noise=0.1),
        }
    if not crop_flip:
        return {}
    return {"weak": CropFlipView(), "strong": CropFlipView(noise=0.1)}
