"""Transformers folders from a stranger: ``y`` on standard input, and no code of theirs runs.

Each attack is first seen to work on transformers itself, where it does work there.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from students.hostile import change_json, rehash, write_reader

from limbeck.errors import DataError, LimbeckError
from limbeck.students import model_from_spec
from limbeck.students.export import load_exported
from limbeck.students.text import load_tokenizer, tokenizer_of
from limbeck.teachers import HFTeacher

transformers = pytest.importorskip("transformers")
EVIL = {"AutoConfig": "evil.Evil", "AutoModel": "evil.Model", "AutoTokenizer": ["evil.Evil", "evil.Evil"]}

CODE = """open({marker!r}, "w").close()
from transformers import BertConfig, BertModel


class Evil(BertConfig):
    pass


class Model(BertModel):
    pass
"""


@pytest.fixture
def marker(tmp_path) -> Path:
    return tmp_path / "marker"


@pytest.fixture
def folder(tiny, tmp_path, marker, monkeypatch) -> Path:
    """A tiny BERT with its tokenizer and a module that writes the marker; ``y`` is typed to every question."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 100))
    copy = shutil.copytree(tiny("bert"), tmp_path / "m")
    (copy / "evil.py").write_text(CODE.format(marker=str(marker)))
    return copy


def settings(folder: Path, name: str = "config.json", **changes) -> None:
    if not (folder / name).exists():
        (folder / name).write_text("{}")
    change_json(folder / name, lambda values: values.update(changes))


def works(attack: Callable[[], object], marker: Path) -> None:
    """The attack runs code by transformers alone; what it then complains about does not matter."""
    try:
        attack()
    except Exception as error:
        print(error)
    assert marker.exists(), "the attack itself does not work"
    marker.unlink()


def student(folder: Path, **changes):
    return model_from_spec(f"hf:{folder}", n_classes=3, **changes)


USES = {
    "student": student,
    "pooled student": lambda folder: student(folder, pooling="mean"),
    "tokenizer": lambda folder: tokenizer_of(f"hf:{folder}"),
    "teacher": HFTeacher,
}


@pytest.mark.parametrize("use", USES)
def test_code_of_a_configuration_is_not_run(folder, marker, use, capsys):
    settings(folder, model_type="evil", auto_map=EVIL)
    works(lambda: transformers.AutoConfig.from_pretrained(folder), marker)
    capsys.readouterr()
    with pytest.raises(DataError, match="brings code of its own, which is not run"):
        USES[use](folder)
    said = capsys.readouterr()
    assert "[y/N]" not in said.out + said.err
    assert not marker.exists()


def test_code_of_a_tokenizer_is_not_run(folder, marker, capsys):
    settings(folder, "tokenizer_config.json", auto_map=EVIL, tokenizer_class="EvilTokenizer")
    settings(folder, model_type="evil")
    works(lambda: transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=True), marker)
    with pytest.raises(DataError):
        load_tokenizer(folder)
    assert "[y/N]" not in capsys.readouterr().out
    assert not marker.exists()


def test_a_model_given_as_a_tokenizer_is_not_loaded(folder, marker, capsys):
    """Transformers takes any of its classes as a tokenizer's, and there ``trust_remote_code=False`` does not reach."""
    settings(folder, "tokenizer_config.json", tokenizer_class="AutoModelForTokenClassification")
    settings(folder, model_type="vit", auto_map={"AutoModelForTokenClassification": "evil.Model"})
    works(lambda: transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False), marker)
    capsys.readouterr()
    with pytest.raises(DataError, match=r"gives 'AutoModelForTokenClassification' as its tokenizer_class"):
        load_tokenizer(folder)
    assert "[y/N]" not in capsys.readouterr().out
    assert not marker.exists()


def test_nothing_asks_where_the_names_of_classes_are_not_seen(folder, marker, monkeypatch, capsys):
    """As for a hub id, whose files are not looked at before."""
    settings(folder, "tokenizer_config.json", tokenizer_class="AutoModelForTokenClassification")
    settings(folder, model_type="vit", auto_map={"AutoModelForTokenClassification": "evil.Model"})
    monkeypatch.setattr("limbeck.students.foreign.check_folder", lambda source: None)
    with pytest.raises(DataError, match="brings code of its own"):
        load_tokenizer(folder)
    assert "[y/N]" not in capsys.readouterr().out
    assert not marker.exists()
    assert transformers.dynamic_module_utils.TIME_OUT_REMOTE_CODE > 0  # as it was


