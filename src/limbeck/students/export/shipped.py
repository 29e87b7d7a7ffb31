"""A shipped student as a model again, and rows to try it on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.problems.base import Reading
from limbeck.students.export.answer import Answer, answer_to
from limbeck.students.export.exported import ExportedStudent
from limbeck.students.export.pooled import POOLED, load_pooled
from limbeck.students.export.program import DTYPES, PROGRAM
from limbeck.students.pretrained import shipped_model

N_ROWS = 32  # that a shipped student is tried on


class _Shipped(Answer):
    """A program in the place of a model."""

    def __init__(self, run: Any, reading: Reading) -> None:
        super().__init__(nn.Identity(), reading)
        self._run_program = run

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        return self._run_program(dict(inputs))


def shipped_answer(folder: Path, student: ExportedStudent, inputs: Mapping[str, Tensor]) -> Answer:
    """The student of ``folder``, loaded as ``student``, to be traced; no code of it is run.

    Args:
        inputs: an example, by which a head at positions is found.
    """
    loads_with = student.info["loads_with"]
    if loads_with == PROGRAM:
        return _Shipped(student.run, student.problem.reading)
    if loads_with == POOLED:
        return answer_to(load_pooled(folder, student.problem), student.problem, inputs)
    return answer_to(shipped_model(folder, loads_with), student.problem, inputs)


def drawn_rows(folder: Path, wanted: Mapping[str, Mapping[str, Any]]) -> dict[str, Tensor]:
    """:data:`N_ROWS` rows: numbers from a normal distribution, tokens of the vocabulary where there is one, nothing
    masked."""
    generator = torch.Generator().manual_seed(0)
    config = json.loads((folder / "config.json").read_text()) if (folder / "config.json").is_file() else {}
    rows = {}
    for name, spec in wanted.items():
        shape, dtype = (N_ROWS, *spec["shape"][1:]), DTYPES[spec["dtype"]]
        if dtype.is_floating_point:
            rows[name] = torch.randn(shape, generator=generator).to(dtype)
        elif name == "input_ids":
            rows[name] = torch.randint(int(config.get("vocab_size", 2)), shape, generator=generator).to(dtype)
        else:
            rows[name] = torch.full(shape, int(name.endswith("mask")), dtype=dtype)
    return rows
