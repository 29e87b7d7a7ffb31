"""A plain torch model as a program that runs without its Python classes (traced by ``torch.export``)."""

from __future__ import annotations

import json
import math
import operator
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file, save_model
from torch import Tensor, fx, nn
from torch.export.graph_signature import OutputKind
from torch.fx.experimental import _config as fx_config
from torch.utils._pytree import tree_leaves

from limbeck.errors import ExportError
from limbeck.students.export.answer import Answer
from limbeck.students.export.operators import NUMBERS
from limbeck.students.export.program import CONSTANTS, FORMAT, PROGRAM, WEIGHTS, constant, is_allowed

Traced = torch.export.ExportedProgram

# Arithmetic of sizes that torch has functions of its own for.
_OWN_NAMES = {
    "sym_max": "max", "sym_min": "min", "sym_float": "float", "sym_int": "int", "sym_not": "not_", "_sym_sqrt": "sqrt",
}  # fmt: skip


def save_program(
    answer: Answer,
    inputs: Mapping[str, Tensor],
    folder: Path,
    name: str = PROGRAM,
    weights_in: tuple[str, str] = (WEIGHTS, CONSTANTS),
) -> None:
    """Write a model, in evaluation mode, as a program (:mod:`limbeck.students.export.program`) with its weights.

    Any number of rows, and other sizes where the model allows them (image sides, frames, tokens).
    ``model.safetensors`` holds the weights as ``model.state_dict()`` names them, tied ones once;
    ``constants.safetensors``, where it is needed, whatever else the forward reads. One file twice in ``weights_in``
    holds both.

    Raises: ExportError when the model's forward cannot be traced, or calls what a program may not.
    """
    model = answer.model
    program, shapes = _trace(answer, inputs, functional=True)
    weights, constants = (folder / file for file in weights_in)
    save_model(model, str(weights))
    writer = _Writer(program, model, load_file(weights))
    text = json.dumps(writer.program(list(inputs), shapes), separators=(",", ":"), allow_nan=False)
    if writer.constants:
        held = load_file(weights) if constants == weights else {}
        save_file({**held, **writer.constants}, constants)
    (folder / name).write_text(text + "\n", encoding="utf-8")


def traced(answer: Answer, inputs: Mapping[str, Tensor]) -> Traced:
    """The program of a model (on the CPU, in evaluation mode), from a mapping of inputs to what it answers.

    Raises: ExportError when the model's forward cannot be traced for any number of rows.
    """
    return _trace(answer, inputs, functional=False)[0]


def _trace(
    answer: Answer, inputs: Mapping[str, Tensor], *, functional: bool
) -> tuple[Traced, dict[str, Tensor]]:
    """The program, and a stand-in for each placeholder of it, whose free sizes are symbols.

    Args:
        functional: as functions without side effects; nothing else is decomposed.
    """
    inputs = {name: _two_rows(value) for name, value in inputs.items()}
    rows = torch.export.Dim("rows", min=1)
    sizes = {
        name: {0: rows, **{i: torch.export.Dim.AUTO for i in range(1, value.ndim) if value.shape[i] > 1}}
        for name, value in inputs.items()
    }
    one_row = {name: value[:1] for name, value in inputs.items()}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's own, about itself
        wanted = answer(one_row)
        # The second try keeps a count of rows from being told apart from 1, which EmbeddingBag needs.
        for oblivious in (False, True):
            try:
                with fx_config.patch({"backed_size_oblivious": oblivious}):  # type: ignore[attr-defined]
                    program = torch.export.export(answer, (inputs,), dynamic_shapes=(sizes,))
                    # Before it is made functional, which forgets how free a size is.
                    shapes = {n.name: n.meta["val"] for n in program.graph.nodes if n.op == "placeholder"}
                    program = program.run_decompositions({}) if functional else program
                torch.testing.assert_close(program.module()(one_row), wanted, rtol=1e-3, atol=1e-4)
            except Exception as error:  # torch.export raises whatever the model's code makes of its stand-ins
                reason = error
            else:
                return program, shapes
    raise ExportError(
        f"{type(answer.model).__name__} cannot be exported, as its forward cannot be traced for any number of rows; "
        f"take branches on values of tensors out of it ({str(reason).strip().splitlines()[0]})"
    ) from reason


def _two_rows(value: Tensor) -> Tensor:
    """At least two rows of an example, as tracing takes a size of one for a constant."""
    value = value.detach().cpu().contiguous()  # else the program would ask for the strides of this slice
    return value if len(value) > 1 else torch.cat([value, value])


