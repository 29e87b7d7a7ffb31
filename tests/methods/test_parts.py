"""The parts of a method as a file: whole or told, and never those of another method."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from limbeck.errors import CheckpointError, ConfigError
from limbeck.methods.parts import PARTS_FILE, parts_in, save_parts, start_parts


def test_parts_come_back_as_they_were(tmp_path: Path) -> None:
    left, found = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    save_parts(left, tmp_path)  # type: ignore[arg-type]
    start_parts(found, tmp_path)  # type: ignore[arg-type]
    assert torch.equal(left.weight, found.weight)
    assert [path.name for path in tmp_path.iterdir()] == [PARTS_FILE]


def test_a_damaged_file_and_other_parts_are_a_sentence(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(4)}, tmp_path / PARTS_FILE)
    with pytest.raises(ConfigError, match=r"'weight' is \[4\] in them and \[2, 3\] here"):
        start_parts(torch.nn.Linear(3, 2), tmp_path)  # type: ignore[arg-type]
    (tmp_path / PARTS_FILE).write_bytes((tmp_path / PARTS_FILE).read_bytes()[:-3])
    with pytest.raises(CheckpointError, match=r"method.safetensors is damaged"):
        parts_in(tmp_path)
