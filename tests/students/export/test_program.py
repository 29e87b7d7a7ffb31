"""Plain models as programs: the same logits, any sizes, nothing of one call left for the next."""

from __future__ import annotations

import copy
import json
import weakref
from pathlib import Path

import pytest
import torch
from levels import some_of
from safetensors.torch import load_file
from torch import nn

from limbeck.errors import ConfigError, ExportError
from limbeck.students.export import export_student, load_exported, verify_export
from limbeck.students.export.program import Program, constant


def export(model: nn.Module, folder: Path, **inputs: torch.Tensor) -> Path:
    return export_student(
        model, folder, class_names="abc", inputs_example=inputs, preprocessor={}, provenance={}
    )


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        self.layer = kind(5, 8, num_layers=2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        return self.head(self.layer(x)[0].mean(1))


class Attending(nn.Module):
    """Token ids and a mask, by torch's own encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(20, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 3)

    def forward(self, ids, mask):
        return self.head(self.encoder(self.words(ids), src_key_padding_mask=mask == 0).mean(1))


def convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding="same", padding_mode="reflect"),
        nn.BatchNorm2d(8),
        nn.SiLU(inplace=True),
        nn.MaxPool2d(2),
        nn.ConvTranspose2d(8, 8, 2, stride=2),
        nn.GroupNorm(2, 8),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 8, 1)),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.LayerNorm(128),
        nn.PReLU(),
        nn.Linear(128, 3),
    )


class Spectrum(nn.Module):
    """Reads a buffer that is not saved, a constant, and numbers that JSON has no word for."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(65, 3)
        self.register_buffer("window", torch.hann_window(128), persistent=False)

    def forward(self, wave):
        power = torch.stft(wave, 128, window=self.window, return_complex=True).abs().log1p()
        power = power.masked_fill(power > 1e9, float("-inf")).amax(-1)
        return self.head(power * torch.tensor([0.5]) + torch.einsum("nf,mf->n", power, power[:1])[:, None])


IDS = torch.tensor([[5, 6, 7, 8], [9, 10, 0, 0], [11, 12, 13, 0]])
MODELS = {
    "lstm": (lambda: Recurrent(nn.LSTM), {"x": torch.randn(2, 6, 5)}, {"x": torch.randn(3, 6, 5)}),
    "gru": (lambda: Recurrent(nn.GRU), {"x": torch.randn(2, 6, 5)}, {"x": torch.randn(1, 6, 5)}),
    "attention": (
        Attending,
        {"ids": IDS, "mask": (IDS > 0).long()},
        {"ids": IDS[:1, :2], "mask": torch.ones(1, 2, dtype=torch.int64)},
    ),
    "convolutions": (convolutions, {"x": torch.randn(2, 3, 16, 16)}, {"x": torch.randn(1, 3, 16, 16)}),
    "spectrum": (Spectrum, {"wave": torch.randn(2, 800)}, {"wave": torch.randn(4, 1000)}),
}


@pytest.mark.parametrize("name", some_of(MODELS, "convolutions"))
def test_a_program_gives_the_logits_of_the_model(name, tmp_path):
    make, inputs, others = MODELS[name]
    torch.manual_seed(0)
    model = make()
    folder = export(model, tmp_path / "s", **inputs)
    for some in (inputs, others):
        assert verify_export(model, folder, some) < 1e-5
    assert load_file(folder / "model.safetensors").keys() == model.state_dict().keys()


class Counting(nn.Module):
    """Writes to a buffer, to its input's slice and in place, in every forward."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 3)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        self.seen += 1
        hidden = x.clone()
        hidden[:, 0] = 0.0
        hidden.mul_(2)
        return self.head(hidden)


def test_a_call_leaves_nothing_behind(tmp_path):
    torch.manual_seed(0)
    model, x = Counting().eval(), torch.randn(2, 4)
    start = copy.deepcopy(model.state_dict())
    exported = load_exported(export(model, tmp_path / "s", x=x))
    model.load_state_dict(start)
    with torch.no_grad():
        wanted = model(x)
    kept = x.clone()
    for _ in range(3):
        torch.testing.assert_close(exported.logits({"x": x}), wanted)
    assert torch.equal(x, kept)


def test_results_are_let_go_when_they_are_no_longer_read():
    alive: list[int] = []
    made: list[weakref.ref] = []

    class Watching(Program):
        def _run(self, step, inputs, values):
            found = super()._run(step, inputs, values)
            made.append(weakref.ref(found))
            alive.append(sum(ref() is not None for ref in made))
            return found

    steps = [{"name": "s0", "call": "aten.exp.default", "args": [{"input": "x"}], "options": {}}]
    for i in range(1, 9):
        before = {"value": f"s{i - 1}"}
        steps.append({"name": f"s{i}", "call": "aten.exp.default", "args": [before], "options": {}})
    Watching(steps, "s8", {}, {"x": {"dtype": "float32", "shape": ["rows", 2]}})({"x": torch.zeros(1, 2)})
    assert max(alive) == 2


def test_inputs_of_another_kind_or_size_are_named(tmp_path):
    torch.manual_seed(0)
    make, inputs, _ = MODELS["attention"]
    exported = load_exported(export(make(), tmp_path / "s", **inputs))
    with pytest.raises(ConfigError, match=r"takes 'mask' as int64 \[rows, size1\], not as int64 \[3, 3\]"):
        exported.logits({"ids": IDS, "mask": torch.ones(3, 3, dtype=torch.int64)})
    with pytest.raises(ConfigError, match=r"takes 'ids' as int64 \[rows, size1\], not as float32 \[3, 4\]"):
        exported.logits({"ids": IDS.float(), "mask": IDS})
    with pytest.raises(ConfigError, match=r"not as int64 \[3\]"):
        exported.logits({"ids": IDS[:, 0], "mask": IDS})


class Drawing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(x) + 0 * torch.rand_like(x[:, :3])


def test_a_forward_that_calls_more_than_a_program_may_is_told(tmp_path):
    with pytest.raises(ExportError, match=r"Drawing cannot be shipped, as its forward calls aten\.rand_like"):
        export(Drawing(), tmp_path / "s", x=torch.randn(2, 4))
    assert list(tmp_path.iterdir()) == []


def test_constants_have_a_word_each():
    assert constant(torch.int64) == {"dtype": "int64"}
    assert constant(float("-inf")) == {"float": "-inf"}
    assert constant(float("nan")) == {"float": "nan"}
    assert constant(torch.device("cpu")) == {"device": "cpu"}
    for unknown in (torch.device("meta"), torch.sparse_coo, torch.quint8, 1j, object()):
        assert constant(unknown) is None


def test_an_export_has_no_paths_of_the_machine_it_was_made_on(tmp_path):
    """Traces of torch hold the file and line of every call."""
    folder = export(Counting(), tmp_path / "s", x=torch.randn(2, 4))
    for path in folder.iterdir():
        assert str(Path(__file__).parent).encode() not in path.read_bytes()
        assert b".py" not in path.read_bytes()
    assert json.loads((folder / "program.json").read_text())["inputs"] == {
        "x": {"dtype": "float32", "shape": ["rows", 4]}
    }
