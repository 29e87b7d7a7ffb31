"""Networks of one's own: ``MODULE:FACTORY``, or a module given from Python.

A recipe may come from a stranger, so that a name in it imports nothing by itself: :func:`own_models` says, for the
time of a run, whether names may be imported, and which networks were given. Only Python and the command line call it.
"""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

from torch import nn

from limbeck.errors import ConfigError, UnknownNameError, nearest
from limbeck.signals.own_code import callable_named, of_module, own_code

Factory = Callable[..., nn.Module]
_TRUSTED: ContextVar[bool] = ContextVar("trusted", default=False)
_GIVEN: ContextVar[Mapping[str, nn.Module | Factory]] = ContextVar("given", default=MappingProxyType({}))


@contextmanager
def own_models(
    *, trust_code: bool = False, given: Mapping[str, nn.Module | Factory] | None = None
) -> Iterator[None]:
    """Inside, names ``MODULE:FACTORY`` stand for networks; what an outer call allows is allowed too.

    Args:
        trust_code: import the modules that recipes name, which runs their code.
        given: name to a network, of which each model is a copy, or to the function that makes one.
    """
    tokens = (
        (_TRUSTED, _TRUSTED.set(_TRUSTED.get() or trust_code)),
        (_GIVEN, _GIVEN.set({**_GIVEN.get(), **(given or {})})),
    )
    try:
        yield
    finally:
        for variable, token in tokens:
            variable.reset(token)  # type: ignore[arg-type]


def is_own(spec: str) -> bool:
    """Whether ``spec`` is of the form ``MODULE:FACTORY``."""
    known = spec.startswith(("hf:", "causal_lm:"))
    return not known and re.fullmatch(r"[^\W\d][\w.]*:[^\W\d][\w.<>]*", spec) is not None


def name_of_own(network: nn.Module | Factory) -> str:
    """What a recipe calls a network that was given from Python: where its class or function is written."""
    written = type(network) if isinstance(network, nn.Module) else network
    name = getattr(written, "__qualname__", type(written).__qualname__)
    return f"{getattr(written, '__module__', 'given')}:{name}"


def check_trusted(spec: str) -> None:
    """Refuse a name whose code nobody has allowed; ConfigError."""
    if is_own(spec) and spec not in _GIVEN.get() and not _TRUSTED.get():
        raise ConfigError(
            f"The model {spec!r} is code of its own, which a recipe does not run by itself; read it, and pass "
            "--trust-code (trust_code=True in Python) if you trust it."
        )


def told_by_line(spec: str) -> AbstractContextManager[None]:
    """Inside, what fails in a network of one's own is told by its function and line."""
    return (
        own_code(f"the model {spec!r}", of_module(spec.partition(":")[0])) if is_own(spec) else nullcontext()
    )


def own_model(spec: str, n_outputs: int, config: Mapping[str, Any]) -> nn.Module:
    """The network that ``spec`` names.

    Args:
        n_outputs: of the problem; given as ``n_classes`` where the function takes it.
        config: the function's other arguments.

    Raises: ConfigError for code that is not trusted, that fails (with its line), or that makes no ``nn.Module``;
    UnknownNameError for a module, function or argument that is not there.
    """
    check_trusted(spec)
    made = _GIVEN.get().get(spec)
    if made is None:
        made = callable_named(spec, "the model")
    if isinstance(made, nn.Module):
        if config:
            raise ConfigError(
                f"The model {spec!r} is a finished network, which takes no config; leave it out."
            )
        return copy.deepcopy(made)
    accepted = inspect.signature(made).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in accepted.values()):
        for name in config:
            if name not in accepted:
                raise UnknownNameError(f"{spec} has no argument {name!r}; {nearest(name, list(accepted))}")
    sizes = {"n_classes": n_outputs} if "n_classes" in accepted and "n_classes" not in config else {}
    with told_by_line(spec):
        model = made(**sizes, **config)
    if not isinstance(model, nn.Module):
        raise ConfigError(f"{spec} made a {type(model).__name__}; it must return a torch.nn.Module.")
    return model
