"""Which clips a data set has, of which class and split, by its own files: RAVDESS, CREMA-D, AVE, VGGSound.

No file is opened here but the lists of the splits. Where the parts of a clip lie is for :mod:`.places`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from limbeck.errors import DataError
from limbeck.seeding import keyed_seed

RAVDESS_EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
CREMA_D_EMOTIONS = {
    "ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happiness", "NEU": "neutral", "SAD": "sadness",
}  # fmt: skip
_RAVDESS_TEST, _RAVDESS_VALIDATION = range(1, 5), range(5, 9)
_RAVDESS_NAME = re.compile(
    r"(0[123])-01-(0[1-8])-(0[12]-0[12]-0[12])-(\d\d)"
)  # 01 = speech; songs are left out
_VALIDATION_PERCENT = 10  # of the training clips of a data set that has no validation clips of its own


@dataclass(frozen=True)
class Clip:
    """One recording.

    Args:
        name: its key on both sides.    label: of the class.    role: ``train``, ``validation`` or ``test``.
        sound, picture: names of its files without suffix, in the order in which they are looked for.
    """

    name: str
    label: str
    role: str
    sound: tuple[str, ...]
    picture: tuple[str, ...]


def ravdess(folder: Path, names: Callable[[], Iterator[str]]) -> list[Clip]:
    """Speech of 24 actors in 8 emotions, files ``Actor_NN/MODALITY-01-EMOTION-...-NN`` (modality 01 film with sound,
    02 film, 03 sound; Livingstone and Russo, PLoS ONE 2018, zenodo 1188976).

    There is no official split; actors are kept apart as Chumachenko et al. (ICPR 2022, arXiv 2201.11095) keep them in
    the published code: actors 1 to 4 test, 5 to 8 validation, 9 to 24 training.
    """
    clips: dict[str, Clip] = {}
    for name in names():
        found = _RAVDESS_NAME.fullmatch(name)
        if found is None:
            continue
        emotion, rest, actor = found[2], found[3], int(found[4])
        key = f"01-{emotion}-{rest}-{found[4]}"
        role = "test" if actor in _RAVDESS_TEST else "validation" if actor in _RAVDESS_VALIDATION else "train"
        sound, picture = (f"03-{key}", f"01-{key}"), (f"02-{key}", f"01-{key}")
        clips[key] = Clip(key, RAVDESS_EMOTIONS[int(emotion) - 1], role, sound, picture)
    return [clips[key] for key in sorted(clips)]


def crema_d(folder: Path, names: Callable[[], Iterator[str]]) -> list[Clip]:
    """7,442 sentences of 91 actors in 6 emotions, files ``1001_DFA_ANG_XX`` in ``AudioWAV`` and ``VideoFlash`` (Cao et
    al., IEEE Transactions on Affective Computing 2014).

    The data set has no official split. ``train.csv`` and ``test.csv`` (a clip and its emotion a line) are those of
    OGM-GE (CVPR 2022, GeWu-Lab/OGM-GE_CVPR2022, ``data/CREMAD``), which UCMKD reads; validation is a tenth of the
    training clips, by a hash of the clip, or ``val.csv``.
    """
    rows = [
        (cells[0], CREMA_D_EMOTIONS.get(cells[1].strip(), cells[1].strip()), role)
        for role, cells in _tables(folder, "{}.csv")
    ]
    return _listed(rows)


def ave(folder: Path, names: Callable[[], Iterator[str]]) -> list[Clip]:
    """4,143 films of 28 events (Tian et al., ECCV 2018, YapengTian/AVE-ECCV18).

    ``trainSet.txt``, ``valSet.txt`` and ``testSet.txt`` of the data set: ``event&film&quality&start&end`` a line.
    """
    rows, seen = [], set[str]()
    for role, stem in (("train", "trainSet"), ("validation", "valSet"), ("test", "testSet")):
        for place, line in _lines(folder / f"{stem}.txt"):
            cells = line.split("&")
            if len(cells) < 2:
                raise DataError(f"{place} is not 'event&film&quality&start&end'; mend the line.")
            if cells[1] not in seen:  # some films come twice
                seen.add(cells[1])
                rows.append((cells[1], cells[0], role))
    return _listed(rows)


def vggsound(folder: Path, names: Callable[[], Iterator[str]]) -> list[Clip]:
    """About 200,000 films of 309 sounds (Chen et al., ICASSP 2020, hche11/VGGSound).

    ``vggsound.csv`` of the data set: film, start second, label, split a line; files ``FILM_SSSSSS`` (the start with six
    digits). Validation is a tenth of the training clips, by a hash of the clip.
    """
    rows = []
    path = folder / "vggsound.csv"
    for place, cells in _cells(path):
        if len(cells) != 4 or cells[3] not in ("train", "test") or not cells[1].strip().isdigit():
            raise DataError(
                f"{place} is not 'film,second,label,train or test'; take the data set's own file."
            )
        name = f"{cells[0]}_{int(cells[1]):06d}"
        rows.append((name, cells[2], _held_out(name) if cells[3] == "train" else "test"))
    return _listed(rows)


# Name in a recipe to what reads it.
LAYOUTS: Mapping[str, Callable[[Path, Callable[[], Iterator[str]]], list[Clip]]] = {
    "ravdess": ravdess,
    "crema_d": crema_d,
    "ave": ave,
    "vggsound": vggsound,
}


def _listed(rows: list[tuple[str, str, str]]) -> list[Clip]:
    return [Clip(name, label, role, (name,), (name,)) for name, label, role in rows]


def _held_out(name: str) -> str:
    return "validation" if keyed_seed("audio_visual", name) % 100 < _VALIDATION_PERCENT else "train"


def _tables(folder: Path, pattern: str) -> Iterator[tuple[str, list[str]]]:
    """Role and cells of every line of the files of a split; validation from the training clips where it has no file."""
    own = folder / pattern.format("val")
    for role in ("train", "validation", "test"):
        path = own if role == "validation" else folder / pattern.format(role)
        if role == "validation" and not own.is_file():
            continue
        for place, cells in _cells(path):
            if len(cells) != 2:
                raise DataError(f"{place} is not 'clip,emotion'; take the split files of OGM-GE.")
            given = role if role != "train" or own.is_file() else _held_out(cells[0])
            yield given, cells


def _cells(path: Path) -> Iterator[tuple[str, list[str]]]:
    for place, line in _lines(path):
        yield place, next(csv.reader([line]))


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """The place of each line that is not empty, and the line."""
    if not path.is_file():
        raise DataError(f"{path} is missing; it says which clips train and which test, so put it there.")
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield f"{path} (line {number})", line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text in UTF-8; save it anew.") from error
