"""``limbeck export``: ONNX, torch and transformers, whole and in 8 bit, each against the student it was made of."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from students.hostile import write_reader

from limbeck.cli import main
from limbeck.errors import ConfigError, ExportError
from limbeck.predict import predict_files
from limbeck.students import small_conv_net, table_encoder
from limbeck.students.export.eight_bit import quantized
from limbeck.students.export.folder import export_student, load_exported
from limbeck.students.export.formats import convert

full = pytest.mark.full
# Runs a snippet where torch cannot be imported.
WITHOUT_TORCH = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers", "limbeck"):
            raise ImportError(name)
sys.meta_path.insert(0, Block())
"""


class Pairs(torch.nn.Module):
    """Arithmetic of sizes, which are symbols while it is traced: steps two by two, any number of them."""

    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(8, 3)

    def forward(self, x):
        return self.head(x.reshape(x.shape[0], x.shape[1] // 2, x.shape[2] * 2).mean(1))


def shipped(model: torch.nn.Module, x: torch.Tensor, folder: Path) -> Path:
    ship = {"class_names": "abc", "inputs_example": {"x": x}, "preprocessor": {}, "provenance": {}}
    return export_student(model, folder, **ship, card={"licence": "mit"})


@pytest.mark.parametrize(
    ("model", "x"),
    [
        (table_encoder(3, 5, hidden=(64,)), torch.randn(2, 5)),
        pytest.param(small_conv_net(3), torch.randn(2, 1, 16, 16), marks=full),
        pytest.param(Pairs(), torch.randn(2, 6, 4), marks=full),
    ],
)
def test_onnx_by_the_command_line(model, x, tmp_path, capsys):
    onnxruntime = pytest.importorskip("onnxruntime")
    shipped(model, x, tmp_path / "run" / "student")
    assert main(["export", str(tmp_path / "run"), "--format", "onnx"]) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert re.search(r"largest difference on 32 drawn rows \S+ of outputs .*bytes, .* ms a row", said)
    session = onnxruntime.InferenceSession(str(tmp_path / "run" / "student-onnx" / "model.onnx"))
    rows = torch.cat([x, x, x[:1]])
    (found,) = session.run(["logits"], {"x": rows.numpy()})
    np.testing.assert_allclose(found, model.eval()(rows).detach().numpy(), rtol=1e-4, atol=1e-5)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"student", "student-onnx"}


@pytest.mark.parametrize("pooling", [None, pytest.param("mean", marks=full)])
@pytest.mark.full
def test_a_text_student_runs_in_onnxruntime_without_torch(pooling, word_bert, tmp_path):
    pytest.importorskip("onnxruntime")
    from students.export.test_leaving import reader

    student = reader(word_bert, tmp_path / "s", pooling=pooling)
    folder = tmp_path / "onnx"
    assert convert(student, folder, "onnx").difference < 1e-3
    snippet = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL).group(1)
    snippet = snippet.replace("a text", "the big cat")
    done = subprocess.run(
        [sys.executable, "-I", "-c", WITHOUT_TORCH + snippet],
        cwd=folder, env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    logits = torch.tensor(list(json.loads(done.stdout.replace("'", '"')).values()))
    (tmp_path / "t.csv").write_text("text\nthe big cat\n")
    (answer,) = predict_files(student, [tmp_path / "t.csv"])
    assert logits.softmax(-1).tolist() == pytest.approx(list(answer["probabilities"].values()), abs=1e-4)


def test_torch_frees_a_text_student_from_transformers_classes(word_bert, tmp_path):
    student = write_reader(word_bert, tmp_path / "s")
    result = convert(student, tmp_path / "t", "torch")
    assert result.difference < 1e-4
    assert load_exported(tmp_path / "t").info["loads_with"] == "program.json"
    (tmp_path / "t.csv").write_text("text\nthe cat sees\na bird\n")
    rows = [predict_files(folder, [tmp_path / "t.csv"]) for folder in (student, tmp_path / "t")]
    for one, other in zip(*rows, strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)


@pytest.mark.parametrize("kind", ["torch", pytest.param("onnx", marks=full)])
@pytest.mark.parametrize(
    ("model", "x"),
    [
        (table_encoder(3, 5, hidden=(128, 128)), torch.randn(2, 5)),
        pytest.param(small_conv_net(3), torch.randn(2, 1, 16, 16), marks=full),
    ],
)
def test_eight_bit(kind, model, x, tmp_path):
    pytest.importorskip("onnxruntime")
    student = shipped(model, x, tmp_path / "s")
    result = convert(student, tmp_path / "t", kind, "int8")
    assert 0 < result.difference < 0.1 * max(1.0, result.largest)
    assert result.agreement > 0.8
    assert result.bytes_after < 0.75 * result.bytes_before
    assert result.format == f"{kind} int8"


@full
@pytest.mark.parametrize("kind", ["torch", "onnx"])
def test_eight_bit_of_a_text_student(kind, word_bert, tmp_path):
    pytest.importorskip("onnxruntime")
    result = convert(write_reader(word_bert, tmp_path / "s"), tmp_path / "t", kind, "int8")
    assert 0 < result.difference < 0.1


def test_weights_of_eight_bit_are_the_nearest():
    weight = torch.randn(7, 3, 2, generator=torch.Generator().manual_seed(0))
    weight[3] = 0
    whole, scale = quantized(weight)
    assert whole.dtype == torch.int8
    assert scale.shape == (7, 1, 1)
    assert ((whole * scale - weight).abs() <= scale / 2 * 1.001 + 1e-30).all()
    assert whole.abs().amax((1, 2)).tolist() == [127, 127, 127, 0, 127, 127, 127]


def test_hf_is_the_folder_that_transformers_opens(word_bert, tmp_path):
    student = write_reader(word_bert, tmp_path / "s")
    assert convert(student, tmp_path / "t", "hf").difference == 0
    assert (tmp_path / "t" / "config.json").is_file()


def test_what_cannot_be_is_a_sentence(word_bert, tmp_path, capsys):
    student = shipped(table_encoder(3, 5), torch.randn(2, 5), tmp_path / "s")
    with pytest.raises(ConfigError, match="transformers has no class for"):
        convert(student, tmp_path / "t", "hf")
    with pytest.raises(ConfigError, match="quantize the formats torch or onnx"):
        convert(write_reader(word_bert, tmp_path / "r"), tmp_path / "t", "hf", "int8")
    with pytest.raises(ConfigError, match="is the student itself"):
        convert(student, student, "torch")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(ConfigError, match="holds something other"):
        convert(student, tmp_path / "mine", "torch")
    small = shipped(torch.nn.Linear(5, 3), torch.randn(2, 5), tmp_path / "small")
    with pytest.raises(ExportError, match="no matrix of float32 weights"):
        convert(small, tmp_path / "t", "torch", "int8")
    assert main(["export", str(tmp_path / "mine"), "--format", "torch"]) == 1
    assert "is no exported student" in capsys.readouterr().err
    assert not (tmp_path / "t").exists()


def test_a_student_that_answers_otherwise_is_not_written(tmp_path, monkeypatch):
    student = shipped(table_encoder(3, 5, hidden=(64,)), torch.randn(2, 5), tmp_path / "s")
    true = quantized
    monkeypatch.setattr(
        "limbeck.students.export.eight_bit.quantized", lambda weight: (true(weight)[0], true(weight)[1] * 9)
    )
    with pytest.raises(ExportError, match=r"answers otherwise in that format: .*; nothing was written"):
        convert(student, tmp_path / "t", "torch", "int8")
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_the_report_tells_size_and_time_before_and_after(tmp_path, capsys):
    from limbeck.evaluation.results import Row, write_metrics

    run = tmp_path / "run"
    shipped(table_encoder(3, 5, hidden=(64,)), torch.randn(2, 5), run / "student")
    row = Row(
        arm="kd", method="kd", link="none", control="none", seed=0, split="test", metric="accuracy", value=0.5,
        seconds=1.0, steps=3,
    )  # fmt: skip
    write_metrics(run, [row], {})
    assert main(["export", str(run), "--format", "torch", "--quantize", "int8"]) == 0, capsys.readouterr().err
    noted = json.loads((run / "exports.json").read_text())["torch int8"]
    assert noted["folder"] == "student-torch-int8"
    report = (run / "report.html").read_text()
    assert f"{noted['bytes_before']:,} to {noted['bytes_after']:,} bytes" in report
    (run / "exports.json").write_text("{")
    assert main(["export", str(run), "--format", "torch"]) == 1
    assert "exports.json cannot be read" in capsys.readouterr().err


def test_a_student_is_not_its_own_target_by_any_path(tmp_path):
    folder = shipped(table_encoder(3, 5, hidden=(64,)), torch.randn(2, 5), tmp_path / "student")
    before = (folder / "student.json").read_bytes()
    (tmp_path / "other").symlink_to(folder)
    for same in (tmp_path / "other", tmp_path / "x" / ".." / "student"):
        with pytest.raises(ConfigError, match="is the student itself"):
            convert(folder, same, "torch", "int8")
    assert (folder / "student.json").read_bytes() == before
