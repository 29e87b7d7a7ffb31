"""The benchmark AV-digits: an image teacher that reads digits, an audio student that learns to hear them.

Images are MNIST or scikit-learn's bundled digits; clips are the Free Spoken Digit Dataset or synthesised
speech. The two modalities share the ten classes and nothing else; what links them is made here, from the true
classes, and is all that a student may use: pairs, bags, the labels, or nothing.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from limbeck.data.base import Examples
from limbeck.data.benchmarks.bags import Counts, mixed_bags, same_class_pairs
from limbeck.data.files import images as image_files
from limbeck.data.files.audio import LogMel
from limbeck.data.files.readers import file_reader
from limbeck.data.files.views import audio_views, image_views
from limbeck.data.splits import Splits
from limbeck.data.task import TEACHER, Task, TeacherSide
from limbeck.errors import ConfigError, DataError, UnknownNameError, nearest, some
from limbeck.progress import progress
from limbeck.seeding import keyed_seed
from limbeck.signals.classes import UNLABELLED
from limbeck.signals.key import Key
from limbeck.signals.links.bagged import Bagged
from limbeck.signals.links.base import Link
from limbeck.signals.links.choose import link_named
from limbeck.signals.links.paired import Paired

DigitLink = Literal["paired", "bagged", "by_class", "unpaired"]
CLASS_NAMES = tuple(str(digit) for digit in range(10))
PREPROCESSOR = {"kind": "log_mel", **asdict(LogMel())}
TEST_TAKES, VALIDATION_TAKES = range(10), range(10, 15)  # of every speaker and digit; the rest is the pool
_MNIST_ROWS, _MNIST_TEST_ROWS = (
    20_000,
    5_000,
)  # the full MNIST and its published first part give one benchmark
_CLIP_NAME = re.compile(r"(\d+)_([^_]+)_(\d+)\.wav", re.IGNORECASE)


@dataclass(frozen=True)
class Clips:
    """All clips of a source, with the speaker of each and the split that the source's own rule puts it in."""

    examples: Examples
    speakers: np.ndarray  # [N] str
    roles: np.ndarray  # [N] str: pool, validation or test
    origin: str


