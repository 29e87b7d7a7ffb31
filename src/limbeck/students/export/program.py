"""A model as a list of steps in JSON, beside its weights in safetensors: read, checked and run by our own code.

``program.json`` holds names and numbers alone::

    {"format": 1,
     "inputs": {"x": {"dtype": "float32", "shape": ["s0", 5]}},
     "steps": [{"name": "linear", "call": "aten.linear.default",
                "args": [{"input": "x"}, {"weight": "0.weight"}, {"weight": "0.bias"}], "options": {}}],
     "output": "linear"}

A ``call`` is an operator of ATen or arithmetic of sizes (:mod:`limbeck.students.export.operators`), ``item`` takes one
of several results. An argument is a number, a text (the mode of an operator), null, a list of these, or an object with
one key: ``input``, ``weight`` or ``value`` (the result of an earlier step), or a constant that JSON has no word for.
A size of an input is a number, or a name where any size goes; one name is one size.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from limbeck.errors import ConfigError, DataError, first_line
from limbeck.students.export.operators import NUMBERS, OPERATORS, call_operator
from limbeck.students.export.strict_json import read_object

FORMAT = 1
PROGRAM, WEIGHTS, CONSTANTS = "program.json", "model.safetensors", "constants.safetensors"
PREPARING, PREPARING_WEIGHTS = "preprocessing.json", "preprocessing.safetensors"  # from raw samples to inputs
DTYPES = {
    name: getattr(torch, name)
    for name in (
        "float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool",
        "complex64", "complex128",
    )
}  # fmt: skip
_CONSTANTS: dict[str, dict[str, Any]] = {
    "dtype": DTYPES,
    "float": {name: float(name) for name in ("inf", "-inf", "nan")},
    "device": {"cpu": torch.device("cpu")},
    "layout": {"strided": torch.strided},
    "memory_format": {
        name: getattr(torch, name)
        for name in ("contiguous_format", "preserve_format", "channels_last", "channels_last_3d")
    },
}
_LARGEST_INT = 2**63
_DEEPEST = 3  # lists in an argument: of paddings, of tensors


class Program:
    """A program, ready to run: a function from inputs by name to logits.

    Args:
        steps: as in the file, checked.    output: name of the step whose result is returned.
        weights: name to tensor.    inputs: name to ``{"dtype", "shape"}``.
    """

    def __init__(
        self,
        steps: list[dict[str, Any]],
        output: str,
        weights: Mapping[str, Tensor],
        inputs: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self._steps, self._output, self._weights, self._inputs = steps, output, weights, inputs
        last = {name: i for i, step in enumerate(steps) for name in _values(step)}
        self._spent: list[list[str]] = [[] for _ in steps]  # results that no later step reads
        for i, step in enumerate(steps):
            if step["name"] != output:
                self._spent[last.get(step["name"], i)].append(step["name"])

    @torch.no_grad()
    def __call__(self, inputs: Mapping[str, Tensor]) -> Any:
        """Raises: ConfigError for inputs of another kind or size; DataError if a step cannot be done."""
        self._check_inputs(inputs)
        values: dict[str, Any] = {}
        for step, spent in zip(self._steps, self._spent, strict=True):
            try:
                values[step["name"]] = self._run(step, inputs, values)
            except Exception as error:  # a kernel raises what it likes
                reason = first_line(error)
                shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in inputs.items())
                raise DataError(
                    f"The student's program stops at its step '{step['name']}' for inputs {shapes} ({reason}); "
                    "give it inputs like those it was trained on."
                ) from error
            for name in spent:
                del values[name]
        return values[self._output]

    def _run(self, step: Mapping[str, Any], inputs: Mapping[str, Tensor], values: Mapping[str, Any]) -> Any:
        sources = {"input": inputs, "weight": self._weights, "value": values}
        arguments = [_made(argument, sources) for argument in step["args"]]
        options = {name: _made(argument, sources) for name, argument in step["options"].items()}
        kind, _, name = step["call"].partition(".")
        if kind == "aten":
            return call_operator(name, arguments, options)
        if kind == "item":
            several, place = arguments
            if not isinstance(several, tuple | list) or type(place) is not int:
                raise ValueError("an item of what is no list")
            return several[place]
        # symbols stand for sizes while a program is traced into another format; no file holds one
        if not all(
            isinstance(argument, int | float | torch.SymInt | torch.SymFloat) for argument in arguments
        ):
            raise ValueError("arithmetic of what is no number")
        result = NUMBERS[name](*arguments)
        if isinstance(result, int) and abs(result) >= _LARGEST_INT:
            raise ValueError("a size beyond 64 bits")
        return result

    def _check_inputs(self, inputs: Mapping[str, Tensor]) -> None:
        sizes: dict[str, int] = {}
        for name, wanted in self._inputs.items():
            if name not in inputs:
                raise ConfigError(f"The student needs the input '{name}'; give it.")
            value, shape = inputs[name], wanted["shape"]
            fits = value.ndim == len(shape) and value.dtype == DTYPES[wanted["dtype"]]
            for size, found in zip(shape, value.shape, strict=False):
                fits = fits and found == (sizes.setdefault(size, found) if isinstance(size, str) else size)
            if not fits:
                wanted_shape = ", ".join(str(size) for size in shape)
                raise ConfigError(
                    f"The student takes '{name}' as {wanted['dtype']} [{wanted_shape}], not as "
                    f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}."
                )


def load_program(
    folder: Path, name: str = PROGRAM, weights_in: tuple[str, ...] = (WEIGHTS, CONSTANTS)
) -> Program:
    """The program in ``folder``.

    Args:
        name: of its file.    weights_in: files of its tensors; those after the first may be missing.

    Raises: DataError for a file that is missing or broken, and for whatever a program may not hold.
    """
    path = folder / name
    found = read_object(path)
    weights = _read_weights(folder, weights_in)
    try:
        _check(found, weights)
    except ValueError as error:
        raise DataError(
            f"{path} is no program that limbeck runs ({error}); export the student again."
        ) from error
    return Program(found["steps"], found["output"], weights, found["inputs"])


def _read_weights(folder: Path, names: tuple[str, ...]) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = {}
    for name in names:
        path = folder / name
        if name != names[0] and not path.exists():
            continue
        try:
            part = load_file(path)
        except Exception as error:  # safetensors has its own error, and raises others
            raise DataError(f"{path} cannot be read ({error}); copy or export it again.") from error
        if shared := set(part) & set(weights):
            raise DataError(f"{path} holds '{min(shared)}' a second time; export the student again.")
        weights |= part
    return weights


def _check(program: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
    """ValueError for what a program may not hold."""
    _keys(program, ("format", "inputs", "output", "steps"), "the program")
    if type(program["format"]) is not int or program["format"] != FORMAT:
        raise ValueError(f"its format is {program['format']!r}, not {FORMAT}")
    if not isinstance(program["inputs"], dict) or not program["inputs"]:
        raise ValueError("it has no inputs")
    for name, spec in program["inputs"].items():
        check_input(name, spec)
    if not isinstance(program["steps"], list):
        raise ValueError("its steps are no list")
    known: dict[str, Any] = {"input": program["inputs"], "weight": weights, "value": set()}
    for step in program["steps"]:
        _check_step(step, known)
        known["value"].add(step["name"])
    if not isinstance(program["output"], str) or program["output"] not in known["value"]:
        raise ValueError("its output is no step")


def check_input(name: str, spec: Any) -> None:
    """ValueError unless ``spec`` is ``{"dtype", "shape"}`` of an input: one of :data:`DTYPES`, sizes or their names."""
    if not isinstance(spec, dict) or spec.keys() != {"dtype", "shape"}:
        raise ValueError(f"the input {name!r} needs a dtype and a shape")
    shape = spec["shape"]
    if not isinstance(spec["dtype"], str) or spec["dtype"] not in DTYPES:
        raise ValueError(f"the input {name!r} has the dtype {spec['dtype']!r}")
    if not isinstance(shape, list) or not 1 <= len(shape) <= 16:
        raise ValueError(f"the input {name!r} has no shape")
    for size in shape:
        is_number = type(size) is int and 0 <= size < _LARGEST_INT
        if not is_number and not (isinstance(size, str) and size.isidentifier()):
            raise ValueError(f"the input {name!r} has the size {size!r}")


def _check_step(step: Any, known: Mapping[str, Any]) -> None:
    _keys(step, ("args", "call", "name", "options"), "a step")
    name, call = step["name"], step["call"]
    if not isinstance(name, str) or not name.isidentifier() or name in known["value"]:
        raise ValueError(f"a step has the name {name!r}, which must be new and a word")
    if not is_allowed(call):
        raise ValueError(f"the step '{name}' calls {call!r}, which is not allowed")
    if not isinstance(step["args"], list) or not isinstance(step["options"], dict):
        raise ValueError(f"the step '{name}' has no list of arguments")
    if step["options"] and not call.startswith("aten."):
        raise ValueError(f"the step '{name}' has options")
    if call == "item" and len(step["args"]) != 2:
        raise ValueError(f"the step '{name}' takes no item")
    if not all(option.isidentifier() for option in step["options"]):
        raise ValueError(f"the step '{name}' has an option that is no word")
    for argument in (*step["args"], *step["options"].values()):
        _check_argument(argument, known, name, _DEEPEST)


def is_allowed(call: Any) -> bool:
    """Whether a step may call this."""
    if not isinstance(call, str):
        return False
    kind, _, name = call.partition(".")
    return call == "item" or (kind == "aten" and name in OPERATORS) or (kind == "number" and name in NUMBERS)


def _check_argument(argument: Any, known: Mapping[str, Any], step: str, depth: int) -> None:
    if argument is None or type(argument) in (bool, float, str):
        return
    if type(argument) is int and abs(argument) < _LARGEST_INT:
        return
    if isinstance(argument, list) and depth:
        for part in argument:
            _check_argument(part, known, step, depth - 1)
        return
    if isinstance(argument, dict) and len(argument) == 1:
        ((kind, name),) = argument.items()
        allowed = known.get(kind, _CONSTANTS.get(kind, ()))
        if isinstance(name, str) and name in allowed:
            return
    raise ValueError(f"the step '{step}' has an argument that is not allowed: {repr(argument)[:60]}")


def _keys(value: Any, keys: tuple[str, ...], what: str) -> None:
    if not isinstance(value, dict) or tuple(sorted(value)) != keys:
        raise ValueError(f"{what} must hold {', '.join(keys)}, and nothing else")


def _made(argument: Any, sources: Mapping[str, Mapping[str, Any]]) -> Any:
    """The value that an argument stands for."""
    if isinstance(argument, list):
        return [_made(part, sources) for part in argument]
    if isinstance(argument, dict):
        ((kind, name),) = argument.items()
        return sources[kind][name] if kind in sources else _CONSTANTS[kind][name]
    return argument


def _values(step: Mapping[str, Any]) -> set[str]:
    """Names of the earlier results that a step reads."""
    found: set[str] = set()
    waiting = [*step["args"], *step["options"].values()]
    while waiting:
        argument = waiting.pop()
        if isinstance(argument, list):
            waiting += argument
        elif isinstance(argument, dict) and "value" in argument:
            found.add(argument["value"])
    return found


def constant(value: Any) -> dict[str, str] | None:
    """How the file writes a constant that JSON has no word for; None if it has no word for it either."""
    for kind, names in _CONSTANTS.items():
        for name, meant in names.items():
            same = value != value if name == "nan" else value == meant
            if type(value) is type(meant) and same:
                return {kind: name}
    return None
