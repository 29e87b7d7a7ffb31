"""Banks of transformers teachers over ``datasets`` with pictures, sounds and texts; device maps."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
import torch
from teachers.tiny_models import RATE

from limbeck.banks import Bank
from limbeck.errors import DataError
from limbeck.teachers import HFTeacher

Image = pytest.importorskip("PIL.Image")
datasets = pytest.importorskip("datasets")
soundfile = pytest.importorskip("soundfile")
WORDS = ["a red dog", "the cat sleeps", "rain on grass"]


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 255, (10 + i, 12, 3), dtype=np.uint8)) for i in range(3)]
    features = datasets.Features(
        {"id": datasets.Value("string"), "image": datasets.Image(), "text": datasets.Value("string")}
    )
    return datasets.Dataset.from_dict(
        {"id": ["a", "b", "c"], "image": images, "text": WORDS}, features=features
    )


def wav_bytes(n: int, rate: int, seed: int) -> bytes:
    file = io.BytesIO()
    wave = 0.3 * np.random.default_rng(seed).normal(size=n)
    soundfile.write(file, wave, rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def sounds(tmp_path, rate: int = RATE):
    """Two sounds in the table, one as a file beside it."""
    (tmp_path / "c.wav").write_bytes(wav_bytes(2000, rate, 2))
    audio = [{"bytes": wav_bytes(1600 + 400 * i, rate, i), "path": None} for i in range(2)]
    audio.append({"bytes": None, "path": str(tmp_path / "c.wav")})
    columns = {"id": [1, 2, 3], "audio": audio, "text": WORDS}
    return datasets.Dataset.from_dict(columns).cast_column("audio", datasets.Audio(decode=False))


@pytest.mark.parametrize("tower", ["image", "text"])
def test_pictures_and_texts_of_a_dataset(tiny, tmp_path, pictures, tower):
    teacher = HFTeacher(tiny["clip"], tower=tower)
    bank = Bank.build(tmp_path / "b", teacher, pictures, batch_size=2)
    rows = pictures[:]
    torch.testing.assert_close(
        bank.lookup(["a", "b", "c"]).features, teacher({tower: rows[tower]}).features, rtol=1e-4, atol=1e-5
    )
    # a picture's repr holds an address: its content must be what is compared
    Bank.build(tmp_path / "b", HFTeacher(tiny["clip"], tower=tower), pictures, batch_size=2)


def test_pictures_and_texts_together(tiny, tmp_path, pictures):
    bank = Bank.build(tmp_path / "b", HFTeacher(tiny["vilt"]), pictures)
    assert bank.width("features") == 16
    assert bank.manifest.notes["tower"] == "fused"


def test_pictures_that_are_not_decoded(tiny, pictures):
    raw = pictures.cast_column("image", datasets.Image(decode=False))[:]["image"]
    teacher = HFTeacher(tiny["vit"])
    torch.testing.assert_close(
        teacher({"image": raw}).features, teacher({"image": pictures[:]["image"]}).features
    )
    with pytest.raises(DataError, match="1 of 1 pictures in the column 'image' cannot be read"):
        teacher({"image": [{"bytes": b"no picture", "path": None}]})


def test_changed_pictures_and_moved_files_of_a_bank(tiny, tmp_path):
    data = sounds(tmp_path)
    teacher = HFTeacher(tiny["wav2vec2"], tower="audio")
    Bank.build(tmp_path / "b", teacher, data)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    Bank.build(tmp_path / "b", teacher, sounds(moved))  # the same content at another place
    (moved / "c.wav").write_bytes(wav_bytes(2000, RATE, 9))
    changed = datasets.Dataset.from_list(
        [
            {**row, "audio": {"bytes": None, "path": str(moved / "c.wav")}} if row["id"] == 3 else row
            for row in sounds(tmp_path)
        ]
    ).cast_column("audio", datasets.Audio(decode=False))
    with pytest.raises(ValueError, match=r"other 'inputs' \(those of the keys 3\)"):
        Bank.build(tmp_path / "b", teacher, changed)


@pytest.mark.parametrize("name", ["clap", "wav2vec2", "whisper"])
def test_sounds_of_a_dataset(tiny, tmp_path, name):
    data = sounds(tmp_path)
    bank = Bank.build(tmp_path / "b", HFTeacher(tiny[name], tower="audio"), data, batch_size=2)
    wave, rate = soundfile.read(tmp_path / "c.wav", dtype="float32")
    direct = HFTeacher(tiny[name])({"audio": [{"array": wave, "sampling_rate": rate}]}).features
    torch.testing.assert_close(bank.lookup([3]).features, direct, rtol=1e-4, atol=1e-5)


def test_sounds_at_another_rate(tiny, tmp_path):
    data = sounds(tmp_path, rate=16000)
    with pytest.raises(
        DataError, match=r"rate of 16000 Hz and the teacher reads 8000 Hz; pass resample=True"
    ):
        Bank.build(tmp_path / "b", HFTeacher(tiny["wav2vec2"], tower="audio"), data)
    bank = Bank.build(tmp_path / "b", HFTeacher(tiny["wav2vec2"], tower="audio", resample=True), data)
    assert len(bank) == 3


def test_the_count_of_cut_rows_outlives_an_interruption(tiny, tmp_path):
    rows = [{"id": i, "text": "a red dog runs on the grass " * (1 + i % 2)} for i in range(6)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = Bank.build(tmp_path / "a", HFTeacher(tiny["bert"]), rows, shard_size=2)
        Bank.build(tmp_path / "b", HFTeacher(tiny["bert"]), rows, shard_size=2)
        (tmp_path / "b" / "shard-00001.safetensors").unlink()
        mended = Bank.build(tmp_path / "b", HFTeacher(tiny["bert"]), rows, shard_size=2)
    assert whole.manifest.notes["truncated"] == mended.manifest.notes["truncated"] == 3


@pytest.mark.parametrize("device_map", ["cpu", "auto", {"": "cpu"}])
@pytest.mark.parametrize("name", ["clip", "whisper", "bert"])
def test_a_device_map_changes_nothing(tiny, name, device_map):
    inputs = {"text": WORDS} if name != "whisper" else {"mel": torch.randn(2, 8, 100)}
    plain, mapped = HFTeacher(tiny[name]), HFTeacher(tiny[name], device_map=device_map)
    torch.testing.assert_close(mapped(inputs).features.cpu(), plain(inputs).features, rtol=1e-4, atol=1e-5)
    assert mapped.fingerprint() == plain.fingerprint()


def test_teachers_travel_to_workers(tiny):
    import pickle

    teacher = HFTeacher(tiny["clip"], tower="text")
    assert torch.equal(
        pickle.loads(pickle.dumps(teacher))({"text": WORDS}).features, teacher({"text": WORDS}).features
    )


@pytest.mark.parametrize(
    "device_map", [{"embeddings": "cpu", "encoder": "disk", "pooler": "cpu"}, {"": "disk"}]
)
def test_parts_left_on_the_disk_change_nothing(tiny, device_map):
    plain, mapped = HFTeacher(tiny["bert"]), HFTeacher(tiny["bert"], device_map=device_map)
    assert any(value.is_meta for value in mapped.model.parameters())
    torch.testing.assert_close(mapped({"text": WORDS}).features, plain({"text": WORDS}).features)
    assert mapped.fingerprint() == plain.fingerprint()
