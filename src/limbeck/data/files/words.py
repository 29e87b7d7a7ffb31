"""Words as numbers without a vocabulary, for a text that is one of several inputs."""

from __future__ import annotations

import re
import zlib

import torch
from torch import Tensor

BUCKETS = 8192  # numbers of words, 0 = padding; two words may share one


def hashed_words(text: str, length: int) -> Tensor:
    """``[length]`` int64: each word (letters and digits, without case) by a hash that no run changes, 1 to BUCKETS - 1;
    longer texts are cut, shorter ones padded with 0."""
    words = re.findall(r"\w+", text.lower())[:length]
    numbers = [zlib.crc32(word.encode()) % (BUCKETS - 1) + 1 for word in words]
    return torch.tensor(numbers + [0] * (length - len(numbers)), dtype=torch.int64)
