"""Programs of torch.export from a stranger: torch's own loader runs what they hold, limbeck opens none of them.

Each attack first writes its marker by ``torch.export.load`` alone, so that the test would notice if it did not work.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from limbeck.cli import main
from limbeck.errors import DataError
from limbeck.students import table_encoder
from limbeck.students.export import load_exported, predict
from limbeck.students.export.answer import Answer
from limbeck.students.export.tracing import traced

Entries = dict[str, bytes]
X = torch.ones(2, 5)
MODEL, WEIGHTS = "models/model.json", "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"


class Pickle:
    """Runs ``code`` when it is unpickled."""

    def __init__(self, code: str) -> None:
        self.code = code

    def __reduce__(self):
        return exec, (self.code,)


def pickled(code: str) -> bytes:
    file = io.BytesIO()
    torch.save(Pickle(code), file)
    return file.getvalue()


def edit(entries: Entries, name: str, change: Callable[[Any], None]) -> None:
    value = json.loads(entries[name])
    change(value)
    entries[name] = json.dumps(value).encode()


def escaped_key(entries: Entries, code: str) -> None:
    entries["data/weights/weight_0"] = pickled(code)
    entries[WEIGHTS] = entries[WEIGHTS].replace(b'"use_pickle": false', b'"use_\\u0070ickle": true', 1)


def number_for_true(entries: Entries, code: str) -> None:
    entries["data/weights/weight_0"] = pickled(code)
    entries[WEIGHTS] = entries[WEIGHTS].replace(b'"use_pickle": false', b'"use_pickle": 1', 1)


def key_twice(entries: Entries, code: str) -> None:
    entries["data/weights/weight_0"] = pickled(code)
    twice = b'"use_pickle": false, "use_pic\\u006Ble":\n\n true'
    entries[WEIGHTS] = entries[WEIGHTS].replace(b'"use_pickle": false', twice, 1)


def older_weights(entries: Entries, code: str) -> None:
    entries["data/weights/model.pt"] = pickled(code)


def opaque_constant(entries: Entries, code: str) -> None:
    entries["data/constants/opaque_obj_0"] = pickle.dumps(Pickle(code))
    meta = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None}
    entries[CONSTANTS] = json.dumps({"config": {"thing": meta}}).encode()


def sample_inputs(entries: Entries, code: str) -> None:
    entries["data/sample_inputs/model.pt"] = pickled(code)


def size_expression(entries: Entries, code: str) -> None:
    def change(program):
        sizes = program["graph_module"]["graph"]["tensor_values"]["inputs_x"]["sizes"]
        sizes[0]["as_expr"]["expr_str"] = f"__import__('builtins').exec({code!r}) or 4"

    edit(entries, MODEL, change)


def guard(entries: Entries, code: str) -> None:
    file = io.BytesIO()
    torch.save((({"x": X},), {}), file)
    entries["data/sample_inputs/model.pt"] = file.getvalue()
    edit(
        entries,
        MODEL,
        lambda program: program.update(guards_code=[f"exec(bytes({list(code.encode())})) is None"]),
    )


def operator_that_writes(entries: Entries, code: str) -> None:
    """An operator that maps a file, and makes it where there is none."""
    path = code.split("'")[1]

    def change(program):
        graph = program["graph_module"]["graph"]
        values = {"filename": {"as_string": path}, "shared": {"as_bool": True}, "size": {"as_int": 8}}
        inputs = [{"name": name, "arg": value, "kind": 1} for name, value in values.items()]
        called = {"target": "torch.ops.aten.from_file.default", "inputs": inputs, "name": "called"}
        graph["nodes"].insert(
            0, {**graph["nodes"][0], **called, "outputs": [{"as_tensor": {"name": "called"}}]}
        )
        graph["tensor_values"]["called"] = graph["tensor_values"]["linear"]

    edit(entries, MODEL, change)


def name_as_code(entries: Entries, code: str) -> None:
    """Torch writes the names of inputs into the Python text that it compiles, here with a default."""
    name = f"inputs_x=exec({code!r})"
    entries[MODEL] = entries[MODEL].replace(b'"inputs_x"', json.dumps(name).encode())


def enum_of_a_module(entries: Entries, code: str) -> None:
    (Path.cwd() / "brought_along.py").write_text(code)
    context = json.dumps({"__enum__": True, "fqn": "brought_along:X", "name": "x"})

    def change(program):
        spec = {"type": "builtins.dict", "context": context, "children_spec": []}
        program["graph_module"]["module_call_graph"][0]["signature"]["out_spec"] = json.dumps([1, spec])

    edit(entries, MODEL, change)


ATTACKS = [
    escaped_key, number_for_true, key_twice, older_weights, opaque_constant, sample_inputs, size_expression, guard,
    operator_that_writes, name_as_code, enum_of_a_module,
]  # fmt: skip


@pytest.fixture(scope="module")
def honest(tmp_path_factory) -> Entries:
    """What an archive of a small classifier holds, without its outermost folder."""
    torch.manual_seed(0)
    model = table_encoder(3, n_columns=5, hidden=(8,)).eval().requires_grad_(False)
    program = traced(Answer(model), {"x": X})
    program.example_inputs = None
    path = tmp_path_factory.mktemp("honest") / "student.pt2"
    torch.export.save(program, path)
    with zipfile.ZipFile(path) as archive:
        return {entry.filename.partition("/")[2]: archive.read(entry) for entry in archive.infolist()}


def folder_of(entries: Entries, folder: Path) -> Path:
    """A student as limbeck once wrote it, with right hashes."""
    folder.mkdir()
    path = folder / "student.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(f"student/{name}", data)
    info = {
        "format": 1,
        "loads_with": "torch.export",
        "problem": "classification",
        "class_names": ["a", "b", "c"],
        "inputs": {"x": {"dtype": "float32", "shape": ["rows", 5]}},
        "has_processor": False,
        "versions": {},
        "sha256": {path.name: hashlib.sha256(path.read_bytes()).hexdigest()},
        "provenance": {},
    }
    (folder / "student.json").write_text(json.dumps(info))
    (folder / "preprocessor.json").write_text(
        json.dumps({"kind": "table", "columns": list("abcde"), "mean": [0.0] * 5, "deviation": [1.0] * 5})
    )
    return folder


def by_torch_alone(folder: Path) -> None:
    """What limbeck did with such a folder; the damage is done before whatever it then complains about."""
    try:
        torch.export.load(str(folder / "student.pt2")).module()({"x": X})
    except Exception as error:
        print(type(error), error)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_what_torchs_loader_runs_is_not_opened(honest, attack, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    marker = tmp_path / "marker"
    entries = dict(honest)
    attack(entries, f"open({str(marker)!r}, 'w').close()")
    folder = folder_of(entries, tmp_path / "s")
    by_torch_alone(folder)
    assert marker.exists(), "the attack itself does not work"
    marker.unlink()
    capsys.readouterr()
    table = tmp_path / "t.csv"
    table.write_text("a,b,c,d,e\n1,2,3,4,5\n")
    for use in (load_exported, lambda f: predict(f, {"x": X})):
        with pytest.raises(
            DataError, match=r"student\.pt2, which limbeck no longer opens.*export the student again"
        ):
            use(folder)
    assert main(["predict", str(folder), str(table)]) != 0
    assert "Traceback" not in capsys.readouterr().err
    assert not marker.exists()


def test_the_honest_archive_of_old_is_refused_too(honest, tmp_path):
    folder = folder_of(honest, tmp_path / "s")
    assert torch.export.load(str(folder / "student.pt2")).module()({"x": X}).shape == (2, 3)
    with pytest.raises(DataError, match="no longer opens"):
        load_exported(folder)
