"""Speech and spectrogram students: Wav2Vec2 and AST, tiny and made offline."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from limbeck.students import Student, model_from_spec
from limbeck.students.export.folder import export_student, verify_export

transformers = pytest.importorskip("transformers")
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def wav2vec2():
    config = transformers.Wav2Vec2Config(
        conv_dim=(8, 8),
        conv_kernel=(4, 4),
        conv_stride=(4, 4),
        num_feat_extract_layers=2,  # as many as there are layers
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        classifier_proj_size=12,
        mask_time_prob=0.0,
        vocab_size=8,
        **SIZES,
    )
    return transformers.Wav2Vec2Model(config)


def ast():
    config = transformers.ASTConfig(
        max_length=16, num_mel_bins=8, patch_size=4, frequency_stride=4, time_stride=4, **SIZES
    )
    return transformers.ASTModel(config)


INPUTS = {
    "wav2vec2": {"input_values": torch.randn(3, 400, generator=torch.Generator().manual_seed(0))},
    "ast": {"input_values": torch.randn(3, 16, 8, generator=torch.Generator().manual_seed(0))},
}
WIDTHS = {"wav2vec2": 12, "ast": 16}


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> dict[str, Path]:
    folders = {}
    for kind, make in (("wav2vec2", wav2vec2), ("ast", ast)):
        torch.manual_seed(0)
        folders[kind] = tmp_path_factory.mktemp(kind)
        make().save_pretrained(folders[kind])
    return folders


def student_of(folder: Path, **settings) -> Student:
    torch.manual_seed(0)
    return Student(model_from_spec(f"hf:{folder}", n_classes=3, **settings))


@pytest.mark.parametrize("problem", ["classification", "regression"])
@pytest.mark.parametrize("kind", INPUTS)
def test_features_and_gradients(sound, kind, problem):
    student, inputs = student_of(sound[kind], problem=problem), INPUTS[kind]
    shape = student.probe(inputs)
    assert (shape.feature_width, shape.n_classes) == (WIDTHS[kind], 3 if problem == "classification" else 1)
    out = student.eval()(inputs)
    torch.testing.assert_close(F.linear(out.features, *student.head_layer), out.logits)
    student.train()(inputs).logits.square().sum().backward()
    without = {name for name, p in student.named_parameters() if p.grad is None}
    assert not [name for name in without if "masked_spec_embed" not in name]  # masks nothing here


@pytest.mark.parametrize("kind", INPUTS)
def test_gradient_checkpointing(sound, kind):
    gradients = []
    for checkpointing in (False, True):
        student = (
            student_of(sound[kind], hidden_dropout_prob=0.0) if kind == "ast" else student_of(sound[kind])
        )
        for module in student.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        if checkpointing:
            student.gradient_checkpointing_enable()
        student.eval() if kind == "wav2vec2" else student.train()  # its layer drop has no seed
        student(INPUTS[kind]).logits.square().sum().backward()
        gradients.append({name: p.grad for name, p in student.named_parameters() if p.grad is not None})
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("settings", [{"freeze": ["layers:1"]}, {"lora": {"r": 2}}])
@pytest.mark.parametrize("kind", INPUTS)
def test_frozen_fronts_cost_no_backward_pass(sound, kind, settings):
    if "lora" in settings:
        pytest.importorskip("peft")
    student = student_of(sound[kind], **settings).train()
    base = student.model.base_model
    front = base.feature_projection if kind == "wav2vec2" else base.embeddings
    seen = []
    front.register_forward_hook(lambda m, args, out: seen.append(out[0] if isinstance(out, tuple) else out))
    student(INPUTS[kind]).logits.square().sum().backward()
    assert not seen[0].requires_grad
    for name, parameter in student.named_parameters():
        assert parameter.requires_grad or parameter.grad is None, name
    assert any(p.grad is not None for p in student.parameters())


@pytest.mark.parametrize("kind", INPUTS)
def test_export(sound, kind, tmp_path):
    student = student_of(sound[kind])
    folder = export_student(
        student,
        tmp_path / "s",
        class_names=("a", "b", "c"),
        inputs_example=INPUTS[kind],
        preprocessor={},
        provenance={},
    )
    assert verify_export(student, folder, {"input_values": INPUTS[kind]["input_values"][:1]}) < 1e-5
