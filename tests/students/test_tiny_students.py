"""Students of every kind from tiny configurations: probed, trained a step, exported and loaded again."""

from __future__ import annotations

import pytest
import torch
import transformers
from torch.nn import functional as F

from limbeck.students.export.folder import export_student, load_exported
from limbeck.students.student import Student

SMALL = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24,
}  # fmt: skip
WORDS = {"vocab_size": 20, "num_labels": 3, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
CLASSES = ["ant", "bee", "cat"]
IDS = torch.tensor([[5, 6, 7, 8], [9, 10, 0, 0], [11, 12, 13, 0]])
TEXT = {"input_ids": IDS, "attention_mask": (IDS > 0).long()}


def deberta():
    config = transformers.DebertaV2Config(
        **SMALL, **WORDS, relative_attention=True, pos_att_type=["p2c", "c2p"], max_position_embeddings=16,
        position_biased_input=False, cls_dropout=0.5,
    )  # fmt: skip
    return transformers.DebertaV2ForSequenceClassification(config), TEXT, "classifier", 16


def opt():
    config = transformers.OPTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, ffn_dim=24, word_embed_proj_dim=16,
        max_position_embeddings=16, **WORDS,
    )  # fmt: skip
    return transformers.OPTForSequenceClassification(config), TEXT, "score", 16


def llama():
    config = transformers.LlamaConfig(**SMALL, **WORDS, num_key_value_heads=1, max_position_embeddings=16)
    return transformers.LlamaForSequenceClassification(config), TEXT, "score", 16


def wav2vec2():
    config = transformers.Wav2Vec2Config(
        **SMALL, conv_dim=(8, 8), conv_stride=(4, 4), conv_kernel=(8, 8), num_feat_extract_layers=2,
        feat_extract_norm="layer", num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2,
        classifier_proj_size=10, num_labels=3, vocab_size=8, mask_time_prob=0.0,
    )  # fmt: skip
    mask = (torch.arange(400) < torch.tensor([[400], [300], [350]])).long()
    inputs = {"input_values": torch.randn(3, 400) * mask, "attention_mask": mask}
    return transformers.Wav2Vec2ForSequenceClassification(config), inputs, "classifier", 10


def ast():
    config = transformers.ASTConfig(
        **SMALL, patch_size=4, frequency_stride=4, time_stride=4, max_length=16, num_mel_bins=8, num_labels=3
    )
    inputs = {"input_values": torch.randn(3, 16, 8)}
    return transformers.ASTForAudioClassification(config), inputs, "classifier.dense", 16


def made(make):
    torch.manual_seed(0)
    model, inputs, head, width = make()
    return Student(model), inputs, head, width


KINDS = pytest.mark.parametrize("make", [deberta, opt, llama, wav2vec2, ast])


@KINDS
def test_the_head_is_found_and_features_are_its_input(make):
    student, inputs, head, width = made(make)
    shape = student.probe(inputs)
    assert (shape.head, shape.feature_width, shape.n_classes) == (head, width, 3)
    out = student.eval()(inputs)
    weight, bias = student.head_layer
    torch.testing.assert_close(F.linear(out.features, weight, bias), out.logits)
    torch.testing.assert_close(student.model(**inputs).logits, out.logits)


@KINDS
def test_a_step_reaches_every_trained_part(make):
    student, inputs, _, _ = made(make)
    out = student.train()(inputs)
    (F.cross_entropy(out.logits, torch.tensor([0, 1, 2])) + out.features.square().mean()).backward()
    without = [n for n, p in student.named_parameters() if p.requires_grad and p.grad is None]
    assert not [name for name in without if "masked_spec_embed" not in name]
    assert all(p.grad.isfinite().all() for p in student.parameters() if p.grad is not None)
    first = next(p for n, p in student.named_parameters() if "embed" in n or "conv" in n)
    assert first.grad.abs().sum() > 0


@pytest.mark.parametrize("make", [deberta, opt, llama, wav2vec2])  # an AST reads spectrograms of one length
def test_padding_does_not_change_a_row(make):
    student, inputs, _, _ = made(make)
    student.eval()
    together = student(inputs)
    for i, length in enumerate(inputs["attention_mask"].sum(1).tolist()):
        alone = student({name: value[i : i + 1, :length] for name, value in inputs.items()})
        torch.testing.assert_close(alone.features[0], together.features[i], rtol=1e-4, atol=1e-5)


@KINDS
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_exported_and_loaded_it_gives_the_same_logits(make, dtype, tmp_path):
    student, inputs, _, _ = made(make)
    student.to(dtype)
    inputs = {name: value.to(dtype) if value.is_floating_point() else value for name, value in inputs.items()}
    folder = export_student(
        student, tmp_path / "s", class_names=CLASSES, inputs_example=inputs, preprocessor={}, provenance={}
    )
    loaded = load_exported(folder)
    assert loaded.info["loads_with"].startswith("AutoModelFor")
    assert loaded.class_names == tuple(CLASSES)
    wanted = student.eval()(inputs).logits
    torch.testing.assert_close(loaded.logits(inputs), wanted, rtol=1e-4, atol=1e-5)