def av_digits(
    *,
    images: str = "sklearn",
    audio: str = "speech",
    labels_per_class: int = 5,
    n_unlabelled: int | None = None,
    link: DigitLink = "paired",
    bag_size: int = 16,
    n_bags: int = 80,
    counts: Counts = "same",
    unseen_speakers: Sequence[str] | str = (),
    seed: int = 0,
) -> Task:
    """The task of teaching spoken digits by a teacher of written ones.

    Args:
        images: ``sklearn`` (bundled) or ``mnist:DIR`` with MNIST's IDX files. ``[1, 28, 28]``, standardised.
        audio: ``speech`` (synthesised, cached on this machine) or ``fsdd:DIR`` with files named
            ``DIGIT_SPEAKER_INDEX.wav``. Log-mel ``[1, 32, 32]``, see :class:`~limbeck.data.files.audio.LogMel`.
        labels_per_class: labelled clips of each digit, drawn from the pool by ``seed``; the same for every
            link. 0 is allowed for ``paired`` and ``bagged``.
        n_unlabelled: unlabelled clips kept, drawn by ``seed``; all others of the pool by default.
        link: ``paired``: one image of the same class for every unlabelled clip. ``bagged``: bags of
            unlabelled clips and images, each with a class mix of its own (Dirichlet 0.3). ``by_class``: both
            sides know their labels. ``unpaired``: nothing is known.
        bag_size: clips, and images, in a bag.
        n_bags: bags at most. No clip and no image is in two bags, so there are fewer when the clips run out;
            ``info["n_bags"]`` says how many.
        counts: ``same``: a bag's images have its clips' class counts. ``independent``: only the mix is
            shared.
        unseen_speakers: names, or one text "a,b"; their clips leave the pool, validation and test, and all
            of them form ``test_unseen``.
        seed: of the labelled subset and of the link.

    Returns: a task with the clips in ``splits`` (``train`` = pool with labels -100 where unlabelled;
        ``truth`` holds its true classes) and the teacher's images (``link`` = those that the
        link names, for ``by_class`` and ``unpaired`` all of them). Where a link would betray a clip's
        class by an image's label (``paired``, ``bagged``) the link images carry no labels. Input name ``x``;
        class names "0" to "9".

    Raises: DataError for wrong folders and broken files; ConfigError and UnknownNameError for wrong settings.

    Source: the digits benchmark of the project's reference figures: speakers' takes 0-9 test, 10-14
        validation, 15-49 pool; MNIST's first 14,000 images train the teacher, 1,000 validate it, 5,000 are
        the link.
    """
    _check(link, counts, labels_per_class, n_unlabelled, bag_size, n_bags)
    if isinstance(unseen_speakers, str):
        unseen_speakers = [name.strip() for name in unseen_speakers.split(",") if name.strip()]
    clips, unseen = _without(_clips(audio), unseen_speakers)
    teacher = _images(images)
    truth_s = clips.examples.labels
    train_rows, labelled = _train_rows(clips, labels_per_class, n_unlabelled, seed)
    train = clips.examples.subset(train_rows)
    train = train.forgotten(~labelled)
    truth = truth_s[train_rows]
    rng = np.random.default_rng(keyed_seed("av_digits", "link", seed))
    linked, link_rows, facts = _link(link, train, truth, teacher["link"], bag_size, n_bags, counts, rng)
    roles = {"train": train, "validation": _role(clips, "validation"), "test": _role(clips, "test")}
    if unseen is not None:
        roles["test_unseen"] = unseen
    return Task(
        name="av_digits",
        splits=Splits(**roles),
        teachers={TEACHER: TeacherSide(Splits(**{**teacher, "link": link_rows}), linked, image_views())},
        views=audio_views(),
        preprocessor=dict(PREPROCESSOR),
        truth=truth,
        info={
            "images": "scikit-learn digits" if images == "sklearn" else "MNIST",
            "audio": clips.origin,
            "link": link,
            "labels_per_class": labels_per_class,
            "n_labelled": int(labelled.sum()),
            "n_unlabelled": int((~labelled).sum()),
            "speakers": sorted(set(clips.speakers.tolist())),
            "unseen_speakers": list(unseen_speakers),
            "seed": seed,
            **facts,
        },
    )


def _check(
    link: str, counts: str, labels_per_class: int, n_unlabelled: int | None, bag_size: int, n_bags: int
) -> None:
    if link not in get_args(DigitLink):
        raise UnknownNameError(f"av_digits has no link {link!r}; {nearest(link, get_args(DigitLink))}")
    if counts not in get_args(Counts):
        raise UnknownNameError(f"counts={counts!r} does not exist; {nearest(counts, get_args(Counts))}")
    if labels_per_class < 0 or (labels_per_class == 0 and link in ("by_class", "unpaired")):
        raise ConfigError(
            f"labels_per_class={labels_per_class} with link={link!r} gives the student no classes to learn; "
            "pass at least 1 (0 only with 'paired' or 'bagged')."
        )
    if n_unlabelled is not None and n_unlabelled < 0:
        raise ConfigError(f"n_unlabelled={n_unlabelled} must be 0 or more, or None for all.")
    if bag_size < 1 or n_bags < 1:
        raise ConfigError(f"bag_size={bag_size} and n_bags={n_bags} must both be at least 1.")


# -- what the student's and the teacher's data are -----------------------------------------------------------


def _clips(source: str) -> Clips:
    if source == "speech":
        from limbeck.data.benchmarks.speech import spoken_digits

        folder, roles = spoken_digits()
        clips = _wav_folder(folder, folder.stat().st_mtime_ns, "synthesised speech")
        return replace(clips, roles=np.array([roles[speaker] for speaker in clips.speakers]))
    kind, _, folder_name = source.partition(":")
    if kind != "fsdd" or not folder_name:
        raise UnknownNameError(f"audio={source!r} is not known; valid ones: speech, fsdd:DIR.")
    folder = Path(folder_name).expanduser()
    if (folder / "recordings").is_dir():
        folder = folder / "recordings"
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; give the folder of the Free Spoken Digit Dataset.")
    return _wav_folder(folder, folder.stat().st_mtime_ns, "Free Spoken Digit Dataset")


