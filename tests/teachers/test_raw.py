"""Raw columns for a model of one's own: their kind by looking, and every row that cannot be read."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from raw_files import write_grating, write_tone

from limbeck.errors import UnreadableRowsError
from limbeck.teachers.raw import each, is_path, kind_of, to_image, to_waves


@pytest.fixture
def files(tmp_path):
    for i in range(3):
        write_grating(tmp_path / f"{i}.png", i)
        write_tone(tmp_path / f"{i}.wav", i)
    return [str(tmp_path / f"{i}.png") for i in range(3)]


def test_paths_are_what_they_lead_to(files):
    assert kind_of("x", files, ("image",), are_paths=True) == "image"
    assert kind_of("x", [*files, "gone.png"], ("image",), are_paths=True) == "image"  # told when it is read
    assert kind_of("x", files, ("text", "image")) == "image"
    assert kind_of("x", ["a cat", "a dog", files[0]], ("text", "image")) == "text"
    assert kind_of("x", files, ("text",)) == "text"
    assert kind_of("x", [files[0].replace("png", "wav")], ("audio",), are_paths=True) == "audio"
    assert all(map(is_path, [files[0], "gone.png", "https://x.example/a.png"]))
    assert not any(map(is_path, ["a cat", "see gone.png"]))


def test_arrays_are_what_the_model_reads():
    flat = [np.zeros((4, 5)), np.zeros((3, 5))]
    assert kind_of("x", flat, ("image",)) == "image"
    assert kind_of("x", flat, ("audio",)) == "audio"
    assert kind_of("x", [np.zeros((4, 5, 3))], ("image", "text")) == "image"
    assert kind_of("x", [torch.zeros(7)], ("audio", "text")) == "audio"


@pytest.mark.parametrize(
    ("values", "rows"),
    [(["a", None, "b", 3], (1, 3)), ([None, None], (0, 1)), (["a", "b", np.zeros(3)], (2,))],
)
def test_rows_of_another_kind_are_named(values, rows):
    with pytest.raises(UnreadableRowsError, match="column 'x' holds") as caught:
        kind_of("x", values, ("text", "audio"))
    assert caught.value.rows == rows


def test_all_rows_that_cannot_be_read_are_named(files):
    values = [files[0], "gone.png", b"<html>", files[1], "https://x.example/a.png"]
    with pytest.raises(
        UnreadableRowsError, match=r"3 of 5 pictures in the column 'x' cannot be read: There is no file"
    ) as caught:
        each("x", "picture", values, to_image)
    assert caught.value.rows == (1, 2, 4)


def test_waves_of_files_arrays_and_rates(files):
    wave = (0.5 * np.sin(np.arange(3200) / 9)).astype(np.float32)
    values = [
        files[0].replace("png", "wav"),
        {"array": wave, "sampling_rate": 8000},
        wave,
        (wave * 32767).astype(np.int16),
        [wave] * 2,
    ]
    found = to_waves("x", values, own_rate=8000, wanted=8000, resample=False)
    assert [w.shape for w in found] == [(3200,)] * 5
    for other in found[2:]:
        assert np.abs(other - wave).max() < 1e-4
    with pytest.raises(
        UnreadableRowsError, match="rate of unknown Hz and the teacher reads 8000 Hz"
    ) as caught:
        to_waves("x", values, own_rate=None, wanted=8000, resample=True)
    assert caught.value.rows == (2, 3, 4)
    half = to_waves("x", [{"array": wave, "sampling_rate": 16000}], own_rate=None, wanted=8000, resample=True)
    assert half[0].shape == (1600,)
    assert to_waves("x", [np.zeros(0)], own_rate=16000, wanted=8000, resample=True)[0].shape == (0,)