@pytest.mark.parametrize("kind", ["image", "audio"])
def test_code_of_a_processor_is_not_run(folder, marker, kind, capsys):
    from limbeck.teachers.hf.preprocessing import Preprocessor

    maps = {"AutoImageProcessor": "evil.Evil", "AutoFeatureExtractor": "evil.Evil"}
    settings(folder, "preprocessor_config.json", auto_map=maps)
    auto = transformers.AutoImageProcessor if kind == "image" else transformers.AutoFeatureExtractor
    works(lambda: auto.from_pretrained(folder), marker)
    capsys.readouterr()
    loader = Preprocessor(str(folder))
    with pytest.raises(DataError, match=f"No {kind} preprocessor can be loaded"):
        loader._load(kind)
    assert "[y/N]" not in capsys.readouterr().out
    assert not marker.exists()


def test_a_setting_called_trust_remote_code_is_only_a_setting(folder, marker):
    """A recipe's changes to the configuration, where the stranger's configuration has such a name."""
    settings(folder, model_type="vit", trust_remote_code=False)
    settings(folder, auto_map={"AutoModelForImageClassification": "evil.Model"})
    argument = {"trust_remote_code": True}  # what the setting became
    auto = transformers.AutoModelForImageClassification
    settings(folder, model_type="evil", auto_map={**EVIL, "AutoModelForImageClassification": "evil.Model"})
    works(lambda: auto.from_pretrained(folder, **argument), marker)
    settings(folder, model_type="vit", auto_map={"AutoModelForImageClassification": "evil.Model"})
    with pytest.raises(LimbeckError):
        student(folder, trust_remote_code=True, _attn_implementation="evil/kernel")
    try:
        student(folder, trust_remote_code=True)
    except LimbeckError as error:
        print(error)
    assert not marker.exists()


class Pickled:
    def __init__(self, code: str) -> None:
        self.code = code

    def __reduce__(self):
        return exec, (self.code,)


@pytest.mark.parametrize("use", ["student", "pooled student", "teacher"])
def test_pickled_weights_are_not_opened(folder, marker, use):
    (folder / "model.safetensors").unlink()
    torch.save({"x": Pickled(f"open({str(marker)!r}, 'w').close()")}, folder / "pytorch_model.bin")
    works(lambda: torch.load(folder / "pytorch_model.bin", weights_only=False), marker)
    with pytest.raises(DataError, match=r"pytorch_model\.bin is a pickle, which is not opened"):
        USES[use](folder)
    assert not marker.exists()


FOLLOWED = {
    "kernels": lambda f: settings(f, attn_implementation="evil/kernels"),
    "kernels of experts": lambda f: settings(f, text={"_experts_implementation": "evil/kernels:f"}),
    "other configurations": lambda f: settings(f, configuration_files=["../config.9.0.0.json"]),
    "a class of no tokenizer": lambda f: settings(f, tokenizer_class="RagRetriever"),
    "a class of no processor": lambda f: settings(f, "processor_config.json", processor_class="Trainer"),
    "weights elsewhere": lambda f: settings(
        f, "model.safetensors.index.json", weight_map={"x": "../../model.safetensors"}
    ),
    "an adapter": lambda f: settings(f, "adapter_config.json", base_model_name_or_path="evil/base"),
    "a key twice": lambda f: (f / "config.json").write_text('{"model_type": "bert", "model_type": "evil"}'),
    "depth": lambda f: (f / "config.json").write_text('{"a": ' + "[" * 10**5 + "]" * 10**5 + "}"),
    "a library": lambda f: settings(f, "model_index.json", unet=["subprocess", "Popen"]),
}


@pytest.mark.parametrize("name", FOLLOWED)
@pytest.mark.parametrize("use", ["student", "tokenizer", "teacher"])
def test_settings_that_lead_elsewhere_are_refused(folder, name, use):
    FOLLOWED[name](folder)
    with pytest.raises(DataError) as caught:
        USES[use](folder)
    assert "\n" not in str(caught.value)


