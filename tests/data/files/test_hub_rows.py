"""Rows of a data set that cannot be decoded are named by key; sounds come as samples without torchcodec."""

from __future__ import annotations

import io

import numpy as np
import pytest

from limbeck.data.files.hub_rows import hub_rows, is_of_hub
from limbeck.errors import UnreadableRowsError

datasets = pytest.importorskip("datasets")
Image = pytest.importorskip("PIL.Image")
soundfile = pytest.importorskip("soundfile")
TONE = (0.5 * np.sin(np.arange(1600) / 9)).astype(np.float32)


def png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (9, 9, 9)).save(file, format="PNG")
    return file.getvalue()


def wav(rate: int = 16000) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, TONE, rate, format="WAV")
    return file.getvalue()


def data_of(name: str, files: list[bytes | None], feature):
    column = [None if file is None else {"bytes": file, "path": None} for file in files]
    data = datasets.Dataset.from_dict({"id": [f"k{i}" for i in range(len(files))], name: column})
    return data.cast_column(name, feature)


def test_pictures_that_cannot_be_decoded_are_named():
    data = data_of("image", [png(), png()[:30], None, b"<html>"], datasets.Image())
    rows = hub_rows(data, "id")
    assert rows[0:1]["image"][0].size == (4, 4)
    with pytest.raises(
        UnreadableRowsError, match=r"row with key 'k1' and 1 more cannot be decoded \(.*; leave it out"
    ) as caught:
        rows[0:4]
    assert " at 0x" not in str(caught.value)
    with pytest.raises(UnreadableRowsError, match="row number 1"):
        hub_rows(data, None)[0:2]


def test_a_stream_names_the_row_behind_the_last_good_one():
    rows = hub_rows(data_of("image", [png(), b"<html>"], datasets.Image()).to_iterable_dataset(), "id")
    assert is_of_hub(data_of("image", [png()], datasets.Image()).to_iterable_dataset())
    found = iter(rows)
    assert next(found)["id"] == "k0"
    with pytest.raises(UnreadableRowsError, match=r"row number 1 \(behind key 'k0'\) cannot be decoded"):
        next(found)


@pytest.mark.parametrize("stream", [False, True])
def test_sounds_are_decoded_at_the_rate_that_the_column_asks_for(stream):
    for asked, expected in ((None, (16000, 1600)), (8000, (8000, 800))):
        data = data_of("audio", [wav(), None], datasets.Audio(sampling_rate=asked))
        rows = hub_rows(data.to_iterable_dataset() if stream else data, "id")
        sound, nothing = [row["audio"] for row in rows] if stream else rows[0:2]["audio"]
        assert (sound["sampling_rate"], len(sound["array"])) == expected
        assert nothing is None
    assert (
        np.abs(
            hub_rows(data_of("audio", [wav()], datasets.Audio()), "id")[0:1]["audio"][0]["array"] - TONE
        ).max()
        < 1e-3
    )


def test_files_that_are_not_to_be_decoded_stay_files():
    data = data_of("audio", [wav()], datasets.Audio(decode=False))
    assert hub_rows(data, "id")[0:1]["audio"][0]["bytes"] == wav()


@pytest.mark.parametrize("stream", [False, True])
def test_a_broken_sound_is_named(stream):
    data = data_of("audio", [wav(), b"RIFF0000WAVEjunk"], datasets.Audio())
    rows = hub_rows(data.to_iterable_dataset() if stream else data, "id")
    with pytest.raises(UnreadableRowsError, match=r"key 'k1'|number 1"):
        list(rows) if stream else rows[0:2]
