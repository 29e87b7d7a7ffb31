"""Models that start from a shipped student: the same weights, or a refusal that names the tensor."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from limbeck.errors import ConfigError, DataError
from limbeck.students import model_from_spec
from limbeck.students.export.folder import export_student
from limbeck.students.initial import start_from

X = {"x": torch.linspace(-1, 1, 6).reshape(2, 3)}


def shipped(model: nn.Module, folder: Path, inputs: Mapping[str, Any] = X) -> Path:
    names = [str(i) for i in range(3)]
    return export_student(
        model, folder, class_names=names, inputs_example=inputs, preprocessor={}, provenance={}
    )


def table(hidden: int = 8, **settings: Any) -> nn.Module:
    return model_from_spec("table_encoder", n_classes=3, n_columns=3, hidden=[hidden], **settings)


def test_the_weights_are_those_that_were_shipped(tmp_path: Path) -> None:
    trained = table()
    folder = shipped(trained, tmp_path / "student")
    begun = table(init=folder, freeze=["0"])
    for name, value in trained.state_dict().items():
        assert torch.equal(begun.state_dict()[name], value)
    assert [p.requires_grad for p in begun.parameters()] == [False, False, True, True]
    half = table(init=folder, dtype="bfloat16")
    assert torch.equal(half[0].weight, trained[0].weight.bfloat16())


def test_buffers_come_along(tmp_path: Path) -> None:
    def net(**settings: Any) -> nn.Module:
        return model_from_spec("small_conv_net", n_classes=3, channels=[4, 4], **settings)

    trained, image = net(), {"x": torch.randn(2, 1, 8, 8)}
    trained(image["x"] * 5 + 2)  # which moves BatchNorm's statistics
    begun = net(init=shipped(trained.eval(), tmp_path / "student", image))
    assert torch.equal(begun[1].running_mean, trained[1].running_mean)
    assert begun[1].num_batches_tracked == 1


def test_a_transformers_student(tmp_path: Path, word_bert: Path) -> None:
    from limbeck.students.text import tokenizer_of

    def bert(**settings: Any) -> nn.Module:
        return model_from_spec(f"hf:{word_bert}", n_classes=3, **settings)

    tokenizer = tokenizer_of(f"hf:{word_bert}")
    tokens = dict(tokenizer(["a cat", "the dog"], return_tensors="pt"))
    trained = bert()
    folder = export_student(
        trained,
        tmp_path / "student",
        class_names=["0", "1", "2"],
        inputs_example=tokens,
        preprocessor={"kind": "text", "columns": ["text"], "max_length": 8},
        provenance={},
        processor=tokenizer,
    )
    begun = bert(init=folder)
    for name, value in trained.state_dict().items():
        assert torch.equal(begun.state_dict()[name], value)
    adapted = bert(init=folder, lora={"r": 2, "alpha": 4})
    with torch.no_grad():  # adapters start at nothing
        assert torch.allclose(adapted.eval()(**tokens).logits, trained.eval()(**tokens).logits, atol=1e-6)


def test_another_network_is_refused_by_the_name_of_a_tensor(tmp_path: Path) -> None:
    folder = shipped(table(), tmp_path / "student")
    with pytest.raises(ConfigError, match=r"'0.bias' is \[8\] in it and \[4\] here"):
        table(hidden=4, init=folder)
    with pytest.raises(ConfigError, match=r"'2.bias' is \[3\] in it and absent here"):
        start_from(nn.Sequential(nn.Linear(3, 8)), folder)
    deeper = model_from_spec("table_encoder", n_classes=3, n_columns=3, hidden=[8, 3])
    with pytest.raises(ConfigError, match="in it and"):
        start_from(deeper, folder)


def test_a_folder_that_is_no_student_or_was_changed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no exported student"):
        table(init=tmp_path)
    folder = shipped(table(), tmp_path / "student")
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(DataError, match="not what was exported"):
        table(init=folder)
