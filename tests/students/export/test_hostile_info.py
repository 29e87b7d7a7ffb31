"""``student.json``, ``preprocessor.json`` and the files of an exported student, as a stranger may have them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from students.hostile import X, change_json, rehash, running, write_student

from limbeck.cli import main
from limbeck.errors import DataError
from limbeck.predict import predict_files
from limbeck.students.export import load_exported

HASH = "0" * 64


@pytest.fixture(scope="module")
def honest(tmp_path_factory) -> Path:
    return write_student(tmp_path_factory.mktemp("honest") / "s")


@pytest.fixture
def folder(honest, tmp_path) -> Path:
    return shutil.copytree(honest, tmp_path / "s")


def refused(folder: Path, match: str) -> None:
    with running() as heard, pytest.raises(DataError, match=match) as caught:
        load_exported(folder)
    assert heard == []
    assert "\n" not in str(caught.value)


INFOS = [
    ({"loads_with": "os.system"}, "loads_with is 'os.system'"),
    ({"loads_with": "AutoModel"}, "loads_with is 'AutoModel'"),
    ({"loads_with": "AutoModelForCausalLM"}, "loads_with"),
    ({"loads_with": "pipeline"}, "loads_with"),
    ({"loads_with": "RagRetriever"}, "loads_with"),
    ({"loads_with": ["AutoModelForSequenceClassification"]}, "not as limbeck wrote it"),
    ({"loads_with": None}, "loads_with is None"),
    ({"format": "2"}, "of format '2'"),
    ({"format": True}, "of format True"),
    ({"format": 2.0}, r"of format 2\.0"),
    ({"format": [2]}, "of format"),
    ({"problem": "generation"}, "of a generation"),
    ({"problem": "generating"}, "problem: There is no problem 'generating'"),
    ({"problem": {"x": 1}}, "problem: A problem is a name"),
    ({"problem": {"kind": "classification", "__class__": 1}}, "has no setting '__class__'"),
    ({"problem": {"kind": "classification", "label_smoothing": "x"}}, "it is 'x'"),
    ({"problem": {"kind": "classification", "decides": "acuracy"}}, "did you mean 'accuracy'"),
    ({"class_names": ["a", "b", "a"]}, "class name 'a' comes twice"),
    ({"class_names": ["a", "b", 3]}, "must be a list of texts"),
    ({"class_names": "abc"}, "must be a list of texts"),
    ({"class_names": []}, "must be a list of texts"),
    ({"class_names": ["a", "b", "\ud800"]}, "surrogates"),
    ({"problem": "regression"}, "a problem of 1 outputs has 3 names"),
    ({"inputs": {}}, "it has no inputs"),
    ({"inputs": ["x"]}, "it has no inputs"),
    ({"inputs": {"x": {"dtype": "quint8", "shape": ["rows", 5]}}}, "dtype 'quint8'"),
    ({"inputs": {"x": {"dtype": "float32", "shape": ["rows", -5]}}}, "size -5"),
    ({"inputs": {"x": {"dtype": "float32", "shape": ["rows", 5.0]}}}, r"size 5\.0"),
    ({"inputs": {"x": {"dtype": "float32", "shape": [5, "rows"]}}}, "no shape of rows"),
    ({"inputs": {"x": {"dtype": "float32", "shape": []}}}, "no shape"),
    ({"inputs": {"x": {"dtype": "float32", "shape": ["rows", 5], "code": "x"}}}, "needs a dtype and a shape"),
    ({"sha256": None}, "it has no hashes"),
    ({"sha256": {"model.safetensors": "x"}}, "the hash of 'model.safetensors' is none"),
    ({"sha256": {"../outside.safetensors": HASH}}, "no file of the folder itself"),
    ({"sha256": {"inner/weights.safetensors": HASH}}, "no file of the folder itself"),
    ({"sha256": {".": HASH}}, "no file of the folder itself"),
    ({"sha256": {}}, "not among what was exported"),
    ({"provenance": "import os"}, "provenance is no object"),
    ({"versions": []}, "versions is no object"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "match"), INFOS, ids=lambda value: str(value)[:60])
def test_student_json_has_a_schema(folder, change, match):
    (folder.parent / "outside.safetensors").write_bytes(b"")
    (folder / "inner").mkdir()
    (folder / "inner" / "weights.safetensors").write_bytes(b"")
    change_json(folder / "student.json", lambda info: info.update(change))
    refused(folder, match)


def test_absolute_names_are_no_files_of_the_folder(folder):
    outside = folder.parent / "outside.safetensors"
    outside.write_bytes(b"")
    change_json(folder / "student.json", lambda info: info["sha256"].update({str(outside): HASH}))
    refused(folder, "no file of the folder itself")


@pytest.mark.parametrize(
    "name", ["program.json", "model.safetensors", "preprocessor.json", "student.json", "note"]
)
def test_links_out_of_the_folder_are_not_followed(folder, name):
    outside = folder.parent / "outside"
    if (folder / name).exists():
        shutil.move(folder / name, outside)
    else:
        outside.write_text("x")
    (folder / name).symlink_to(outside)
    refused(folder, f"{name} leads out of its folder")
    (folder / name).unlink()
    (folder / name).symlink_to("/etc/passwd")
    refused(folder, f"{name} leads out of its folder")


def test_links_of_folders_are_not_followed(folder):
    (folder / "more").symlink_to(folder.parent)
    refused(folder, "more leads out of its folder")


def test_the_folder_itself_may_be_a_link(folder):
    link = folder.parent / "link"
    link.symlink_to(folder)
    assert load_exported(link).logits({"x": X}).shape == (4, 3)


def test_a_pipe_is_no_file(folder):
    import os

    (folder / "model.safetensors").unlink()
    os.mkfifo(folder / "model.safetensors")  # reading it would wait for ever
    refused(folder, "no file of the folder itself")


def test_weights_beside_those_that_were_exported_are_refused(folder):
    shutil.copy(folder / "model.safetensors", folder / "more.safetensors")
    refused(folder, r"more\.safetensors is not among what was exported")


def test_a_changed_program_is_noticed(folder):
    program = json.loads((folder / "program.json").read_text())
    program["steps"].reverse()
    (folder / "program.json").write_text(json.dumps(program))
    refused(folder, r"program\.json is missing or not what was exported")


SETTINGS = [
    ({"kind": ["table"]}, "its kind is"),
    ({"columns": "abcde"}, "columns is 'abcde'"),
    ({"columns": [1, 2]}, "columns is"),
    ({"mean": ["x"] * 5}, "mean is"),
    ({"deviation": [1.0] * 4}, "differ in length"),
    ({"input": 7}, "input is 7"),
    ({"kind": "text", "columns": ["text", "__class__"]}, "columns is"),
    ({"kind": "text", "columns": ["text"], "max_length": -1}, "max_length is -1"),
    ({"kind": "text", "columns": ["text"], "max_length": 10**12}, "max_length is"),
    ({"kind": "text", "columns": ["text"], "names": {"text": 3}}, "names is"),
    ({"kind": "image", "height": 10**9}, "height is"),
    ({"kind": "image", "width": True}, "width is True"),
    ({"kind": "image", "channels": 0}, "channels is 0"),
    ({"kind": "image", "mean": "x"}, "mean is"),
    ({"kind": "log_mel", "n_fft": 10**9}, "n_fft is"),
    ({"kind": "log_mel", "rate": 0}, "rate is 0"),
    ({"kind": "log_mel", "lowest": None}, "lowest is"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "match"), SETTINGS, ids=lambda value: str(value)[:60])
def test_preprocessor_json_has_a_schema(folder, change, match):
    change_json(folder / "preprocessor.json", lambda settings: settings.update(change))
    refused(folder, match)


def test_settings_of_a_kind_of_the_users_own_are_his(folder):
    change_json(folder / "preprocessor.json", lambda _: {"kind": "mine", "columns": 3, "anything": [None]})
    assert load_exported(folder).preprocessor["anything"] == [None]
    with pytest.raises(DataError, match="no reader for files of kind 'mine'"):
        predict_files(folder, [folder / "README.md"])


@pytest.mark.parametrize("kind", ["table", "image", "text"])
def test_settings_that_are_not_there_are_named(folder, tmp_path, kind):
    change_json(folder / "preprocessor.json", lambda _: {"kind": kind})
    table = tmp_path / "t.csv"
    table.write_text("v,w,x,y,z\n1,2,3,4,5\n")
    with pytest.raises(DataError, match=r"preprocessor\.json does not say .*so files cannot be read"):
        predict_files(folder, [table])


def test_settings_that_make_no_inputs_are_one_sentence(folder, tmp_path):
    soundfile = pytest.importorskip("soundfile")
    soundfile.write(tmp_path / "a.wav", torch.randn(8000).numpy(), 8000)
    change_json(folder / "preprocessor.json", lambda _: {"kind": "log_mel", "window": 600, "n_fft": 512})
    with pytest.raises(DataError, match=r"make no inputs of .*a\.wav"):
        predict_files(folder, [tmp_path / "a.wav"])


def test_an_answer_for_each_row_or_an_error(folder, tmp_path):
    """A program of a stranger may give as many rows as it likes."""

    def twice(program):
        both = [{"value": program["output"]}] * 2
        program["steps"].append({"name": "twice", "call": "aten.cat.default", "args": [both], "options": {}})
        program["output"] = "twice"

    change_json(folder / "program.json", twice)
    rehash(folder)
    table = tmp_path / "t.csv"
    table.write_text("v,w,x,y,z\n1,2,3,4,5\n")
    with pytest.raises(DataError, match="gives 2 answers for 1 rows"):
        predict_files(folder, [table])


def test_the_command_says_one_sentence(folder, capsys):
    change_json(folder / "student.json", lambda info: info.update(loads_with="os.system"))
    assert main(["predict", str(folder), "x.csv"]) != 0
    said = capsys.readouterr().err
    assert "loads_with is 'os.system'" in said
    assert "Traceback" not in said
