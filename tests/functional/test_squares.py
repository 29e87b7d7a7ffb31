"""Products of a tensor with itself: value, gradient and second gradient are autograd's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from limbeck.functional import squares
from limbeck.functional.squares import gram, squared_lengths


@pytest.mark.parametrize("shape", [(4, 3), (2, 4, 3), (0, 3)])
def test_gram(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(gram(x), x @ x.mT)
    weight = torch.randn(*shape[:-1], shape[-2], dtype=torch.float64)  # not symmetric
    same(gram, lambda x: x @ x.mT, x, weight)


@pytest.mark.parametrize("block", [1, 24, 10**6])
@pytest.mark.parametrize("n", [0, 1, 5])
def test_squared_lengths(block: int, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(squares, "BLOCK", block)
    x = torch.randn(n, 3, 4, dtype=torch.float64, requires_grad=True)
    same(squared_lengths, lambda x: x.square().sum(1), x, torch.randn(n, 4, dtype=torch.float64))


def same(ours: object, theirs: object, x: Tensor, weight: Tensor) -> None:
    found = []
    for function in (ours, theirs):
        value = (function(x) * weight).sum()  # type: ignore[operator]
        (slope,) = torch.autograd.grad(value, x, create_graph=True)
        (second,) = torch.autograd.grad(slope.pow(3).sum(), x)
        found.append((value, slope, second))
    for a, b in zip(*found):
        torch.testing.assert_close(a, b)
    if len(x):
        assert torch.autograd.gradcheck(ours, x)
        assert torch.autograd.gradgradcheck(ours, x)


@pytest.mark.parametrize("function", [gram, squared_lengths])
def test_the_transforms_of_torch_func_reach_through(function: object) -> None:
    x, moved = torch.randn(2, 5, 3, 4, dtype=torch.float64)
    plain = (lambda x: x @ x.mT) if function is gram else (lambda x: x.square().sum(1))
    torch.testing.assert_close(transformed(function, x, moved), transformed(plain, x, moved))


def transformed(function: object, x: Tensor, moved: Tensor) -> tuple[Tensor, ...]:
    def squared(row: Tensor) -> Tensor:
        return function(row[None]).pow(2).sum()  # type: ignore[operator]

    return (torch.func.vmap(torch.func.grad(squared))(x), *torch.func.jvp(function, (x,), (moved,)))