@functools.lru_cache(maxsize=2)  # one comparison makes the task once an arm and seed
def _wav_folder(folder: Path, changed: int, origin: str) -> Clips:
    """Every ``DIGIT_SPEAKER_INDEX.wav`` of a folder in the order of (speaker, digit, index)."""
    found = [(match, path) for path in folder.iterdir() if (match := _CLIP_NAME.fullmatch(path.name))]
    if not found:
        raise DataError(f"{folder} holds no files named DIGIT_SPEAKER_INDEX.wav; check the folder.")
    rows = sorted((match[2], int(match[1]), int(match[3]), path) for match, path in found)
    wrong = [path.name for _, digit, _, path in rows if digit > 9]
    if wrong:
        raise DataError(f"{folder} has clips of digits outside 0 to 9: {some(wrong)}.")
    takes = np.array([take for _, _, take, _ in rows])
    roles = np.where(
        np.isin(takes, TEST_TAKES), "test", np.where(np.isin(takes, VALIDATION_TAKES), "validation", "pool")
    )
    read, spectrograms = file_reader(PREPROCESSOR), []
    with progress(f"Reading {origin}", len(rows), "clips") as advance:
        for *_, path in rows:
            spectrograms.append(read(path))
            advance(1)
    examples = Examples.classified(
        inputs={"x": torch.stack(spectrograms)},
        keys=tuple(f"audio/{path.stem}" for *_, path in rows),
        labels=torch.tensor([digit for _, digit, _, _ in rows]),
        class_names=CLASS_NAMES,
    )
    return Clips(examples, np.array([speaker for speaker, *_ in rows]), roles, origin)


def _images(source: str) -> dict[str, Examples]:
    """Splits ``train``, ``validation``, ``link`` and ``test`` of the written digits."""
    if source == "sklearn":
        return _sklearn_splits()
    kind, _, folder_name = source.partition(":")
    if kind != "mnist" or not folder_name:
        raise UnknownNameError(f"images={source!r} is not known; valid ones: sklearn, mnist:DIR.")
    folder = Path(folder_name).expanduser()
    return _mnist_splits(folder, folder.stat().st_mtime_ns if folder.exists() else 0)


@functools.lru_cache(maxsize=1)
def _mnist_splits(folder: Path, changed: int) -> dict[str, Examples]:
    """In MNIST's order: 70% train, 5% validation, 25% link of the first 20,000; test = t10k's first 5,000."""
    pixels, labels = image_files.mnist_split(folder, "train")
    rows = _image_examples(pixels[:_MNIST_ROWS], labels[:_MNIST_ROWS], "image")
    n_train, n_validation = int(0.7 * len(rows)), int(0.05 * len(rows))
    test_pixels, test_labels = image_files.mnist_split(folder, "t10k")
    return {
        "train": rows.subset(range(n_train)),
        "validation": rows.subset(range(n_train, n_train + n_validation)),
        "link": rows.subset(range(n_train + n_validation, len(rows))),
        "test": _image_examples(test_pixels[:_MNIST_TEST_ROWS], test_labels[:_MNIST_TEST_ROWS], "image-test"),
    }


@functools.lru_cache(maxsize=1)
def _sklearn_splits() -> dict[str, Examples]:
    """1,000 digits for the link, since clips outnumber images, and the rest for the teacher.

    In the data's own order, which keeps a writer's digits together and so apart from the other splits.
    """
    rows = _image_examples(*image_files.sklearn_digits(), "image")
    return {
        "train": rows.subset(range(480)),
        "validation": rows.subset(range(480, 560)),
        "link": rows.subset(range(560, 1560)),
        "test": rows.subset(range(1560, len(rows))),
    }


def _image_examples(pixels: Tensor, labels: Tensor, prefix: str) -> Examples:
    keys = tuple(f"{prefix}/{row}" for row in range(len(labels)))
    return Examples.classified({"x": pixels}, keys, labels, CLASS_NAMES)


# -- which rows train, and what links them -------------------------------------------------------------------


