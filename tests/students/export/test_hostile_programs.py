"""``program.json`` from a stranger: whatever it says, no code runs, and what it may not say is one sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from students.hostile import X, change_json, rehash, running, write_student

from limbeck.cli import main
from limbeck.errors import DataError
from limbeck.students.export import load_exported


@pytest.fixture(scope="module")
def honest(tmp_path_factory) -> Path:
    return write_student(tmp_path_factory.mktemp("honest") / "s")


@pytest.fixture
def folder(honest, tmp_path) -> Path:
    return shutil.copytree(honest, tmp_path / "s")


def test_the_honest_program_has_steps_of_every_kind(honest):
    program = json.loads((honest / "program.json").read_text())
    calls = {step["call"] for step in program["steps"]}
    assert {"item", "number.mul", "aten.linear.default"} <= calls
    assert (honest / "constants.safetensors").exists()
    assert load_exported(honest).logits({"x": X}).shape == (4, 3)


CALLS = [
    "os.system", "torch.os.system", "torch.ops.aten.relu.default", "aten.from_file.default", "aten.relu_.default",
    "aten.add.out", "aten.add_.Tensor", "aten.set_.source_Tensor", "aten.as_strided.default",
    "aten.empty.memory_format", "aten.resize.default", "aten._unsafe_index.Tensor", "aten.view.dtype",
    "aten.lstm.data", "aten.upsample_nearest2d.default", "aten.rand.default", "aten.__class__.__call__",
    "aten.relu.__init__", "aten.relu", "aten.relu.default.__call__", "aten.relu.default\n", "aten.", ".", "",
    "prims.add.default", "quantized.linear_unpack.default", "higher_order.cond", "profiler._record_function_enter.x",
    "number.__import__", "number.eval", "number.lshift", "number.", "item.", "items", "getattr", None, 1, True, [],
    {}, ["aten.relu.default"],
]  # fmt: skip


@pytest.mark.parametrize("call", CALLS, ids=repr)
def test_a_step_calls_only_what_is_listed(folder, call):
    def change(program):
        program["steps"][1]["call"] = call

    change_json(folder / "program.json", change)
    refused(folder)


def refused(folder: Path, match: str = "is no program that limbeck runs") -> None:
    """DataError before any step, and nothing has run."""
    rehash(folder)
    with running() as heard, pytest.raises(DataError, match=match) as caught:
        load_exported(folder)
    assert heard == []
    assert "\n" not in str(caught.value)


ARGUMENTS = [
    {"__import__": "os"}, {"eval": "1"}, {"value": "nobody"}, {"input": "__class__"}, {"weight": "../model"},
    {"weight": 0}, {"value": None}, {"device": "cuda"}, {"device": "meta"}, {"dtype": "__dict__"},
    {"dtype": "quint8"}, {"layout": "sparse_coo"}, {"memory_format": "x"}, {"float": "1"}, {"torch": "os"},
    {"input": "x", "weight": "head.bias"}, {}, 2**63, -(2**63), [[[[1]]]], [{"value": "nobody"}], [[{"x": []}]],
]  # fmt: skip


@pytest.mark.parametrize("argument", ARGUMENTS, ids=repr)
def test_an_argument_is_plain_or_stands_for_what_is_known(folder, argument):
    def change(program):
        program["steps"][2]["args"][0] = argument

    change_json(folder / "program.json", change)
    refused(folder)
    shutil.copy(folder / "student.json", folder / "other.json")

    def as_option(program):
        program["steps"][2]["args"][0] = 1
        program["steps"][2]["options"]["dtype"] = argument

    change_json(folder / "program.json", as_option)
    refused(folder)


CHANGES = {
    "a later step": lambda p: p["steps"][0]["args"].append({"value": p["steps"][-1]["name"]}),
    "itself": lambda p: p["steps"][0]["args"].append({"value": p["steps"][0]["name"]}),
    "name twice": lambda p: p["steps"][1].update(name=p["steps"][0]["name"]),
    "name with code": lambda p: p["steps"][-1].update(name="x=exec('1')"),
    "name of no text": lambda p: p["steps"][0].update(name=["x"]),
    "option of no word": lambda p: p["steps"][0]["options"].update({"a b": 1}),
    "options of arithmetic": lambda p: p["steps"].append(
        {"name": "q", "call": "number.max", "args": [1, 2], "options": {"key": "x"}}
    ),
    "a third of an item": lambda p: p["steps"].append(
        {"name": "q", "call": "item", "args": [{"value": p["output"]}, 0, 1], "options": {}}
    ),
    "arguments of no list": lambda p: p["steps"][0].update(args={"a": 1}),
    "options of no object": lambda p: p["steps"][0].update(options=[1]),
    "a step of more": lambda p: p["steps"][0].update(code="import os"),
    "a step of less": lambda p: p["steps"][0].pop("options"),
    "a step of nothing": lambda p: p["steps"].append(None),
    "more than a program": lambda p: p.update(code="import os"),
    "no steps": lambda p: p.update(steps=[]),
    "steps of no list": lambda p: p.update(steps="x"),
    "no output": lambda p: p.update(output="nobody"),
    "output of no text": lambda p: p.update(output=["x"]),
    "no inputs": lambda p: p.update(inputs={}),
    "another format": lambda p: p.update(format=2),
    "a true format": lambda p: p.update(format=True),
    "an input of no shape": lambda p: p["inputs"]["x"].update(shape="rows"),
    "a negative size": lambda p: p["inputs"]["x"].update(shape=["rows", -5]),
    "a size of code": lambda p: p["inputs"]["x"].update(shape=["__import__('os')", 5]),
    "a dtype of another kind": lambda p: p["inputs"]["x"].update(dtype="quint8"),
    "a dtype of a list": lambda p: p["inputs"]["x"].update(dtype=["float32"]),
    "a list": lambda p: [p],
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_program_has_one_form(folder, name):
    change_json(folder / "program.json", CHANGES[name])
    refused(folder, match="is no program|must hold a JSON object")


TEXTS = {
    "a key twice": lambda text: text.replace('"output":', '"output":"x","output":'),
    "a key twice, escaped": lambda text: text.replace('"call":', '"c\\u0061ll":"x","call":', 1),
    "NaN": lambda text: text.replace('"format":1', '"format":NaN'),
    "Infinity": lambda text: text.replace('"args":[', '"args":[-Infinity,', 1),
    "deep": lambda text: text.replace('"args":[', '"args":[' + "[" * 100_000 + "]" * 100_000 + ",", 1),
    "a number of many digits": lambda text: text.replace('"args":[', '"args":[' + "9" * 5000 + ",", 1),
    "two values": lambda text: text + "{}",
    "half": lambda text: text[: len(text) // 2],
    "nothing": lambda text: "",
    "a byte order mark": lambda text: "\ufeff" + text,
    "Python": lambda text: "__import__('os')",
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_program_is_json_that_reads_one_way(folder, name):
    path = folder / "program.json"
    path.write_text(TEXTS[name](path.read_text()), encoding="utf-8")
    refused(folder, match=r"program\.json is no valid JSON")


def test_a_program_of_too_many_bytes_is_not_read(folder):
    with (folder / "program.json").open("r+b") as file:
        file.truncate(300 * 2**20)  # a hole takes no space
    refused(folder, match="more than 268,435,456 are not read")


def test_weights_are_safetensors_of_their_own_names(folder):
    whole = (folder / "model.safetensors").read_bytes()
    torch.save({"head.bias": torch.ones(3)}, folder / "model.safetensors")
    refused(folder, match=r"model\.safetensors cannot be read")
    (folder / "model.safetensors").write_bytes(whole)
    shutil.copy(folder / "model.safetensors", folder / "constants.safetensors")
    refused(folder, match="holds '.*' a second time")


def step(call: str, *args, **options) -> dict:
    return {"name": "added", "call": call, "args": list(args), "options": options}


ONES = {"input": "x"}  # [4, 5] float32
LONGS = step("aten._to_copy.default", ONES, dtype={"dtype": "int64"})
STEPS = {
    "no such option": step("aten.relu.default", ONES, out=ONES),
    "a text for a tensor": step("aten.relu.default", "__import__('os')"),
    "more memory than there is": step("aten.full.default", [2**60], 1.0),
    "an expression of no einsum": step("aten.einsum.default", "__import__('os')", [ONES]),
    "texts multiplied": step("number.mul", "a", 2**40),
    "lists multiplied": step("number.mul", [1], 2**40),
    "a tensor as a number": step("number.neg", ONES),
    "a power without end": step("number.pow", 10, 10**9),
    "a size beyond 64 bits": step("number.mul", 2**62, 4),
    "a division by nothing": step("number.floordiv", 1, 0),
    "a root of less than nothing": step("number.sqrt", -1),
    "an item of a tensor": step("item", ONES, 0),
    "an item of a text": step("item", "abc", 0),
    "an item that is not there": step("item", [1, 2], 7),
    "an item by name": step("item", [1, 2], "__class__"),
    "places outside": step("aten.slice_scatter.default", ONES, ONES, 7, 0, 1),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_step_that_cannot_be_done_is_one_sentence(folder, name):
    change_json(folder / "program.json", lambda program: program["steps"].append(STEPS[name]))
    rehash(folder)
    exported = load_exported(folder)
    with (
        running() as heard,
        pytest.raises(DataError, match="stops at its step 'added' for inputs x") as caught,
    ):
        exported.logits({"x": X})
    assert heard == []
    assert "\n" not in str(caught.value)


def test_logits_of_another_number_of_classes(folder):
    change_json(folder / "program.json", lambda p: p.update(output=p["steps"][0]["name"]))
    rehash(folder)
    with pytest.raises(DataError, match="no logits of its 3 classes"):
        load_exported(folder).logits({"x": X})


def test_the_command_says_one_sentence(folder, tmp_path, capsys):
    change_json(folder / "program.json", lambda p: p["steps"][0].update(call="os.system", args=["touch x"]))
    rehash(folder)
    table = tmp_path / "t.csv"
    table.write_text("v,w,x,y,z\n1,2,3,4,5\n")
    assert main(["predict", str(folder), str(table)]) != 0
    said = capsys.readouterr().err
    assert "calls 'os.system', which is not allowed" in said
    assert "Traceback" not in said
