"""Sounds are read at the rate of the teacher, converted, or refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from limbeck.errors import ConfigError, DataError, UnreadableRowsError
from limbeck.teachers.hf.preprocessing import Preprocessor


@pytest.fixture
def source(tmp_path):
    from transformers import Wav2Vec2FeatureExtractor

    Wav2Vec2FeatureExtractor(sampling_rate=8000, return_attention_mask=True).save_pretrained(tmp_path)
    return str(tmp_path)


def waves():
    return [np.random.default_rng(0).normal(size=n) for n in (100, 60)]


def test_sounds_of_any_length(source):
    read = Preprocessor(source, sampling_rate=8000)
    inputs = read("audio", {"audio": read.waves("audio", waves())})
    assert inputs["input_values"].shape == (2, 100)
    assert inputs["attention_mask"].sum(1).tolist() == [100, 60]
    carried = read.waves("audio", [{"array": w, "sampling_rate": 8000} for w in waves()])
    assert torch.equal(read("audio", {"audio": carried})["input_values"], inputs["input_values"])


def test_a_wrong_rate_is_refused_or_converted(source):
    read = Preprocessor(source)
    twice = [{"array": np.sin(np.arange(200) / 9), "sampling_rate": 16000}]
    with pytest.raises(
        DataError, match=r"rate of 16000 Hz and the teacher reads 8000 Hz; pass resample=True"
    ):
        read.waves("audio", twice)
    with pytest.raises(DataError, match=r"rate of unknown Hz .* sampling_rate=8000"):
        read.waves("audio", waves())
    (half,) = Preprocessor(source, resample=True).waves("audio", twice)
    assert half.shape == (100,)
    np.testing.assert_allclose(half[10:-10], np.sin(np.arange(0, 200, 2) / 9)[10:-10], atol=0.01)


def test_sounds_that_are_none(source):
    read = Preprocessor(source, sampling_rate=8000)
    with pytest.raises(UnreadableRowsError, match="column 'audio' holds 1 sound without samples") as caught:
        read("audio", {"audio": [np.zeros(0, np.float32), np.ones(50, np.float32)]})
    assert caught.value.rows == (0,)
    with pytest.raises(
        UnreadableRowsError, match=r"1 of 2 sounds in the column 'audio'.*shape \[100, 100\]"
    ) as caught:
        read.waves("audio", [np.zeros(50), np.zeros((100, 100))])
    assert caught.value.rows == (1,)


def test_settings_that_do_not_exist(source):
    with pytest.raises(ConfigError, match="too_long is 'truncate' or 'refuse'"):
        Preprocessor(source, too_long="cut")
    with pytest.raises(ConfigError, match="empty is 'refuse' or 'keep'"):
        Preprocessor(source, empty="skip")
