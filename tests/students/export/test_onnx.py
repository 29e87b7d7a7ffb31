import importlib.util

import numpy as np
import pytest
import torch

from limbeck.cli import main
from limbeck.errors import ConfigError
from limbeck.students import Student, small_conv_net, table_encoder, text_encoder
from limbeck.students.export.folder import export_student
from limbeck.students.export.onnx import export_onnx


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "name", "x", "other"),
    [
        (small_conv_net(3), "log_mel", torch.randn(2, 1, 16, 16), torch.randn(1, 1, 20, 33)),
        (text_encoder(3, vocab_size=20), "ids", torch.randint(20, (2, 7)), torch.randint(20, (1, 3))),
    ],
)
def test_the_file_gives_the_logits_for_other_sizes_too(model, name, x, other, tmp_path):
    pytest.importorskip("onnxscript")
    from onnx.reference import ReferenceEvaluator

    assert export_onnx(Student(model), tmp_path / "student.onnx", {name: x}) < 1e-5
    (found,) = ReferenceEvaluator(str(tmp_path / "student.onnx")).run(["logits"], {name: other.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), model.eval()(other), rtol=1e-4, atol=1e-5)
    assert [p.name for p in tmp_path.iterdir()] == ["student.onnx"]


def test_without_the_extra_the_error_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'limbeck\[onnx\]'"):
        export_onnx(small_conv_net(3), tmp_path / "s.onnx", {"x": torch.zeros(1, 1, 8, 8)})


class Pairs(torch.nn.Module):
    """Arithmetic of sizes, which are symbols while it is traced: steps two by two, any number of them."""

    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(8, 3)

    def forward(self, x):
        return self.head(x.reshape(x.shape[0], x.shape[1] // 2, x.shape[2] * 2).mean(1))


@pytest.mark.parametrize(
    ("model", "x"),
    [
        (table_encoder(3, 5), torch.randn(2, 5)),
        pytest.param(small_conv_net(3), torch.randn(2, 1, 16, 16), marks=pytest.mark.full),
        pytest.param(Pairs(), torch.randn(2, 6, 4), marks=pytest.mark.full),
    ],
)
def test_a_shipped_student_becomes_onnx_by_the_command_line(model, x, tmp_path, capsys):
    onnxruntime = pytest.importorskip("onnxruntime")
    ship = {"class_names": "abc", "inputs_example": {"x": x}, "preprocessor": {}, "provenance": {}}
    export_student(model, tmp_path / "run" / "student", **ship)
    assert main(["export", str(tmp_path / "run"), "--format", "onnx"]) == 0, capsys.readouterr().err
    assert "largest difference on 32 drawn rows" in capsys.readouterr().out
    session = onnxruntime.InferenceSession(str(tmp_path / "run" / "student.onnx"))
    rows = torch.cat([x, x, x[:1]])
    (found,) = session.run(["logits"], {"x": rows.numpy()})
    np.testing.assert_allclose(found, model.eval()(rows).detach().numpy(), rtol=1e-4, atol=1e-5)


def test_what_is_no_student_is_a_sentence(tmp_path, capsys):
    pytest.importorskip("onnxscript")
    assert main(["export", str(tmp_path), "--format", "onnx"]) == 1
    assert "is no exported student" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.onnx"))


@pytest.mark.full
def test_a_shipped_text_student_becomes_onnx(word_bert, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(word_bert, num_labels=2).eval()
    tokenizer = AutoTokenizer.from_pretrained(word_bert)
    inputs = dict(tokenizer(["a dog", "a red cup"], padding=True, return_tensors="pt"))
    settings = {"kind": "text", "columns": ["text"], "max_length": 8}
    ship = {"class_names": "ab", "inputs_example": inputs, "preprocessor": settings, "provenance": {}}
    export_student(model, tmp_path / "student", **ship, processor=tokenizer)
    assert (
        main(["export", str(tmp_path / "student"), "--format", "onnx", "--output", str(tmp_path / "s.onnx")])
        == 0
    )
    session = onnxruntime.InferenceSession(str(tmp_path / "s.onnx"))
    (found,) = session.run(["logits"], {name: value.numpy() for name, value in inputs.items()})
    np.testing.assert_allclose(found, model(**inputs).logits.detach().numpy(), rtol=1e-4, atol=1e-5)