def test_honest_checkpoints_load(folder):
    (folder / "evil.py").unlink()
    settings(folder, auto_map=EVIL)  # many on the hub have one, though transformers knows their kind
    assert student(folder) is not None
    assert len(load_tokenizer(folder)) > 4
    assert HFTeacher(folder) is not None


def test_an_exported_student_has_plain_settings_alone(folder, marker, tmp_path, capsys):
    shipped = write_reader(folder, tmp_path / "s")
    whole = (shipped / "config.json").read_text()
    shutil.copy(folder / "evil.py", shipped)
    for changes in (
        {"auto_map": EVIL},
        {"auto_map": EVIL, "model_type": "evil"},
        {"quantization_config": {"quant_method": "x"}},
        {"attn_implementation": "sdpa"},
        {"text_config": {"auto_map": EVIL}},
        {"model_type": "timm_wrapper"},
        {"model_type": "whisper"},
        {"model_type": ["bert"]},
        {"model_type": None},
    ):
        (shipped / "config.json").write_text(whole)
        settings(shipped, **changes)
        with pytest.raises(DataError):
            load_exported(shipped)
    assert "[y/N]" not in capsys.readouterr().out
    assert not marker.exists()
    (shipped / "config.json").write_text(whole)
    rehash(shipped)
    assert load_exported(shipped).info["loads_with"] == "AutoModelForSequenceClassification"


def test_a_student_whose_checkpoint_named_code_ships_without_the_name(folder, tmp_path):
    (folder / "evil.py").unlink()
    settings(folder, auto_map=EVIL)
    shipped = write_reader(folder, tmp_path / "s")
    assert "auto_map" not in json.loads((shipped / "config.json").read_text())


def test_students_of_the_first_format_still_load(folder, tmp_path):
    shipped = write_reader(folder, tmp_path / "s")

    def older(info):
        info["format"] = 1
        del info["problem"], info["digest"]

    change_json(shipped / "student.json", older)
    assert load_exported(shipped).problem.kind == "classification"


def command(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """A command with ``y`` typed to whatever it may ask."""
    return subprocess.run(
        [sys.executable, "-m", "limbeck.cli", *arguments],
        cwd=folder,
        input="y\n" * 100,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_MODULES_CACHE": str(folder / "modules")},
    )


def quiet(done: subprocess.CompletedProcess[str], match: str, marker: Path) -> None:
    assert done.returncode != 0
    assert match in done.stderr
    assert "[y/N]" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not marker.exists()


def test_predict_on_a_strangers_folder_asks_nothing(folder, marker, tmp_path):
    shipped = write_reader(folder, tmp_path / "s")
    shutil.copy(folder / "evil.py", shipped)
    settings(shipped, model_type="evil", auto_map=EVIL)
    (tmp_path / "t.csv").write_text("text\nthe cat\n")
    quiet(command(["predict", "s", "t.csv"], tmp_path), "holds 'auto_map'", marker)
    shutil.rmtree(shipped)
    write_reader(folder, shipped)
    shutil.copy(folder / "evil.py", shipped)
    settings(
        shipped, "tokenizer_config.json", tokenizer_class="AutoModelForTokenClassification", auto_map=EVIL
    )
    quiet(command(["predict", "s", "t.csv"], tmp_path), "tokenizer_class", marker)


@pytest.mark.full
def test_distill_from_a_strangers_folder_asks_nothing(folder, marker, tmp_path):
    settings(folder, model_type="evil", auto_map=EVIL)
    rows = [(i, f"the {word}", word) for i, word in enumerate(("cat", "dog", "bird") * 8)]
    with (tmp_path / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "text", "label"), *rows])
    recipe = [
        "--data.name", "texts", "--data.config", json.dumps({"path": str(tmp_path / "t.csv")}),
        "--student.model", f"hf:{folder}", "--method.name", "supervised", "--training.max_steps", "1",
    ]  # fmt: skip
    quiet(command(["distill", *recipe], tmp_path), "brings code of its own", marker)
