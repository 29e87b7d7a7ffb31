"""Inputs reach a model by name or by position, as its forward takes them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from limbeck.errors import ConfigError
from limbeck.students.calling import call_by_name


class Named(nn.Module):
    def forward(self, image: Tensor, mask: Tensor | None = None) -> Tensor:
        return image if mask is None else image * mask


class Other(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 1


def logged(forward: Callable[..., Any]) -> Callable[..., Any]:
    """As a user's decorator without ``functools.wraps``."""

    def inner(*args: Any, **kwargs: Any) -> Any:
        return forward(*args, **kwargs)

    return inner


class Logged(nn.Module):
    @logged
    def forward(self, x: Tensor) -> Tensor:
        return x + 1


class Static(nn.Module):
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x + 1


X = torch.ones(2, 3)


def test_by_name_and_by_position() -> None:
    assert torch.equal(call_by_name(Named(), {"image": X, "mask": 2 * X}), 2 * X)
    for model in (Other(), Logged(), Static()):
        for _ in range(2):  # the second time the parameters are known
            assert torch.equal(call_by_name(model, {"image": X}), X + 1)
    with pytest.raises(ConfigError, match="Named takes the inputs image, mask, not image, picture"):
        call_by_name(Named(), {"image": X, "picture": X})


def test_a_forward_that_is_replaced_is_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Other()
    call_by_name(model, {"image": X})
    monkeypatch.setattr(Other, "forward", lambda self, image, scale: image * scale)
    assert torch.equal(call_by_name(model, {"image": X, "scale": 3 * X}), 3 * X)
    model.forward = functools.partial(lambda picture, by: picture * by, by=5)  # type: ignore[method-assign]
    assert torch.equal(call_by_name(model, {"picture": X}), 5 * X)