def _without(clips: Clips, unseen_speakers: Sequence[str]) -> tuple[Clips, Examples | None]:
    """The clips of the seen speakers, and all clips of the unseen ones (None without any)."""
    if not unseen_speakers:
        return clips, None
    known = sorted(set(clips.speakers.tolist()))
    for speaker in unseen_speakers:
        if speaker not in known:
            raise UnknownNameError(f"There is no speaker {speaker!r}; {nearest(speaker, known)}")
    is_unseen = np.isin(clips.speakers, list(unseen_speakers))
    if not (~is_unseen & (clips.roles == "pool")).any():
        raise ConfigError(
            "All speakers of the training clips are named in unseen_speakers; leave at least one."
        )
    seen = np.flatnonzero(~is_unseen)
    rest = Clips(clips.examples.subset(seen), clips.speakers[seen], clips.roles[seen], clips.origin)
    return rest, clips.examples.subset(np.flatnonzero(is_unseen))


def _role(clips: Clips, role: str) -> Examples:
    rows = np.flatnonzero(clips.roles == role)
    if not len(rows):
        raise DataError(f"The {clips.origin} has no {role} clips of the seen speakers; check the folder.")
    return clips.examples.subset(rows)


def _train_rows(
    clips: Clips, labels_per_class: int, n_unlabelled: int | None, seed: int
) -> tuple[Tensor, Tensor]:
    """Rows of the training clips in the clips' order, and which of them are labelled."""
    rng = np.random.default_rng(keyed_seed("av_digits", "labels", seed))
    pool = np.flatnonzero(clips.roles == "pool")
    labels = clips.examples.labels.numpy()
    chosen: list[int] = []
    for c, name in enumerate(CLASS_NAMES):
        offered = pool[labels[pool] == c]
        if len(offered) < max(labels_per_class, 1):
            raise DataError(
                f"{labels_per_class} labelled clips of class {name!r} were asked for, but the pool has "
                f"{len(offered)}; lower labels_per_class or give more clips."
            )
        chosen += rng.permutation(offered)[:labels_per_class].tolist()
    rest = rng.permutation(np.setdiff1d(pool, chosen))
    if n_unlabelled is not None:
        if n_unlabelled > len(rest):
            raise DataError(
                f"{n_unlabelled} unlabelled clips were asked for, but {len(rest)} remain beside the labelled "
                "ones; lower n_unlabelled."
            )
        rest = rest[:n_unlabelled]
    rows = np.sort(np.concatenate([np.array(chosen, dtype=np.int64), rest]))
    return torch.from_numpy(rows), torch.from_numpy(np.isin(rows, chosen))


def _link(
    link: DigitLink,
    train: Examples,
    truth: Tensor,
    teacher: Examples,
    bag_size: int,
    n_bags: int,
    counts: Counts,
    rng: np.random.Generator,
) -> tuple[Link, Examples, dict[str, object]]:
    """The link, the teacher rows that it is about, and facts for the report."""
    if link in ("by_class", "unpaired"):
        return link_named(link), teacher, {}
    rows = np.flatnonzero(train.labels.numpy() == UNLABELLED)
    labels_s, labels_t = truth.numpy()[rows], teacher.labels.numpy()
    if not len(rows):
        raise DataError(f"link={link!r} needs unlabelled clips, but there are none; raise n_unlabelled.")
    keys = [train.keys[row] for row in rows.tolist()]
    if link == "paired":
        pairs = same_class_pairs(labels_s, labels_t, rng)
        teacher_of: dict[Key, Key] = {key: teacher.keys[row] for key, row in zip(keys, pairs.tolist())}
        return Paired(teacher_of), _unlabelled(teacher, pairs), {}
    bags = mixed_bags(
        labels_s,
        labels_t,
        n_classes=len(CLASS_NAMES),
        bag_size=bag_size,
        n_bags=n_bags,
        counts=counts,
        rng=rng,
    )
    linked = Bagged(
        group_s={keys[row]: bag for bag, members in enumerate(bags.student) for row in members},
        group_t={teacher.keys[row]: bag for bag, members in enumerate(bags.teacher) for row in members},
    )
    members = np.array([row for bag in bags.teacher for row in bag])
    return (
        linked,
        _unlabelled(teacher, members),
        {"n_bags": len(bags), "bag_size": bag_size, "counts": counts},
    )


def _unlabelled(teacher: Examples, rows: np.ndarray) -> Examples:
    """The named teacher rows without their labels, which would give the student's classes away."""
    return teacher.subset(np.unique(rows)).forgotten()
