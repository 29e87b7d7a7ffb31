"""Any function as a teacher: a generator, an API behind a client, a rule."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from limbeck.errors import ConfigError, UnknownNameError, nearest
from limbeck.signals.fingerprint import settings_fingerprint
from limbeck.signals.output import SIGNALS, AccessLevel, TeacherOutput, as_signal
from limbeck.signals.own_code import of_function, own_code

ACCESS_LEVELS = ("weights", "logits", "features", "text")


class CallableTeacher:
    """Calls ``function(inputs)`` for each batch.

    Args:
        function: takes the batch (column name to tensor or list) and returns a :class:`TeacherOutput`, or a
            mapping of signal names (``features``, ``logits``, ``hidden_states``, ``text``, ...) to arrays; a list
            of arrays of different lengths is a :class:`~limbeck.signals.Ragged`.
        version: what tells one state of the function from another (a model's name and date, a hash); part of
            the fingerprint. Default: the function's name and source code, which do not show what it loads or
            calls.
        class_names: names of its classes, in the order of its logits.
        access: what it gives, ``weights``, ``logits``, ``features`` or ``text``.
        head: its classifier, ``(weight [C, D], bias [C] or None)``.
        licence: what its owner allows; kept with a bank.

    Example:
        >>> teacher = CallableTeacher(lambda inputs: {"features": inputs["x"] * 2})
        >>> teacher({"x": torch.ones(1, 2)}).features
        tensor([[2., 2.]])
    """

    def __init__(
        self,
        function: Callable[[Mapping[str, Any]], TeacherOutput | Mapping[str, Any]],
        *,
        version: str | None = None,
        class_names: Sequence[str] | None = None,
        access: AccessLevel = "features",
        head: tuple[Tensor, Tensor | None] | None = None,
        licence: str = "",
    ) -> None:
        if access not in ACCESS_LEVELS:
            raise ConfigError(f"There is no access level {access!r}; {nearest(str(access), ACCESS_LEVELS)}")
        self.function, self.access, self.head, self.licence = function, access, head, licence
        self.class_names = None if class_names is None else tuple(class_names)
        self._version = version

    def __call__(self, inputs: Mapping[str, Any]) -> TeacherOutput:
        name = getattr(self.function, "__qualname__", type(self.function).__qualname__)
        with torch.no_grad(), own_code(f"the teacher {name!r}", of_function(self.function)):
            answer = self.function(inputs)
        if isinstance(answer, TeacherOutput):
            return _of_tensors(answer)
        if not isinstance(answer, Mapping):
            raise ConfigError(
                f"The teacher's function returned {type(answer).__name__}; it must return a TeacherOutput "
                "or a mapping such as {'features': array}."
            )
        if unknown := [name for name in answer if name not in SIGNALS]:
            raise UnknownNameError(f"There is no signal {unknown[0]!r}; {nearest(str(unknown[0]), SIGNALS)}")
        return TeacherOutput(**{name: as_signal(name, value) for name, value in answer.items()})

    def fingerprint(self) -> dict[str, str]:
        """Parts: ``function`` and, if given, ``version``."""
        name = getattr(self.function, "__qualname__", type(self.function).__qualname__)
        if self._version is not None:
            return {"function": name, "version": self._version}
        return {"function": f"{name} {settings_fingerprint(source_of(self.function))}"}


def _of_tensors(answer: TeacherOutput) -> TeacherOutput:
    """An output with tensors where it holds arrays."""
    given = {name: as_signal(name, value) for name in SIGNALS if (value := getattr(answer, name)) is not None}
    hidden = given.pop("hidden_states")
    changed = {
        name: value for name, value in given.items() if name != "text" and value is not getattr(answer, name)
    }
    if any(hidden[layer] is not state for layer, state in answer.hidden_states.items()):
        changed["hidden_states"] = hidden
    return replace(answer, **changed) if changed else answer


def source_of(function: Any) -> str:
    """The source code of a function; its type where that is not known."""
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):  # typed into a console, or a callable object
        return str(type(function))
