"""Walks over the modules of a net that are made in every step, without the names that torch's own put together.

For a small net torch's walks (``train()``, ``parameters()``, ``zero_grad()``) take as long as a layer.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn


class Flags:
    """The ``training`` flags of a module and all below it, as they were last set.

    ``hold`` says whether they still stand so: whoever moved one in between, a callback that evaluated the student, or
    put another module in the place of one, is seen, and the flags are set anew.
    """

    def __init__(self) -> None:
        self._seen: list[tuple[nn.Module, bool, tuple[nn.Module | None, ...]]] = []

    def hold(self, mode: bool) -> bool:
        seen = self._seen
        return (
            bool(seen)
            and seen[0][1] is mode
            and all(
                module.training is flag and tuple(module._modules.values()) == below
                for module, flag, below in seen
            )
        )

    def keep(self, module: nn.Module) -> None:
        """Take note of how they stand now."""
        self._seen = [(part, part.training, tuple(part._modules.values())) for part in modules_of(module)]


def modules_of(module: nn.Module) -> list[nn.Module]:
    """``module`` and all below it, each once, in the order of ``module.modules()``."""
    found: dict[int, nn.Module] = {}

    def walk(part: nn.Module) -> None:
        found[id(part)] = part
        for below in part._modules.values():
            if below is not None and id(below) not in found:
                walk(below)

    walk(module)
    return list(found.values())


def parameters_of(modules: Iterable[nn.Module]) -> list[nn.Parameter]:
    """The parameters of ``modules`` (themselves, not what is below them), each once, in the order of
    ``module.parameters()``."""
    found = {
        id(value): value for module in modules for value in module._parameters.values() if value is not None
    }
    return list(found.values())


def buffers_of(modules: Iterable[nn.Module]) -> list[Tensor]:
    """The same of buffers."""
    found = {
        id(value): value for module in modules for value in module._buffers.values() if value is not None
    }
    return list(found.values())
