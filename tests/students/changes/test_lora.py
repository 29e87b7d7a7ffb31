from __future__ import annotations

import copy

import pytest
import torch

from limbeck.data.base import texts
from limbeck.errors import ConfigError, UnknownNameError
from limbeck.students import Student, model_from_spec
from limbeck.students.changes.lora import merge_lora
from limbeck.students.student import bare_copy
from limbeck.students.text import encode, tokenizer_of

pytest.importorskip("peft")
TEXT = {"text": texts(["the cat sees a big red bird", "dog"])}
CHOICES = {"choices": texts([("the tree", "red"), ("a", "far near sky")])}


def student_of(tiny, kind: str, **settings) -> tuple[Student, dict[str, torch.Tensor]]:
    spec = f"hf:{tiny(kind)}"
    columns = CHOICES if settings.get("problem") == "choice" else TEXT
    torch.manual_seed(0)
    model = model_from_spec(spec, n_classes=2, **({"lora": {"r": 2}} | settings))
    return Student(model), encode(tokenizer_of(spec), columns, 16)[0]


@pytest.mark.parametrize("settings", [{}, {"pooling": "mean"}, {"problem": "choice"}, {"dtype": "bfloat16"}])
@pytest.mark.parametrize("kind", ["bert", "deberta", "opt", "llama"])
def test_only_adapters_and_head_learn(tiny, kind, settings):
    student, inputs = student_of(tiny, kind, **settings)
    student.gradient_checkpointing_enable()
    student.train()(inputs).logits.float().square().sum().backward()
    learning = {name for name, p in student.named_parameters() if p.grad is not None}
    assert learning == {name for name, p in student.named_parameters() if p.requires_grad}
    outside = {name for name in learning if ".lora_" not in name}
    heads = ("model.head.", "model.classifier.", "model.score.", "model.pooler.", "model.bert.pooler.")
    assert all(name.startswith(heads) for name in outside)
    assert any(name.startswith(f"model.{student.head_path}.") for name in outside)
    adapted = {name.partition(".lora_")[0] for name in learning - outside}
    assert len(adapted) == 4  # queries and values of two layers


def test_adapters_of_a_bfloat16_student_take_small_steps(tiny):
    """A step of 2e-5 is below the resolution of bfloat16 at most weights."""
    student, inputs = student_of(tiny, "llama", dtype="bfloat16")
    adapters = {n: p for n, p in student.named_parameters() if "lora_" in n}
    assert {p.dtype for p in adapters.values()} == {torch.float32}
    with torch.no_grad():  # B starts at zero, which keeps A without gradient
        for parameter in adapters.values():
            parameter.normal_(std=0.1)
    before = {n: p.detach().clone() for n, p in adapters.items()}
    optimizer = torch.optim.AdamW(adapters.values(), lr=2e-5, weight_decay=0)
    student.train()(inputs).logits.float().square().sum().backward()
    optimizer.step()
    for name, parameter in adapters.items():
        moved = (parameter - before[name]).abs()
        assert moved[parameter.grad != 0].median() > 1.5e-5, name
    assert student(inputs).logits.dtype == torch.bfloat16
    assert {p.dtype for p in bare_copy(student).parameters()} == {torch.bfloat16}


def test_a_pooler_that_the_checkpoint_holds_stays(tiny, tmp_path):
    make = {"n_classes": 2, "lora": {}}
    fresh = model_from_spec(f"hf:{tiny('opt')}", **make)  # OPT has no pooler: the head alone is new
    assert [n for n, p in fresh.named_parameters() if p.requires_grad and "lora" not in n] == ["score.weight"]
    held = model_from_spec(f"hf:{tiny('bert')}", **make)
    trained = [n for n, p in held.named_parameters() if p.requires_grad and "lora" not in n]
    assert trained == ["classifier.weight", "classifier.bias"]


@pytest.mark.parametrize("settings", [{}, {"pooling": "mean"}])
@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_merged_gives_the_same_logits_without_adapters(tiny, kind, settings):
    student, inputs = student_of(tiny, kind, lora={"r": 2, "alpha": 32, "dropout": 0.5}, **settings)
    with torch.no_grad():
        for name, parameter in student.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    plain = student_of(tiny, kind, lora=None, **settings)[0]
    merged = bare_copy(student)
    assert merged.state_dict().keys() == plain.model.state_dict().keys()
    assert type(merged) is type(plain.model)
    student.eval()
    torch.testing.assert_close(Student(merged)(inputs).logits, student(inputs).logits, rtol=1e-4, atol=1e-5)
    difference = Student(merged)(inputs).logits - plain.eval()(inputs).logits
    assert difference.abs().max() > 1e-3  # the adapters said something
    assert any("lora_" in name for name, _ in student.named_parameters())  # the original keeps them


def test_merging_leaves_a_model_without_adapters_alone(tiny):
    model = model_from_spec(f"hf:{tiny('bert')}", n_classes=2)
    before = copy.deepcopy(model.state_dict())
    assert merge_lora(model) is model
    torch.testing.assert_close(model.state_dict(), before)


def test_settings(tiny):
    student, _ = student_of(tiny, "llama", lora={"r": 3, "target_modules": ["up_proj"]})
    adapters = {name: p.shape for name, p in student.named_parameters() if "lora_A" in name}
    assert set(adapters.values()) == {torch.Size([3, 16])}
    assert all("up_proj" in name for name in adapters)


@pytest.mark.parametrize(
    ("lora", "error", "message"),
    [
        ({"rank": 8}, UnknownNameError, "lora has no setting 'rank'; valid ones: alpha, dropout, r"),
        ({"aplha": 8}, UnknownNameError, "did you mean 'alpha'"),
        ({"r": 0}, ConfigError, "lora.r must be a whole number of at least 1; it is 0"),
        ({"alpha": -1}, ConfigError, "lora.alpha must be a number above 0"),
        ({"dropout": 1.0}, ConfigError, r"lora.dropout must lie in \[0, 1\)"),
        (
            {"target_modules": ["querry"]},
            UnknownNameError,
            "no linear layer of the student; did you mean 'query'",
        ),
    ],
)
def test_wrong_settings(tiny, lora, error, message):
    with pytest.raises(error, match=message):
        model_from_spec(f"hf:{tiny('bert')}", n_classes=2, lora=lora)


def test_without_peft(tiny, monkeypatch):
    monkeypatch.setattr("limbeck.students.changes.lora.importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'limbeck\[llm\]'"):
        model_from_spec(f"hf:{tiny('bert')}", n_classes=2, lora={})
