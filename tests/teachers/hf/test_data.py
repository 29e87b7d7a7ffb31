"""Banks of transformers teachers over ``datasets`` with pictures, sounds and texts; device maps."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
import torch
from teachers.tiny_models import RATE

from limbeck.banks import Bank
from limbeck.errors import DataError, UnreadableRowsError
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


# ---- whatever form a picture or sound has -------------------------------------------------------------------------


def test_every_form_of_a_picture_gives_one_row(tiny, tmp_path, pictures):
    images = pictures[:]["image"]
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for image, path in zip(images, paths):
        image.save(path)
    teacher = HFTeacher(tiny["vit"])
    right = teacher({"image": images}).features
    forms = {
        "arrays": [np.asarray(image) for image in images],
        "tensors": [torch.from_numpy(np.array(image)) for image in images],
        "floats": [np.asarray(image) / 255 for image in images],
        "paths": [str(path) for path in paths],
        "Path": paths,
        "bytes": [path.read_bytes() for path in paths],
        "files": [{"bytes": None, "path": str(path)} for path in paths],
    }
    for name, form in forms.items():
        torch.testing.assert_close(teacher({"x": form}).features, right, msg=name, rtol=1e-3, atol=1e-4)
    one_size = torch.from_numpy(np.stack([np.asarray(images[0])] * 2))
    for stacked in (one_size, one_size.permute(0, 3, 1, 2)):  # as rows of equal arrays come from a data set
        torch.testing.assert_close(teacher({"x": stacked}).features[1], right[0], rtol=1e-4, atol=1e-5)


def test_a_column_of_paths_becomes_a_bank_that_knows_the_files(tiny, tmp_path, pictures):
    for i, image in enumerate(pictures[:]["image"]):
        image.save(tmp_path / f"{i}.png")
    (tmp_path / "photos.csv").write_text(
        "id,photo\n" + "".join(f"k{i}, {tmp_path}/{i}.png \n" for i in range(3))
    )
    teacher = HFTeacher(tiny["vit"])
    bank = Bank.build(tmp_path / "b", teacher, tmp_path / "photos.csv")
    torch.testing.assert_close(
        bank.lookup(["k2"]).features, teacher({"image": [pictures[2]["image"]]}).features
    )
    pictures[0]["image"].save(tmp_path / "2.png")
    with pytest.raises(ValueError, match=r"other 'inputs' \(those of the keys 'k2'\)"):
        Bank.build(tmp_path / "b", teacher, tmp_path / "photos.csv")


@pytest.mark.parametrize("decode", [True, False])
@pytest.mark.parametrize("bad", [b"<html>", b"", "cut", None])
def test_a_picture_that_cannot_be_read_is_named_by_its_key(tiny, tmp_path, bad, decode):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(
        file, format="JPEG"
    )
    good = file.getvalue()
    column = [
        {"bytes": good, "path": None},
        bad if bad is None else {"bytes": good[:700] if bad == "cut" else bad, "path": None},
    ]
    data = datasets.Dataset.from_dict({"id": ["k0", "k1"], "image": column})
    data = data.cast_column("image", datasets.Image(decode=decode))
    with pytest.raises(UnreadableRowsError, match="'k1'") as caught:
        Bank.build(tmp_path / "b", HFTeacher(tiny["vit"]), data)
    assert "'k0'" not in str(caught.value)


def test_links_and_missing_files_are_named(tiny, tmp_path):
    for cell, words in (("https://x.example/a.png", "is a link"), ("gone/a.png", "no file 'gone/a.png'")):
        rows = [{"id": "k0", "photo": cell}]
        with pytest.raises(UnreadableRowsError, match=rf"{words}.*Keys: 'k0'"):
            Bank.build(tmp_path / "b", HFTeacher(tiny["vit"]), rows)


@pytest.mark.parametrize("name", ["wav2vec2", "ast", "whisper"])
def test_sounds_that_are_too_short_are_named_and_others_hold(tiny, tmp_path, name):
    rate = 16000 if name == "ast" else RATE
    rows = [
        {"id": f"k{i}", "audio": {"array": np.ones(n, np.float32), "sampling_rate": rate}}
        for i, n in enumerate((4000, 3))
    ]
    teacher = HFTeacher(tiny[name], tower="audio")
    if name == "whisper":  # pads all to one length
        assert len(Bank.build(tmp_path / "b", teacher, rows)) == 2
        return
    with pytest.raises(
        UnreadableRowsError, match=r"1 sound too short for .* \(3 samples at \d+ Hz\).*Keys: 'k1'"
    ):
        Bank.build(tmp_path / "b", teacher, rows)


def test_integer_and_stereo_sounds_are_those_of_floats(tiny):
    wave = (0.5 * np.sin(np.arange(2000) / 5)).astype(np.float32)
    teacher = HFTeacher(tiny["wav2vec2"], sampling_rate=RATE)
    right = teacher({"audio": [{"array": wave, "sampling_rate": RATE}]}).features
    integers = (wave * 32767).astype(np.int16)
    for form in (
        [integers],
        torch.from_numpy(integers)[None],
        [np.stack([wave, wave])],
        [{"array": integers, "sampling_rate": RATE}],
    ):
        torch.testing.assert_close(teacher({"sound": form}).features, right, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("asked", [None, RATE])
def test_sounds_of_a_decoded_column(tiny, tmp_path, asked):
    data = sounds(tmp_path, rate=16000 if asked else RATE).cast_column(
        "audio", datasets.Audio(sampling_rate=asked)
    )
    bank = Bank.build(tmp_path / "b", HFTeacher(tiny["wav2vec2"], tower="audio"), data)
    assert len(bank) == 3