class _Writer:
    """A traced program as the JSON of :mod:`limbeck.students.export.program`.

    Args:
        saved: the weights that are written, by name; the program's other tensors are put into ``constants``.
    """

    def __init__(self, program: Traced, model: nn.Module, saved: Mapping[str, Tensor]) -> None:
        self._program, self._model, self._saved = program, model, saved
        self._written = {_place(value): name for name, value in model.state_dict().items() if name in saved}
        self.constants: dict[str, Tensor] = {}

    def program(self, input_names: list[str], shapes: Mapping[str, Tensor]) -> dict[str, Any]:
        """The whole file; ExportError for what it may not hold.

        Args:
            input_names: in the order of the model's mapping.
            shapes: placeholder to a stand-in of its shape, free sizes as symbols.
        """
        signature = self._program.graph_signature
        nodes = {node.name: node for node in self._program.graph.nodes}
        # in the order in which torch flattens a mapping
        names = dict(zip(signature.user_inputs, tree_leaves({n: n for n in input_names}), strict=True))
        sources = {node: {"input": name} for node, name in names.items()}
        tensors = signature.inputs_to_parameters | signature.inputs_to_buffers
        for node, target in (tensors | signature.inputs_to_lifted_tensor_constants).items():
            sources[node] = {"weight": self._weight(target)}
        (output,) = (spec for spec in signature.output_specs if spec.kind is OutputKind.USER_OUTPUT)
        needed = _needed(nodes[output.arg.name])
        steps = [
            self._step(node, sources)
            for node in nodes.values()
            if node in needed and node.op == "call_function"
        ]
        if not steps:
            raise ExportError(f"{type(self._model).__name__} computes nothing, so there is nothing to ship.")
        sizes: dict[str, str] = {}
        inputs = {name: _input(shapes[node], sizes) for node, name in names.items()}
        return {
            "format": FORMAT,
            "inputs": {name: inputs[name] for name in input_names},
            "steps": steps,
            "output": steps[-1]["name"],
        }

    def _weight(self, target: str) -> str:
        """Under which name a tensor of the program is saved."""
        name = target.removeprefix("model.")
        value = self._program.state_dict.get(target, self._program.constants.get(target))
        assert isinstance(value, Tensor)  # a custom object is no lifted tensor
        if name not in self._saved and _place(value) in self._written:
            name = self._written[_place(value)]
        if name in self._saved and self._saved[name].shape == value.shape:
            return name
        name = f"constant.{target}"
        self.constants[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        return name

    def _step(self, node: fx.Node, sources: Mapping[str, dict[str, str]]) -> dict[str, Any]:
        call = _call(node.target)
        if not is_allowed(call):
            raise ExportError(
                f"{type(self._model).__name__} cannot be shipped, as its forward calls {call}, which a shipped "
                "program may not; take it out of the forward, or ask for it to be allowed."
            )
        return {
            "name": node.name,
            "call": call,
            "args": [self._argument(argument, sources) for argument in node.args],
            "options": {name: self._argument(value, sources) for name, value in node.kwargs.items()},
        }

    def _argument(self, value: Any, sources: Mapping[str, dict[str, str]]) -> Any:
        if isinstance(value, fx.Node):
            return sources.get(value.name, {"value": value.name})
        if isinstance(value, list | tuple):
            return [self._argument(part, sources) for part in value]
        if value is None or isinstance(value, bool | int | str):
            return value
        if isinstance(value, float) and math.isfinite(value):
            return value
        if (written := constant(value)) is None:
            raise ExportError(
                f"{type(self._model).__name__} cannot be shipped, as its forward uses {value!r}, which a shipped "
                "program has no word for; take it out of the forward."
            )
        return written


def _place(value: Tensor) -> tuple[Any, ...]:
    """Equal for tensors that are one in memory."""
    return value.data_ptr(), value.dtype, tuple(value.shape), value.stride()


def _needed(output: fx.Node) -> set[fx.Node]:
    """The nodes that the output is computed from; checks of sizes and changes of buffers are none."""
    found, waiting = set[fx.Node](), [output]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += node.all_input_nodes
    return found


def _call(target: Any) -> str:
    """What a step calls, whether it is allowed or not."""
    if isinstance(target, torch._ops.OpOverload):
        return f"{target.namespace}.{target._schema.name.partition('::')[2]}.{target._overloadname}"
    if target is operator.getitem:
        return "item"
    name = getattr(target, "__name__", str(target))
    name = _OWN_NAMES.get(name, name)
    return f"number.{name}" if name in NUMBERS else name


def _input(value: Tensor, sizes: dict[str, str]) -> dict[str, Any]:
    """Dtype and shape of an input; sizes that are equal by necessity get one name."""
    shape: list[int | str] = []
    for size in value.shape:
        fixed = size if isinstance(size, int) else size.node.maybe_as_int()
        if fixed is not None:
            shape.append(int(fixed))
        else:  # a symbol, or what follows from others, which the steps see for themselves
            shape.append(sizes.setdefault(str(size), f"size{len(sizes)}" if sizes else "rows"))
    return {"dtype": str(value.dtype).removeprefix("torch."), "shape": shape}
