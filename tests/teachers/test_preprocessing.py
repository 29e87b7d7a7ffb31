"""Sounds are read at the rate of the teacher or refused; pooling leaves padding out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from limbeck.errors import DataError
from limbeck.teachers.preprocessing import Preprocessor, masked_max, masked_mean


@pytest.fixture
def source(tmp_path):
    from transformers import Wav2Vec2FeatureExtractor

    Wav2Vec2FeatureExtractor(sampling_rate=8000, return_attention_mask=True).save_pretrained(tmp_path)
    return str(tmp_path)


def waves():
    return [np.random.default_rng(0).normal(size=n) for n in (100, 60)]


def test_sounds_of_any_length(source):
    read = Preprocessor(source, revision=None, max_length=None, sampling_rate=8000)
    inputs = read({"audio": waves()})
    assert inputs["input_values"].shape == (2, 100)
    assert inputs["attention_mask"].sum(1).tolist() == [100, 60]
    carried = read({"audio": [{"array": w, "sampling_rate": 8000} for w in waves()]})
    assert torch.equal(carried["input_values"], inputs["input_values"])


def test_a_wrong_rate_is_refused(source):
    read = Preprocessor(source, revision=None, max_length=None, sampling_rate=None)
    with pytest.raises(DataError, match="rate of 16000 Hz and the teacher reads 8000 Hz"):
        read({"audio": [{"array": w, "sampling_rate": 16000} for w in waves()]})
    with pytest.raises(DataError, match=r"rate of unknown Hz .* sampling_rate=8000"):
        read({"audio": waves()})


def test_values_that_nothing_reads(source):
    with pytest.raises(DataError, match="holds set"):
        Preprocessor(source, revision=None, max_length=None, sampling_rate=None)({"x": [{1}]})


def test_masked_pooling():
    states = torch.tensor([[[1.0], [3.0], [99.0]], [[-5.0], [-7.0], [-1.0]]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 0]])
    assert masked_mean(states, mask).flatten().tolist() == [2.0, -6.0]
    assert masked_max(states, mask).flatten().tolist() == [3.0, -5.0]
    assert masked_mean(states, None).shape == masked_max(states, None).shape == (2, 1)
