"""A network on some of its patches, and no further than is wanted."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from limbeck.errors import ConfigError, DataError, UnknownNameError
from limbeck.students.changes.visible import Visible, inner_states
from limbeck.teachers.module import ModuleTeacher


class Patches(nn.Module):
    """Two numbers a patch, a class token before them."""

    def __init__(self) -> None:
        super().__init__()
        self.map, self.first, self.place = nn.Linear(2, 3), nn.Parameter(torch.randn(3)), torch.randn(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.first.expand(len(x), 1, 3), self.map(x) + self.place], 1)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = Patches()
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(3, 1, 6, dropout=0.0, batch_first=True) for _ in range(3)
        )
        self.head = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x[:, 0])


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net().eval()


def test_only_the_visible_patches_are_seen(net: Net) -> None:
    x, index = torch.randn(2, 4, 2, requires_grad=True), torch.tensor([[3, 1], [0, 2]])
    found = inner_states(net, {"x": x}, ["blocks.1", "layer:1"], Visible("patches", index))
    assert list(found) == ["blocks.1", "layer:1"]
    tokens = net.patches(x)
    chosen = torch.stack([tokens[i, [0, *(1 + j for j in index[i].tolist())]] for i in range(2)])
    torch.testing.assert_close(found["layer:1"], net.blocks[0](chosen))
    torch.testing.assert_close(found["blocks.1"], net.blocks[1](net.blocks[0](chosen)))
    (slope,) = torch.autograd.grad(found["blocks.1"].square().sum(), x)
    seen = torch.zeros(2, 4, dtype=torch.bool).scatter(1, index, True)
    assert slope[seen].any(1).all()
    assert not slope[~seen].any()


def test_nothing_runs_after_the_last_layer_and_no_hook_is_left(net: Net) -> None:
    ran: list[str] = []
    for name in ("blocks.1", "blocks.2", "head"):
        net.get_submodule(name).register_forward_hook(lambda *_, name=name: ran.append(name))
    teacher = ModuleTeacher(net, layers=["blocks.1"])
    states = teacher.states({"x": torch.randn(2, 4, 2)}, Visible("patches", torch.tensor([[0], [1]])))
    assert ran == ["blocks.1"]
    assert states["blocks.1"].shape == (2, 2, 3)
    assert not states["blocks.1"].requires_grad
    assert teacher({"x": torch.randn(2, 4, 2)}).hidden_states["blocks.1"].shape == (2, 5, 3)
    assert not net.patches._forward_hooks
    assert len(net.blocks[1]._forward_hooks) == 1


@pytest.mark.parametrize(
    ("visible", "error", "words"),
    [
        (Visible("patche", torch.tensor([[0]])), UnknownNameError, "No module 'patche'.*did you mean 'patches'"),
        (Visible("patches", torch.tensor([[4]])), DataError, "5 tokens, 1 of them before the patches, and patch 4"),
        (Visible("head", torch.tensor([[0]])), DataError, r"puts out \[1, 2\], and tokens are \[1, number, width\]"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_a_sentence(
    net: Net, visible: Visible, error: type[Exception], words: str
) -> None:
    layers = ["head"] if visible.at == "head" else ["blocks.0"]
    with pytest.raises(error, match=words):
        inner_states(net, {"x": torch.randn(1, 4, 2)}, layers, visible)
    assert not net.patches._forward_hooks
    assert not net.head._forward_hooks


def test_a_layer_that_does_not_run_is_refused(net: Net) -> None:
    net.spare = nn.Linear(1, 1)
    with pytest.raises(ConfigError, match="'spare' put out no tensor"):
        inner_states(net, {"x": torch.randn(1, 4, 2)}, ["spare", "blocks.0"])
