"""A student that has left: other libraries open its folder, its card takes a file, and the hub takes its card."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from students.hostile import change_json, rehash
from torch import nn

from limbeck.data.base import texts
from limbeck.errors import ConfigError, DataError
from limbeck.predict import predict_files
from limbeck.problems.registry import problem
from limbeck.students import audio_encoder, image_encoder, model_from_spec, table_encoder
from limbeck.students.export.card import _TASKS
from limbeck.students.export.folder import export_student, load_exported
from limbeck.students.text import encode, tokenizer_of

NAMES = ("nought", "one", "two")
PICTURE = {"kind": "image", "height": 12, "width": 16, "channels": 3, "mean": 0.5, "deviation": 0.5}
WITHOUT_LIMBECK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "limbeck":
            raise ImportError("limbeck is not installed here")
sys.meta_path.insert(0, Block())
"""


def reader(checkpoint: Path, folder: Path, *, asked=None, pooling=None, **more) -> Path:
    """A text student that has learned something: fresh heads say little."""
    spec, asked = f"hf:{checkpoint}", asked or problem("classification", NAMES)
    torch.manual_seed(0)
    model, tokenizer = model_from_spec(spec, problem=asked, pooling=pooling), tokenizer_of(spec)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    inputs, _ = encode(tokenizer, {"text": texts(["the cat", "a big dog"])}, 8)
    settings = {"kind": "text", "columns": ["text"], "max_length": 8}
    ship = {"problem": asked, "inputs_example": inputs, "preprocessor": settings, "provenance": {}}
    return export_student(model, folder, processor=tokenizer, **ship, **more)


def shares(rows: list[dict]) -> torch.Tensor:
    return torch.tensor([list(row["probabilities"].values()) for row in rows])


def picture(path: Path, size: tuple[int, int] = (31, 23)) -> Path:
    pil = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    pil.fromarray(pixels).save(path)
    return path


