import importlib.util

import pytest
import torch

from limbeck.errors import ConfigError
from limbeck.students import Student, small_conv_net, text_encoder
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
