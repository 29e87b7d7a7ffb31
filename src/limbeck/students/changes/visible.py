"""A network that sees some of its patches, and that is run no further than what is wanted of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.errors import ConfigError, DataError, UnknownNameError, nearest
from limbeck.students.calling import call_by_name
from limbeck.students.layers import layer_path
from limbeck.students.recorder import first_tensor


@dataclass(frozen=True)
class Visible:
    """Which tokens of each row are seen by what follows the module that makes them.

    Args:
        at: path of the module that puts out the tokens ``[n, first + L, d]`` with their positions in them.
        index: ``[n, k]`` int64, the patches that are seen, in [0, L).
        first: how many tokens come before the patches (a class token) and are always seen.
    """

    at: str
    index: Tensor
    first: int = 1


class _Enough(Exception):
    """All that is wanted was seen."""


def inner_states(
    model: nn.Module, inputs: Mapping[str, Tensor], layers: Sequence[str], visible: Visible | None = None
) -> dict[str, Tensor]:
    """What inner layers put out for ``inputs``; the forward ends with the last of them, and nothing after it is run.

    Args:
        layers: module paths, ``layer:4``, ``layer:-1`` or ``layer:50%``.
        visible: the tokens that are seen; None = all.

    Raises: UnknownNameError for a layer that does not exist; ConfigError for one that did not run; DataError where the
    tokens do not fit ``visible``.
    """
    found: dict[str, Tensor] = {}
    with contextlib.ExitStack() as stack:
        if visible is not None:
            stack.enter_context(_seeing(model, visible))
        for name in layers:
            module = model.get_submodule(layer_path(model, name))
            handle = module.register_forward_hook(_keeper(found, name, len(set(layers))))
            stack.callback(handle.remove)
        with contextlib.suppress(_Enough):
            call_by_name(model, inputs)
    for name in layers:
        if name not in found:
            raise ConfigError(f"The layer '{name}' put out no tensor in this forward; ask for one that runs.")
    return {name: found[name] for name in layers}


def _keeper(found: dict[str, Tensor], name: str, wanted: int) -> Any:
    def keep(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        value = first_tensor(output)
        if value is not None:
            found[name] = value.clone()  # a following in-place operation would overwrite it
        if len(found) == wanted:
            raise _Enough

    return keep


@contextlib.contextmanager
def _seeing(model: nn.Module, visible: Visible) -> Iterator[None]:
    paths = dict(model.named_modules())
    if visible.at not in paths:
        raise UnknownNameError(
            f"No module {visible.at!r} puts out the tokens of {type(model).__name__}; {nearest(visible.at, paths)}"
        )

    def choose(module: nn.Module, args: tuple[Any, ...], output: Any) -> Tensor:
        index, first = visible.index, visible.first
        n, k = index.shape
        if not isinstance(output, Tensor) or output.dim() != 3 or len(output) != n:
            found = list(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise DataError(
                f"The module {visible.at!r} puts out {found}, and tokens are [{n}, number, width]; name the one that "
                "adds positions to patches."
            )
        if n and k and int(index.max()) >= output.shape[1] - first:
            raise DataError(
                f"The module {visible.at!r} puts out {output.shape[1]} tokens, {first} of them before the patches, and "
                f"patch {int(index.max())} is asked for; both sides need one grid of patches."
            )
        where = index.to(output.device)[:, :, None].expand(n, k, output.shape[2])
        return torch.cat([output[:, :first], output[:, first:].gather(1, where)], 1)

    handle = paths[visible.at].register_forward_hook(choose)
    try:
        yield
    finally:
        handle.remove()
