"""A plain torch model as a program that runs without its Python classes (``torch.export``)."""

from __future__ import annotations

import contextlib
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.fx.experimental import _config as fx_config

from limbeck.errors import DataError, ExportError
from limbeck.students.calling import call_by_name, logits_of

# What a program archive of plain tensors consists of. Everything else in one (custom objects, pickled tensors,
# sample inputs) would be unpickled by ``torch.export.load``.
_PLAIN_ENTRY = re.compile(
    r"models/model\.json|data/(weights/weight_\d+|constants/tensor_\d+|(weights|constants)/model_\w+_config\.json)"
    r"|archive_format|archive_version|byteorder|\.data/\w+|\.format_version|\.storage_alignment"
)

_PICKLED = re.compile(rb'"use_pickle"\s*:\s*true')


class _Logits(nn.Module):
    """Logits from a mapping of inputs, whatever the model takes and returns."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        return logits_of(call_by_name(self.model, inputs), self.model)


def save_program(model: nn.Module, inputs: Mapping[str, Tensor], path: Path) -> None:
    """Write ``model``, in evaluation mode, as a program from a mapping of inputs to logits.

    Any number of rows, and other sizes where the model allows them (image sides, frames, tokens).
    Raises: ExportError when the model's forward cannot be traced.
    """
    program = traced(model, inputs)
    program.example_inputs = None  # they would be pickled, and they are the user's data
    torch.export.save(program, path)
    refuse_pickles(path)


def refuse_pickles(path: Path) -> None:
    """Raise DataError if ``torch.export.load`` would unpickle anything in the archive at ``path``."""
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                name = entry.filename.split("/", 1)[-1]
                pickled = name.endswith("_config.json") and _PICKLED.search(archive.read(entry))
                sample = name == "data/sample_inputs/model.pt" and not entry.file_size
                if pickled or not (sample or _PLAIN_ENTRY.fullmatch(name)):
                    raise DataError(
                        f"{path} holds '{name}', which is more than plain weights; export it again."
                    )
    except zipfile.BadZipFile as error:
        raise DataError(f"{path} is no program archive, or half of one; export it again.") from error


def _two_rows(value: Tensor) -> Tensor:
    """At least two rows of an example, as tracing takes a size of one for a constant."""
    value = value.detach().cpu().contiguous()  # else the program would ask for the strides of this slice
    return value if len(value) > 1 else torch.cat([value, value])


def traced(model: nn.Module, inputs: Mapping[str, Tensor]) -> torch.export.ExportedProgram:
    """The program of ``model`` (on the CPU, in evaluation mode), from a mapping of inputs to logits.

    Raises: ExportError when the model's forward cannot be traced for any number of rows.
    """
    inputs = {name: _two_rows(value) for name, value in inputs.items()}
    rows = torch.export.Dim("rows", min=1)
    sizes = {
        name: {0: rows, **{i: torch.export.Dim.AUTO for i in range(1, value.ndim) if value.shape[i] > 1}}
        for name, value in inputs.items()
    }
    one_row = {name: value[:1] for name, value in inputs.items()}
    with torch.no_grad():
        wanted = _Logits(model)(one_row)
        for settings in ({}, {"backed_size_oblivious": True}):
            try:
                # The second try keeps a count of rows from being told apart from 1, which EmbeddingBag needs.
                with fx_config.patch(settings) if settings else contextlib.nullcontext():  # type: ignore[attr-defined]
                    program = torch.export.export(_Logits(model), (inputs,), dynamic_shapes=(sizes,))
                torch.testing.assert_close(program.module()(one_row), wanted, rtol=1e-3, atol=1e-4)
            except Exception as error:  # torch.export raises whatever the model's code makes of its stand-ins
                reason = error
            else:
                return program
    raise ExportError(
        f"{type(model).__name__} cannot be exported, as its forward cannot be traced for any number of rows; "
        f"take branches on values of tensors out of it ({str(reason).strip().splitlines()[0]})"
    ) from reason
