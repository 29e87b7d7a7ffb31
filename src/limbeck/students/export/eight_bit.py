"""A program with weights of 8 bit: a quarter of the size, and every weight a whole number times its row's scale."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from limbeck.errors import ExportError
from limbeck.students.export.program import PROGRAM, WEIGHTS
from limbeck.students.export.strict_json import read_object

_LEAST = 256  # numbers in a weight that is worth it


def quantize_program(folder: Path) -> None:
    """Write the weights of ``program.json`` as int8, one scale for each row (output) of a matrix or convolution, by two
    steps in front of the others that make float32 of them; sums stay in float32.

    Raises: ExportError for a program without such weights.
    """
    program, weights = read_object(folder / PROGRAM), load_file(folder / WEIGHTS)
    used = _names(program["steps"])
    chosen = [name for name in sorted(used & set(weights)) if _is_worth_it(weights[name])]
    if not chosen:
        raise ExportError("The student has no matrix of float32 weights that 8 bit would make smaller.")
    steps, stands_for = [], {}
    taken = {step["name"] for step in program["steps"]}
    for number, name in enumerate(chosen):
        whole, scale = quantized(weights.pop(name))
        weights |= {f"{name}.int8": whole, f"{name}.scale": scale}
        cast, made = (_free(f"{word}_{number}", taken) for word in ("int8", "weight"))
        steps += [
            _step(cast, "aten._to_copy.default", [{"weight": f"{name}.int8"}], dtype={"dtype": "float32"}),
            _step(made, "aten.mul.Tensor", [{"value": cast}, {"weight": f"{name}.scale"}]),
        ]
        stands_for[name] = made
    program["steps"] = steps + [_replaced(step, stands_for) for step in program["steps"]]
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    text = json.dumps(program, separators=(",", ":"), allow_nan=False)
    (folder / PROGRAM).write_text(text + "\n", encoding="utf-8")


def quantized(weight: Tensor) -> tuple[Tensor, Tensor]:
    """``[n, ...]`` as int8 of -127 to 127, and the float32 scale ``[n, 1, ...]`` of each row."""
    largest = weight.abs().amax(tuple(range(1, weight.ndim)), keepdim=True)
    scale = (largest / 127).clamp_min(torch.finfo(torch.float32).tiny)
    return (weight / scale).round().to(torch.int8), scale


def _is_worth_it(weight: Tensor) -> bool:
    return weight.dtype == torch.float32 and weight.ndim >= 2 and weight.numel() >= _LEAST


def _step(name: str, call: str, arguments: list[Any], **options: Any) -> dict[str, Any]:
    return {"name": name, "call": call, "args": arguments, "options": options}


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _names(value: Any) -> set[str]:
    """Names of the weights that steps read."""
    if isinstance(value, dict):
        own = (
            {value["weight"]} if set(value) == {"weight"} and isinstance(value["weight"], str) else set[str]()
        )
        return own.union(*map(_names, value.values()))
    return set[str]().union(*map(_names, value)) if isinstance(value, list) else set()


def _replaced(value: Any, stands_for: dict[str, str]) -> Any:
    if isinstance(value, list):
        return [_replaced(part, stands_for) for part in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"weight"} and value["weight"] in stands_for:
        return {"value": stands_for[value["weight"]]}
    return {key: _replaced(part, stands_for) for key, part in value.items()}
