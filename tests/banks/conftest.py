"""A small bank of arrays, and the arrays it was made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from limbeck.banks import Bank


@dataclass
class Arrays:
    keys: list[int | str]
    features: Tensor
    logits: Tensor
    labels: Tensor
    class_names: tuple[str, ...]
    head: tuple[Tensor, Tensor]


@pytest.fixture
def arrays() -> Arrays:
    g = torch.Generator().manual_seed(0)
    return Arrays(
        keys=[f"clip {i}é" for i in range(200)],
        features=torch.randn(200, 6, generator=g),
        logits=torch.randn(200, 4, generator=g),
        labels=torch.arange(200) % 4,
        class_names=("one", "two", "three", "four"),
        head=(torch.randn(4, 6, generator=g), torch.randn(4, generator=g)),
    )


@pytest.fixture
def bank(arrays: Arrays, tmp_path: Path) -> Bank:
    return Bank.from_arrays(tmp_path / "bank", **vars(arrays))
