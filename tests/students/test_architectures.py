"""ResNet and ViT from their configurations alone: sizes of the papers, any channels, trained and shipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from limbeck.data.base import Examples
from limbeck.errors import ConfigError
from limbeck.students import Student
from limbeck.students.pretrained import auto_class, load_shipped
from limbeck.students.sizing import sized_config
from limbeck.students.specs import model_from_spec


def count(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("resnet18", 11_689_512), ("resnet50", 25_557_032), ("vit_small", 22_050_664), ("vit_base", 86_567_656),
    ],
)  # fmt: skip
def test_sizes_are_those_of_the_papers(name: str, parameters: int) -> None:
    """As torchvision and DeiT count them, with 1,000 classes."""
    with torch.device("meta"):
        assert count(model_from_spec(name, n_classes=1000)) == parameters


@pytest.mark.parametrize(
    ("name", "config", "width"),
    [("resnet18", {}, 512), ("vit_small", {"size": [32, 48], "layers": 1}, 384)],
)
def test_a_student_of_spectrograms_shows_features_and_comes_back_from_disk(
    name: str, config: dict[str, Any], width: int, tmp_path: Path
) -> None:
    model = model_from_spec(name, n_classes=5, in_channels=1, **config)
    student, x = Student(model).eval(), torch.randn(2, 1, 32, 48)
    out = student({"x": x})
    assert out.features.shape == (2, width)
    weight, bias = out.head
    torch.testing.assert_close(out.logits, out.features @ weight.T + bias)
    auto = auto_class(model)
    assert auto == "AutoModelForImageClassification"
    model.save_pretrained(tmp_path)  # type: ignore[operator]
    with torch.no_grad():
        torch.testing.assert_close(load_shipped(tmp_path, auto)({"pixel_values": x}), out.logits)


def test_sizes_come_from_the_data() -> None:
    rows = Examples.classified({"x": torch.zeros(2, 1, 64, 96)}, ("a", "b"), [0, 1], ("x", "y"))
    assert sized_config("vit_small", {}, rows) == {"in_channels": 1, "size": [64, 96]}
    assert sized_config("resnet18", {}, rows) == {"in_channels": 1}
    with pytest.raises(
        ConfigError, match=r"'vit_small' was given size=\[224, 224\], and the rows are of \[64, 96\]"
    ):
        sized_config("vit_small", {"size": [224, 224]}, rows)
