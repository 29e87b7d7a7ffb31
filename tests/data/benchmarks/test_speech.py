"""Synthesised digits: repeatable, checked, shared between processes."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile

from limbeck.data import av_digits
from limbeck.data.benchmarks import speech
from limbeck.errors import DataError

espeakng_loader = pytest.importorskip("espeakng_loader")


@pytest.fixture
def few(monkeypatch, tmp_path):
    """One voice a role and two takes, in a cache of its own."""
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(speech, "TAKES", 2)
    monkeypatch.setattr(speech, "_VARIANTS", {"pool": "m1 f1", "validation": "m2", "test": "m5"})
    return tmp_path / "cache"


def test_roles_share_no_voice():
    roles = speech.voices()
    by_role = {role: {s for s, r in roles.items() if r == role} for role in ("pool", "validation", "test")}
    assert {role: len(names) for role, names in by_role.items()} == {"pool": 28, "validation": 4, "test": 8}
    for part in (0, 1):  # the accent, the variant
        trained = {name.split("+")[part] for name in by_role["pool"]}
        assert not trained & {name.split("+")[part] for name in by_role["test"]}
    assert len({name.split("+")[1] for name in roles}) == 40


def test_every_variant_exists():
    """espeak-ng ignores an unknown variant in silence, and two voices would be one."""
    folder = Path(espeakng_loader.get_data_path()) / "voices" / "!v"
    known = {path.name for path in folder.iterdir()}
    assert {name.split("+")[1] for name in speech.voices()} <= known


def test_synthesis_repeats_and_is_kept(few):
    folder, _ = speech.spoken_digits()
    digest = (folder / "sha256").read_text()
    assert len(list(folder.glob("*.wav"))) == 4 * 2 * 10
    info = soundfile.info(folder / "7_en-us+m1_1.wav")
    assert (info.samplerate, info.channels) == (8000, 1)
    assert 0.15 < info.duration < 1.5
    times = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert speech.spoken_digits()[0] == folder
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == times, "made once"
    (folder / "7_en-us+m1_1.wav").write_bytes(b"broken")
    speech.spoken_digits()
    assert (folder / "sha256").read_text() == digest, (
        "a changed file is noticed and mended, with equal samples"
    )
    assert speech._digest(folder) == digest
    assert sorted(path.name for path in few.iterdir() if path.is_dir()) == [folder.name]


def test_a_task_of_it(few):
    task = av_digits(labels_per_class=1, link="unpaired")
    assert task.splits.sizes == {"train": 40, "validation": 20, "test": 20}
    with task.splits.final_evaluation() as final:
        assert {key.split("_")[1] for key in final["test"].keys} == {"en-029+m5"}
    assert task.info["audio"] == "synthesised speech"


def test_failures_are_one_sentence(few, monkeypatch, tmp_path):
    monkeypatch.setattr(speech, "_ACCENTS", dict.fromkeys(speech._ACCENTS, ("xx-none",)))
    with pytest.raises(DataError, match=r"no voice 'xx-none\+m1'"):
        speech.spoken_digits()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="set LIMBECK_CACHE"):
        speech.spoken_digits()
