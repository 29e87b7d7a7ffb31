"""Watches one forward pass: what entered and left the linear layers, the dropouts and the asked-for layers.

Hooks live only inside ``with Recorder(...)``; nothing is left on the model, whatever the forward raises.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

_FUNCTIONAL_DROPOUTS = frozenset(
    {
        F.dropout,
        F.alpha_dropout,
        F.feature_alpha_dropout,
        F.dropout1d,
        F.dropout2d,
        F.dropout3d,
        torch.dropout,
    }
)


def is_dropout(module: nn.Module) -> bool:
    """Whether a module drops at random (also the custom ones of model libraries, told by their name)."""
    return isinstance(module, nn.modules.dropout._DropoutNd) or "dropout" in type(module).__name__.lower()


def first_tensor(output: Any) -> Tensor | None:
    """The tensor that a module put out: itself, or the first one of a tuple, list or mapping."""
    if isinstance(output, Tensor):
        return output
    values = output.values() if hasattr(output, "values") else output
    if isinstance(values, (tuple, list)) or hasattr(output, "values"):
        return next((value for value in values if isinstance(value, Tensor)), None)
    return None


def is_pointwise(module: nn.Module) -> bool:
    """Whether a convolution looks at one position alone, which makes it a linear layer of every position."""
    return isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)) and (
        set(module.kernel_size) == {1} and set(module.stride) == {1} and module.groups == 1
        and (isinstance(module.padding, str) or set(module.padding) == {0})
    )  # fmt: skip


@dataclass
class LinearCall:
    """One execution of a linear layer: its ``inputs [..., d]`` before dropout and its ``outputs [..., C]`` (of a
    pointwise convolution with the channels last).

    ``functional_dropout`` says that a dropout which is no module fed it; ``given`` is what came in, after dropout. Of a
    layer that was ``skipped`` the outputs are empty.
    """

    path: str
    inputs: Tensor
    outputs: Tensor
    functional_dropout: bool
    given: Tensor
    skipped: bool = False


class Recorder:
    """Records one forward of ``model`` on the thread that opened it.

    Args:
        linears: paths of the linear layers to watch.
        hidden: paths of the layers whose outputs are asked for.
        skipped: path of a linear layer that is given no positions, so that its outputs are never made.
        closed: modules inside which nothing is watched.
        watch_functional: also see ``torch.nn.functional.dropout``; this passes every torch call through
            Python (8 to 20% of the time of a small model), so it is used only where it is needed.

    Attributes, filled by the forward:
        calls: number of outputs ``C`` to the last call of a linear layer that wide. Only the last is kept, so
            that the first forward of a large model does not hold all its activations.
        executed: paths of the linear layers that ran, in the order of their last call.
        hidden_states: layer path to a copy of its last output, safe from later in-place operations.
    """

    def __init__(
        self,
        model: nn.Module,
        linears: dict[str, nn.Module],
        hidden: dict[str, nn.Module],
        watch_functional: bool,
        skipped: str | None = None,
        closed: Collection[nn.Module] = (),
    ) -> None:
        self.calls: dict[int, LinearCall] = {}
        self.executed: dict[str, None] = {}
        self.hidden_states: dict[str, Tensor] = {}
        self._model, self._linears, self._hidden = model, linears, hidden
        self._watch_functional, self._skipped, self._closed = watch_functional, skipped, closed
        self._entered: Tensor | None = None  # the whole input of the skipped layer
        self._dropped: tuple[Tensor, Tensor] | None = None  # values before and after the last dropout
        self._dropped_by_module = False
        self._waiting: Tensor | None = None  # a copy of what a dropout module is about to overwrite
        self._thread = threading.get_ident()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Recorder:
        with contextlib.ExitStack() as stack:
            for handle in self._hooks():
                stack.callback(handle.remove)
            if self._watch_functional:
                stack.enter_context(_DropoutWatch(self))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()
        self._dropped = self._waiting = None

    def _hooks(self) -> Iterator[RemovableHandle]:
        for module in self._model.modules():
            # in evaluation a dropout hands its input on
            if module.training and is_dropout(module) and module not in self._closed:
                yield module.register_forward_pre_hook(self._before_dropout)
                yield module.register_forward_hook(self._after_dropout)
        for path, module in self._linears.items():
            if path == self._skipped:
                yield module.register_forward_pre_hook(self._before_skipped)
            yield module.register_forward_hook(
                lambda m, args, out, path=path: self._after_linear(path, args, out)
            )
        for path, module in self._hidden.items():
            yield module.register_forward_hook(lambda m, args, out, path=path: self._after_hidden(path, out))

    def _elsewhere(self) -> bool:
        return threading.get_ident() != self._thread

    def _before_dropout(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        inplace = getattr(module, "inplace", False)
        if not self._elsewhere() and args and isinstance(args[0], Tensor):
            self._waiting = args[0].clone() if inplace else args[0]

    def _after_dropout(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if not self._elsewhere() and self._waiting is not None and isinstance(output, Tensor):
            self._dropped, self._waiting = (self._waiting, output), None
            self._dropped_by_module = True

    def functional_dropout(self, before: Tensor, after: Tensor) -> None:
        """Take note of a dropout that is no module (inside one, the module's own hook comes later)."""
        self._dropped, self._dropped_by_module = (before, after), False

    def _before_skipped(self, module: nn.Module, args: tuple[Any, ...]) -> Any:
        if self._elsewhere() or not args or not isinstance(args[0], Tensor):
            return None
        self._entered = args[0]
        return (args[0][..., :0, :], *args[1:])

    def _after_linear(self, path: str, args: tuple[Any, ...], output: Any) -> None:
        value = first_tensor(args)
        if self._elsewhere() or value is None or not isinstance(output, Tensor):
            return
        if skipped := path == self._skipped:
            value = self._entered if self._entered is not None else value
        before = self._before_the_dropout(value)
        functional = before is not value and not self._dropped_by_module
        if is_pointwise(self._linears[path]):
            before, output, value = (x.movedim(1, -1) for x in (before, output, value))
        self.executed.pop(path, None)
        self.executed[path] = None
        self.calls[output.shape[-1]] = LinearCall(path, before, output, functional, value, skipped)

    def _before_the_dropout(self, value: Tensor) -> Tensor:
        """``value``, or what it was before the dropout that made it (a reshape in between is followed)."""
        if self._dropped is None:
            return value
        before, after = self._dropped
        if value is after:
            return before
        is_reshape = value._base is not None and value._base is (
            after if after._base is None else after._base
        )
        whole = (
            is_reshape and value.numel() == after.numel() and value.storage_offset() == after.storage_offset()
        )
        return before.reshape(value.shape) if whole and value.is_contiguous() else value

    def _after_hidden(self, path: str, output: Any) -> None:
        value = first_tensor(output)
        if not self._elsewhere() and value is not None:
            self.hidden_states[path] = value.clone()  # a following in-place ReLU would overwrite it


class _DropoutWatch(TorchFunctionMode):
    """Reports calls of functional dropout to a recorder; the only way to see a dropout that is no module."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func not in _FUNCTIONAL_DROPOUTS:
            return func(*args, **kwargs)
        before = args[0] if args else kwargs["input"]
        inplace = kwargs.get("inplace", len(args) > 3 and args[3])
        before = before.clone() if inplace else before
        after = func(*args, **kwargs)
        self._recorder.functional_dropout(before, after)
        return after
