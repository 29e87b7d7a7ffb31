"""A student whose blocks run through ``torch.compile`` for a while: what is watched of it lies between them."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from limbeck.errors import ConfigError
from limbeck.students.layers import block_paths

if TYPE_CHECKING:
    from limbeck.students.student import Student


@contextmanager
def blocks_compiled(student: Student, backend: str = "inductor") -> Iterator[None]:
    """Inside, the blocks of ``student`` are compiled, each kind of block once; names of weights and results stay (up to
    rounding, and the draws of dropout). Head, pooling and embeddings run as before, and so do the hooks on them.

    Args:
        backend: of ``torch.compile``.
    Raises: ConfigError for a student without blocks beside its head, and for an unknown backend.
    """
    if backend not in torch.compiler.list_backends(()):
        known = ", ".join(torch.compiler.list_backends())
        raise ConfigError(f"torch.compile has no backend {backend!r}; there are {known}.")
    blocks = _blocks(student)
    compiled = {kind: _compiled(kind, backend) for kind in {type(block) for block in blocks}}
    for block in blocks:  # bound, so that a copy of the student runs with its own weights
        block.forward = types.MethodType(compiled[type(block)], block)
    student.closed = frozenset(part for block in blocks for part in block.modules())
    try:
        yield
    finally:
        student.closed = frozenset()
        for block in blocks:
            del block.forward


def _blocks(student: Student) -> list[nn.Module]:
    heads = student.heads()
    paths = [
        path
        for path in block_paths(student.model)
        if not any(head == path or head.startswith(f"{path}.") for head in heads)
    ]
    blocks = [student.model.get_submodule(path) for path in paths]
    if not blocks or any("forward" in block.__dict__ for block in blocks):
        raise ConfigError(
            f"{type(student.model).__name__} has no blocks that could be compiled: a row of layers of one class beside "
            "the head; leave out training.compile_student."
        )
    return blocks


def _compiled(kind: type[nn.Module], backend: str) -> Callable[..., Any]:
    inner = torch.compile(kind.forward, backend=backend)

    @functools.wraps(kind.forward)
    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        with torch._C.DisableTorchFunction():  # else a watch for dropouts outside would be traced into it
            return inner(self, *args, **kwargs)

    return forward
