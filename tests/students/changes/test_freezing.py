from __future__ import annotations

import pytest
import torch
from torch import nn

from limbeck.data.base import texts
from limbeck.errors import ConfigError, UnknownNameError
from limbeck.students import Student, model_from_spec
from limbeck.students.changes.freezing import base_model, encoder_layers
from limbeck.students.text import encode, tokenizer_of

TEXT = {"text": texts(["the cat sees a big red bird", "dog"])}


def frozen(model: nn.Module) -> set[str]:
    return {name for name, p in model.named_parameters() if not p.requires_grad}


@pytest.mark.parametrize("pooling", [None, "mean"])
@pytest.mark.parametrize("kind", ["bert", "deberta", "opt", "llama"])
def test_no_backward_pass_enters_frozen_layers(tiny, kind, pooling):
    spec = f"hf:{tiny(kind)}"
    model = model_from_spec(spec, n_classes=2, pooling=pooling, freeze=["layers:1"])
    _, layers = encoder_layers(base_model(model))
    seen = {}
    for i, layer in enumerate(layers):
        layer.register_forward_hook(
            lambda m, args, out, i=i: seen.update({i: out if isinstance(out, torch.Tensor) else out[0]})
        )
    student = Student(model).train()
    student(encode(tokenizer_of(spec), TEXT, 16)[0]).logits.square().sum().backward()
    assert (seen[0].requires_grad, seen[1].requires_grad) == (False, True)
    assert {name for name, p in model.named_parameters() if p.grad is None} == frozen(model)
    assert all(p.requires_grad for p in layers[1].parameters())
    assert not any(p.requires_grad for p in layers[0].parameters())


def test_embeddings_and_paths(tiny):
    spec = f"hf:{tiny('bert')}"
    model = model_from_spec(spec, n_classes=2, freeze=["embeddings"])
    assert frozen(model) == {n for n, _ in model.named_parameters() if n.startswith("bert.embeddings.")}
    model = model_from_spec(spec, n_classes=2, freeze=["bert.encoder.layer.0.attention", "bert.pooler"])
    parts = ("bert.encoder.layer.0.attention.", "bert.pooler.")
    assert frozen(model) == {n for n, _ in model.named_parameters() if n.startswith(parts)}
    model = model_from_spec("table_encoder", n_classes=2, n_columns=3, freeze=["0"])
    assert frozen(model) == {"0.weight", "0.bias"}


def test_with_adapters(tiny):
    pytest.importorskip("peft")
    model = model_from_spec(f"hf:{tiny('llama')}", n_classes=2, lora={"r": 2}, freeze=["layers:1"])
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained
    assert all(name.startswith(("model.layers.1.", "score")) for name in trained)


@pytest.mark.parametrize(
    ("freeze", "error", "message"),
    [
        (["bert.encodr"], UnknownNameError, "no part 'bert.encodr' to freeze; did you mean 'bert.encoder'"),
        (["embedings"], UnknownNameError, "'embeddings'"),
        (["layers:3"], ConfigError, "has 2 layers; take 1 to 2"),
        (["layers:0"], ConfigError, "has 2 layers; take 1 to 2"),
        (["bert", "classifier"], ConfigError, "All parameters of the student are frozen"),
        ("embeddings", ConfigError, "must be a list"),
    ],
)
def test_wrong_parts(tiny, freeze, error, message):
    with pytest.raises(error, match=message):
        model_from_spec(f"hf:{tiny('bert')}", n_classes=2, freeze=freeze)
    with pytest.raises(ConfigError, match="only transformers models"):
        model_from_spec("table_encoder", n_classes=2, n_columns=3, freeze=["layers:1"])
