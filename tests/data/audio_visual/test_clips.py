"""The layouts of RAVDESS, CREMA-D, AVE and VGGSound, from made-up clips; what is unpaired; films."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data.audio_visual.clips_on_disk import RATE, listed, picture, ravdess, tone

from limbeck.data.audio_visual.clips import audio_visual
from limbeck.data.audio_visual.films import PictureOfClip, SoundOfClip
from limbeck.data.audio_visual.unpairing import LEVELS, Level, pools, thinned
from limbeck.data.cards import data_card
from limbeck.data.files.readers import MediaReader
from limbeck.data.registry import make_task
from limbeck.errors import ConfigError, DataError, LimbeckError, LinkError, UnknownNameError

SMALL: dict[str, Any] = {"size": [16, 16], "log_mel": {"n_frames": 16, "n_bands": 16}}
IMAGE = {"kind": "image", "height": 8, "width": 8, "channels": 3, "mean": 0.5, "deviation": 0.5}


@pytest.fixture(scope="module")
def actors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ravdess(tmp_path_factory.mktemp("ravdess"))


# ---- layouts ------------------------------------------------------------------------------------------------


def test_ravdess_keeps_actors_apart_and_leaves_songs_out(actors: Path) -> None:
    task = audio_visual(layout="ravdess", folder=str(actors), **SMALL)
    assert task.splits.sizes == {"train": 16, "validation": 8, "test": 8}
    assert task.class_names == (
        "angry", "calm", "disgust", "fearful", "happy", "neutral", "sad", "surprised",
    )  # fmt: skip
    assert {key[-2:] for key in task.splits["train"].keys} == {"09", "10"}
    assert {key[-2:] for key in task.splits["validation"].keys} == {"05"}
    with task.splits.final_evaluation() as final:
        assert {key[-2:] for key in final["test"].keys} == {"01"}
    (row,) = (i for i, key in enumerate(task.splits["train"].keys) if key == "audio/01-03-01-01-01-09")
    assert task.class_names[int(task.splits["train"].labels[row])] == "happy"
    assert task.splits["train"].rows([0])["x"].shape == (1, 1, 16, 16)
    assert task.teacher.splits["link"].rows([0, 1])["x"].shape == (2, 3, 16, 16)


def test_the_student_may_see_and_the_teacher_hear(actors: Path) -> None:
    task = audio_visual(layout="ravdess", folder=str(actors), student="image", link="paired", **SMALL)
    assert task.splits["train"].rows([3])["x"].shape == (1, 3, 16, 16)
    link = task.teacher.link
    assert link.teacher_of["image/01-03-01-01-01-09"] == "audio/01-03-01-01-01-09"  # type: ignore[attr-defined]
    assert set(task.preprocessor) > {"height", "width"}


def test_crema_d_by_the_files_of_ogm_ge(tmp_path: Path) -> None:
    names = {f"10{i:02d}_DFA_{('ANG', 'SAD')[i % 2]}_XX": i % 2 for i in range(60)}
    listed(tmp_path, names)
    lines = [f"{name},{name.split('_')[2]}" for name in names]
    (tmp_path / "train.csv").write_text("\n".join(lines[:50]) + "\n")
    (tmp_path / "test.csv").write_text("\n".join(lines[50:]) + "\n")
    task = audio_visual(layout="crema_d", folder=str(tmp_path), **SMALL)
    sizes = task.splits.sizes
    assert task.class_names == ("anger", "sadness")
    assert sizes["test"] == 10
    assert sizes["train"] + sizes["validation"] == 50
    assert 0 < sizes["validation"] < 15
    (tmp_path / "val.csv").write_text("\n".join(lines[40:50]) + "\n")
    (tmp_path / "train.csv").write_text("\n".join(lines[:40]) + "\n")
    task = audio_visual(layout="crema_d", folder=str(tmp_path), **SMALL)
    assert task.splits.sizes == {"train": 40, "validation": 10, "test": 10}


def test_ave_by_its_three_lists(tmp_path: Path) -> None:
    listed(tmp_path, {f"film{i}": i % 2 for i in range(8)})
    events = ("Church bell", "Male speech, man speaking")
    lines = [f"{events[i % 2]}&film{i}&good&0&10" for i in range(8)]
    for name, part in (("train", lines[:4] + lines[:1]), ("val", lines[4:6]), ("test", lines[6:])):
        (tmp_path / f"{name}Set.txt").write_text("\n".join(part) + "\n")
    task = audio_visual(layout="ave", folder=str(tmp_path), **SMALL)
    assert task.splits.sizes == {"train": 4, "validation": 2, "test": 2}
    assert task.class_names == events


def test_vggsound_by_its_own_table(tmp_path: Path) -> None:
    names = [f"a-_{i:08d}_{30:06d}" for i in range(60)]
    listed(tmp_path, {name: i % 2 for i, name in enumerate(names)})
    labels = ("people marching", '"female speech, woman speaking"')
    lines = [f"{n[:-7]},30,{labels[i % 2]},{'test' if i > 50 else 'train'}" for i, n in enumerate(names)]
    (tmp_path / "vggsound.csv").write_text("\n".join(lines) + "\n")
    task = audio_visual(layout="vggsound", folder=str(tmp_path), **SMALL)
    assert task.class_names == ("female speech, woman speaking", "people marching")
    assert task.splits.sizes["test"] == 9
    assert task.splits.sizes["train"] + task.splits.sizes["validation"] == 51
    (tmp_path / "vggsound.csv").write_text("x,30,people\n")
    with pytest.raises(DataError, match=r"vggsound.csv \(line 1\) is not 'film,second,label,train or test'"):
        audio_visual(layout="vggsound", folder=str(tmp_path), **SMALL)


def test_its_card_says_that_no_real_set_was_tried() -> None:
    card = data_card("audio_visual")
    assert "Never tried on the real set" in card.details
    assert set(card.settings) >= {"layout", "folder", "student", "link", "share", "unpairing"}


# ---- what is missing or wrong ---------------------------------------------------------------------------------


def test_a_clip_without_a_sound_is_told_or_left_out(tmp_path: Path) -> None:
    folder = ravdess(tmp_path)
    (folder / "Actor_09" / "03-01-04-01-01-01-09.wav").unlink()
    with pytest.raises(
        DataError,
        match=r"^1 of 32 clips lack a sound or a picture .*'01-04-01-01-01-09' \(no sound\); add them, or",
    ):
        audio_visual(layout="ravdess", folder=str(folder), **SMALL)
    task = audio_visual(layout="ravdess", folder=str(folder), missing="skip", **SMALL)
    assert (len(task.splits["train"]), task.info["left_out"]) == (15, 1)


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"layout": "ravdes"}, UnknownNameError, "no layout 'ravdes'; did you mean 'ravdess'"),
        ({"student": "video"}, UnknownNameError, "no student 'video'"),
        ({"unpairing": "harder"}, UnknownNameError, "did you mean 'hard'"),
        ({"share": 0.0}, ConfigError, "share=0.0 must lie above 0"),
        ({"folder": "/nowhere"}, DataError, "/nowhere is not a folder"),
        ({"link": "paired", "unpairing": "hard"}, LinkError, "so none are paired; take link by_class"),
        ({"log_mel": {"bands": 3}}, ConfigError, "log_mel has no setting 'bands'"),
    ],
)
def test_wrong_settings(
    settings: dict[str, object], error: type[LimbeckError], words: str, actors: Path
) -> None:
    given = {"layout": "ravdess", "folder": str(actors), **SMALL, **settings}
    with pytest.raises(error, match=words):
        audio_visual(**given)  # type: ignore[arg-type]


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    tone(tmp_path / "a.wav", 1)
    with pytest.raises(DataError, match="holds no train clips of ravdess; check the folder"):
        audio_visual(layout="ravdess", folder=str(tmp_path), **SMALL)
    with pytest.raises(DataError, match=r"trainSet.txt is missing; it says which clips train"):
        audio_visual(layout="ave", folder=str(tmp_path), **SMALL)


# ---- unpaired -------------------------------------------------------------------------------------------------


def test_pools_are_apart_and_the_tail_is_long() -> None:
    labels = np.repeat(np.arange(6), 100)
    heard, seen = pools(labels, Level(sounds=0.3, tail=50.0), seed=0)
    assert not set(heard.tolist()) & set(seen.tolist())
    assert np.bincount(labels[seen]).tolist() == [70] * 6
    counts = sorted(np.bincount(labels[heard]).tolist())
    assert (counts[0], counts[-1]) == (1, 30)
    assert counts == sorted(max(1, int(30 * 50 ** (-rank / 5))) for rank in range(6))
    assert np.array_equal(heard, pools(labels, Level(sounds=0.3, tail=50.0), seed=0)[0])
    both = pools(labels, LEVELS["none"], seed=0)
    assert all(np.array_equal(rows, np.arange(600)) for rows in both)


def test_a_share_of_each_class_is_kept() -> None:
    labels = np.repeat(np.arange(4), [100, 50, 10, 1])
    rows = thinned(labels, 0.3, seed=1)
    assert np.bincount(labels[rows]).tolist() == [30, 15, 3, 1]
    assert not np.array_equal(rows, thinned(labels, 0.3, seed=2))


def test_hard_unpairing_of_clips(actors: Path) -> None:
    plain, hard = (
        audio_visual(layout="ravdess", folder=str(actors), unpairing=level, **SMALL)
        for level in ("none", "hard")
    )
    heard = {key.partition("/")[2] for key in hard.splits["train"].keys}
    seen = {key.partition("/")[2] for key in hard.teacher.splits["link"].keys}
    assert not heard & seen
    assert hard.splits.sizes["test"] == plain.splits.sizes["test"]
    (key, *_), (row, *_) = hard.splits["train"].keys, range(1)
    clean = plain.splits["train"].rows([list(plain.splits["train"].keys).index(key)])["x"]
    noisy = hard.splits["train"].rows([row])["x"]
    assert torch.equal(noisy, hard.splits["train"].rows([row])["x"])
    assert float((noisy - clean).std()) == pytest.approx(0.21, rel=0.2)
    assert torch.equal(plain.splits["validation"].rows([0])["x"], hard.splits["validation"].rows([0])["x"])


@pytest.mark.parametrize("level", ["none", "hard"])
def test_no_rows_have_the_shape_of_rows(level: str, actors: Path) -> None:
    """A bank asks for none once it has all."""
    task = audio_visual(layout="ravdess", folder=str(actors), unpairing=level, **SMALL)
    assert task.splits["train"].rows([])["x"].shape == (0, 1, 16, 16)
    assert task.teacher.splits["link"].rows([])["x"].shape == (0, 3, 16, 16)


def test_unpair_permutes_the_pairs_of_any_data_set(actors: Path) -> None:
    config = {"layout": "ravdess", "folder": str(actors), "link": "paired", **SMALL}
    whole, mixed = (
        make_task("audio_visual", {**config, "unpair": unpair}, seed=3) for unpair in (False, True)
    )
    before, after = (task.teacher.link.teacher_of for task in (whole, mixed))  # type: ignore[attr-defined]
    assert list(before) == list(after)
    assert sorted(before.values()) == sorted(after.values())
    assert sum(before[key] == after[key] for key in before) < 5
    assert mixed.info["unpaired"]
    assert make_task("audio_visual", {**config, "unpair": True}, seed=3).teacher.link.teacher_of == after  # type: ignore[attr-defined]
    with pytest.raises(
        LinkError, match=r"the data 'ravdess' have none \(link: by_class\); take link: paired"
    ):
        make_task("audio_visual", {**config, "link": "by_class", "unpair": True})
    with pytest.raises(ConfigError, match="unpair='yes' must be true or false"):
        make_task("audio_visual", {**config, "unpair": "yes"})


# ---- films ----------------------------------------------------------------------------------------------------


def film(path: Path, *, sound: bool = True) -> None:
    """Nine pictures that grow brighter, and half a second of a tone."""
    av = pytest.importorskip("av", reason="films need the extra 'av'")
    with av.open(str(path), "w") as out:
        video = out.add_stream("mpeg4", rate=9)
        video.width = video.height = 32
        video.pix_fmt = "yuv420p"
        audio = out.add_stream("aac", rate=RATE, layout="mono") if sound else None
        for i in range(9):
            pixels = np.full((32, 32, 3), 20 + 25 * i, dtype=np.uint8)
            out.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        out.mux(video.encode())
        if audio is not None:
            wave = (0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype(np.float32)
            for start in range(0, RATE, 1024):
                part = av.AudioFrame.from_ndarray(
                    wave[None, start : start + 1024], format="fltp", layout="mono"
                )
                part.sample_rate = RATE
                out.mux(audio.encode(part))
            out.mux(audio.encode())


def test_the_middle_picture_and_the_sound_of_a_film(tmp_path: Path) -> None:
    film(tmp_path / "a.mp4")
    seen = PictureOfClip(MediaReader(IMAGE))(tmp_path / "a.mp4")
    assert seen.shape == (3, 8, 8)
    assert float(seen.mean() / 2 + 0.5) * 255 == pytest.approx(20 + 25 * 4, abs=10)
    heard = SoundOfClip(MediaReader({"kind": "log_mel", "rate": 8000, "n_frames": 32}, resample=True))(
        tmp_path / "a.mp4"
    )
    assert heard.shape == (1, 32, 16)
    assert float(heard.std()) > 0.1


def test_films_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film(tmp_path / "silent.mp4", sound=False)
    with pytest.raises(DataError, match=r"silent.mp4 has no sound; take another file"):
        SoundOfClip(MediaReader({"kind": "log_mel"}, resample=True))(tmp_path / "silent.mp4")
    (tmp_path / "broken.mp4").write_bytes(b"no film" * 100)
    with pytest.raises(DataError, match=r"broken.mp4 cannot be read as a film \(.*\); save it anew"):
        PictureOfClip(MediaReader(IMAGE))(tmp_path / "broken.mp4")
    film(tmp_path / "long.mp4")
    monkeypatch.setattr("limbeck.data.audio_visual.films.MOST_SAMPLES", 100)
    with pytest.raises(DataError, match=r"long.mp4 has a sound of more than 100 samples"):
        SoundOfClip(MediaReader({"kind": "log_mel"}, resample=True))(tmp_path / "long.mp4")


def test_frames_go_before_the_film_and_the_middle_one_is_taken(tmp_path: Path) -> None:
    for i in range(12):
        picture(tmp_path / "a" / f"{i}.png", kind=i)
    found = PictureOfClip(MediaReader(IMAGE))(tmp_path / "a")
    expected = MediaReader(IMAGE)(tmp_path / "a" / "6.png")  # 10 after 9, not after 1
    assert torch.equal(found, expected)


# ---- memory ---------------------------------------------------------------------------------------------------

_TRAIN = """
import resource, sys
from limbeck.recipes.recipe import Recipe
from limbeck.recipes.specs import DataSpec, MethodSpec, StudentSpec, TeacherSpec
from limbeck.runner import run
folder, out = sys.argv[1:]
config = {"layout": "vggsound", "folder": folder, "student": "image", "log_mel": {"n_frames": 16, "n_bands": 16}}
run(Recipe(
    data=DataSpec("audio_visual", config), teacher=TeacherSpec(model="small_conv_net"),
    student=StudentSpec("small_conv_net"), method=MethodSpec("supervised"),
    training={"max_steps": 10, "n_labelled": 64, "use_cpu": True, "eval_strategy": "no"}, output_dir=out,
))
print("MiB", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.full
def test_ten_thousand_pictures_train_in_less_than_2_gib(tmp_path: Path) -> None:
    """In memory they would be 5.6 GiB."""
    folder = tmp_path / "vgg"
    for kind in range(2):
        tone(folder / f"{kind}.wav", kind)
        picture(folder / f"{kind}.png", kind, side=224)
    names = [f"film{i:05d}_000001" for i in range(10_200)]
    for i, name in enumerate(names):
        for suffix in (".wav", ".png"):
            (folder / f"{name}{suffix}").hardlink_to(folder / f"{i % 2}{suffix}")
    lines = [f"{n[:-7]},1,{'ab'[i % 2]},{'test' if i < 20 else 'train'}" for i, n in enumerate(names)]
    (folder / "vggsound.csv").write_text("\n".join(lines[:20] + lines[20:]) + "\n")
    done = subprocess.run(
        [sys.executable, "-c", _TRAIN, str(folder), str(tmp_path / "run")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split("MiB")[1].split()[0]) < 2048