def clip(path: Path, rate: int = 11025) -> Path:
    soundfile = pytest.importorskip("soundfile")
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, (rate // 2, 2)), rate)
    return path


def ship(model: nn.Module, folder: Path, x: torch.Tensor, settings: dict) -> Path:
    given = {"inputs_example": {"x": x}, "preprocessor": settings, "provenance": {}}
    return export_student(model, folder, class_names=NAMES, **given)


def test_transformers_own_pipeline_reads_texts(word_bert, tmp_path):
    from transformers import pipeline

    folder = reader(word_bert, tmp_path / "s")
    said = {"the big cat": None, "a red bird": None}
    (tmp_path / "t.csv").write_text("text\n" + "\n".join(said) + "\n")
    wanted = shares(predict_files(folder, [tmp_path / "t.csv"]))
    assert (wanted.max(-1).values - wanted.min(-1).values).min() > 0.01
    rows = pipeline("text-classification", str(folder))(list(said), top_k=None)
    found = [{entry["label"]: entry["score"] for entry in row} for row in rows]
    for row, share in zip(found, wanted.tolist(), strict=True):
        assert [row[name] for name in NAMES] == pytest.approx(share, abs=1e-5)
    assert len(list(folder.rglob("*.safetensors"))) == 1


@pytest.mark.parametrize(
    ("pooling", "asked"),
    [
        ("mean", problem({"kind": "embedding", "width": 5}, ("vector",))),
        pytest.param("cls", problem("classification", NAMES), marks=pytest.mark.full),
        pytest.param("last", problem("classification", NAMES), marks=pytest.mark.full),
    ],
)
def test_sentence_transformers_reads_a_pooled_student(pooling, asked, word_bert, tmp_path):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    folder = reader(word_bert, tmp_path / "s", asked=asked, pooling=pooling)
    rows = ["the big cat", "a red bird sees", "dog"]
    inputs, _ = encode(tokenizer_of(f"hf:{folder}"), {"text": texts(rows)}, 8)
    wanted = load_exported(folder).outputs(inputs)
    found = sentence_transformers.SentenceTransformer(str(folder), device="cpu").encode(rows)
    np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-4, atol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 0.01
    assert {path.parent.name for path in folder.rglob("*.safetensors")} == {"s", "2_Dense"}


def test_transformers_own_pipeline_sees_pictures(tmp_path):
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    torch.manual_seed(0)
    config = transformers.ViTConfig(image_size=(12, 16), patch_size=4, num_labels=3, **sizes)
    model = transformers.ViTForImageClassification(config)
    folder = ship(model, tmp_path / "s", torch.randn(2, 3, 12, 16), PICTURE)
    file = picture(tmp_path / "a picture.png")
    (answer,) = predict_files(folder, [file])
    found = {
        e["label"]: e["score"] for e in transformers.pipeline("image-classification", str(folder))(str(file))
    }
    assert found == pytest.approx(answer["probabilities"], abs=1e-4)


@pytest.mark.full
def test_transformers_own_pipeline_hears(tmp_path):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.Wav2Vec2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, conv_dim=(8, 8),
        conv_kernel=(10, 3), conv_stride=(5, 2), num_labels=3, classifier_proj_size=8,
        num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    model = transformers.Wav2Vec2ForSequenceClassification(config).eval()
    waves = torch.randn(2, 800)
    folder = export_student(
        model, tmp_path / "s", class_names=NAMES, inputs_example={"input_values": waves}, preprocessor={},
        provenance={}, processor=transformers.Wav2Vec2FeatureExtractor(do_normalize=False),
    )  # fmt: skip
    rows = transformers.pipeline("audio-classification", str(folder))(waves[0].numpy())
    wanted = load_exported(folder).predictions({"input_values": waves[:1]})[0].tolist()
    assert {row["label"]: row["score"] for row in rows} == pytest.approx(dict(zip(NAMES, wanted)), abs=1e-4)


LOG_MEL = {
    "kind": "log_mel", "rate": 8000, "n_bands": 16, "lowest": 60.0, "highest": 4000.0, "n_fft": 256, "window": 128,
    "hop": 80, "n_frames": 32, "pool": 2,
}  # fmt: skip


def sound(tmp_path: Path) -> tuple[Path, Path]:
    folder = ship(audio_encoder(3, channels=(4, 8)), tmp_path / "s", torch.randn(2, 1, 8, 16), LOG_MEL)
    return folder, clip(folder / "clip.wav")


def seen(tmp_path: Path) -> tuple[Path, Path]:
    folder = ship(image_encoder(3, channels=(4, 8)), tmp_path / "s", torch.randn(2, 3, 12, 16), PICTURE)
    return folder, picture(folder / "picture.png")


def rows(tmp_path: Path) -> tuple[Path, Path]:
    settings = {"kind": "table", "columns": ["u", "v"], "mean": [1.0, 2.0], "deviation": [2.0, 0.5]}
    folder = ship(table_encoder(3, 2), tmp_path / "s", torch.randn(4, 2), settings)
    (folder / "table.csv").write_text("v,note,u\n3,x,4\n1,y,-2\n")
    return folder, folder / "table.csv"


@pytest.mark.parametrize(
    "made", [sound, pytest.param(seen, marks=pytest.mark.full), pytest.param(rows, marks=pytest.mark.full)]
)
@pytest.mark.full
def test_the_snippet_of_a_plain_student_takes_a_file(made, tmp_path):
    torch.manual_seed(0)
    folder, file = made(tmp_path)
    snippet = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL).group(1)
    done = subprocess.run(
        [sys.executable, "-I", "-c", WITHOUT_LIMBECK + snippet],
        cwd=folder, env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = [json.loads(line.replace("'", '"')) for line in done.stdout.splitlines()]
    file = file.rename(tmp_path / file.name)  # it is none of what was exported
    wanted = predict_files(folder, [file])
    assert len(found) == len(wanted)
    for row, answer in zip(found, wanted, strict=True):
        assert row == pytest.approx(answer["probabilities"], abs=1e-3)


def head_of(folder: Path) -> tuple[str, dict]:
    """The card, and its head as the hub's own library reads it."""
    from huggingface_hub import ModelCard

    card = ModelCard.load(folder / "README.md", ignore_metadata_errors=False)
    return card.content, card.data.to_dict()


def test_the_hub_takes_the_card(word_bert, tmp_path):
    said = {
        "licence": "apache-2.0",
        "base_model": "org/base",
        "datasets": ["org/data"],
        "results": [{"dataset": "My Data", "split": "test", "metric": "macro_f1", "value": 0.5}],
    }
    folder = reader(word_bert, tmp_path / "s", card=said)
    _, head = head_of(folder)
    assert {
        key: head[key] for key in ("license", "base_model", "pipeline_tag", "datasets", "library_name")
    } == {
        "license": "apache-2.0",
        "base_model": "org/base",
        "pipeline_tag": "text-classification",
        "datasets": ["org/data"],
        "library_name": "transformers",
    }
    assert "accuracy" in head["metrics"]
    (result,) = head["model-index"][0]["results"]
    assert result["metrics"] == [{"type": "f1", "value": 0.5}]
    assert result["dataset"] == {"name": "My Data", "type": "my-data", "split": "test"}


@pytest.mark.parametrize(
    ("licence", "wanted"),
    [
        (None, ("unknown", None)),
        ("My own terms", ("other", "my-own-terms")),
        pytest.param("mit", ("mit", None), marks=pytest.mark.full),
    ],
)
def test_a_licence_is_one_that_the_hub_knows(licence, wanted, tmp_path):
    given = {
        "inputs_example": {"x": torch.zeros(2, 5)},
        "preprocessor": {},
        "provenance": {},
        "class_names": NAMES,
    }
    card = {"licence": licence} if licence else {}
    _, head = head_of(export_student(table_encoder(3, 5), tmp_path / "s", **given, card=card))
    assert (head["license"], head.get("license_name")) == wanted
    assert "pipeline_tag" not in head


def test_what_a_card_cannot_say_is_refused(tmp_path):
    given = {
        "inputs_example": {"x": torch.zeros(2, 5)},
        "preprocessor": {},
        "provenance": {},
        "class_names": NAMES,
    }
    with pytest.raises(ConfigError, match="no setting 'license'; did you mean 'licence'"):
        export_student(table_encoder(3, 5), tmp_path / "s", **given, card={"license": "mit"})
    with pytest.raises(ConfigError, match=r"card\.datasets is 3; give a text or a list of texts"):
        export_student(table_encoder(3, 5), tmp_path / "s", **given, card={"datasets": 3})
    assert not (tmp_path / "s").exists()


def test_what_a_student_does_has_the_hubs_name():
    # huggingface.co/tasks; its library has no list of them
    assert set(_TASKS.values()) <= {
        "audio-classification", "image-classification", "image-feature-extraction", "image-segmentation",
        "multiple-choice", "sentence-similarity", "tabular-classification", "tabular-regression",
        "text-classification", "text-generation", "token-classification",
    }  # fmt: skip


@pytest.mark.parametrize("umask", [0o027, pytest.param(0o002, marks=pytest.mark.full)])
def test_files_have_the_modes_that_the_umask_leaves(umask, word_bert, tmp_path):
    before = os.umask(umask)
    try:
        folder = reader(word_bert, tmp_path / "s", pooling="mean")
    finally:
        os.umask(before)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.rglob("*")]}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o666 & ~umask}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o777 & ~umask}


def test_a_head_that_does_not_fit_and_another_pooling_are_refused(word_bert, tmp_path):
    folder = reader(word_bert, tmp_path / "s", pooling="mean")
    path = folder / "1_Pooling" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pooling_mode_max_tokens": True}))
    with pytest.raises(DataError, match=r"1_Pooling/config\.json is missing or not what was exported"):
        load_exported(folder)
    with pytest.raises(DataError, match=r"1_Pooling/config\.json is not as limbeck wrote it"):
        load_exported(rehash(folder))
    folder = reader(word_bert, tmp_path / "s", pooling="mean")
    change_json(folder / "modules.json", lambda modules: modules[0].update(type="os.system"))
    with pytest.raises(DataError, match=r"modules\.json is not as limbeck wrote it"):
        load_exported(folder)
