"""What tests of strangers' students share: folders changed with right hashes, and an ear for code that runs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from limbeck.data.base import texts
from limbeck.problems.registry import PROBLEMS, problem_class
from limbeck.students import model_from_spec
from limbeck.students.export import export_student
from limbeck.students.export.exported import hashed_files
from limbeck.students.export.info import digest_of
from limbeck.students.text import encode, tokenizer_of

X = torch.linspace(-1, 1, 20).reshape(4, 5)
# What Python reports when a text becomes code, a pickle a class, or a process or connection is started.
RUNNING = (
    "exec", "compile", "import", "marshal.loads", "pickle.find_class", "os.system", "os.exec", "os.posix_spawn",
    "os.fork", "subprocess.Popen", "ctypes.dlopen", "socket.connect", "socket.getaddrinfo", "builtins.input",
)  # fmt: skip
_heard: list[str] | None = None


def _listen(event: str, arguments: tuple[Any, ...]) -> None:
    if _heard is None:
        return
    writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    if event in RUNNING or writes:
        _heard.append(f"{event} {str(arguments)[:200]}")


for kind in PROBLEMS:  # the library's own files, read once before anything is listened to
    problem_class(kind)
sys.addaudithook(_listen)  # for good, but silent outside ``running``


@contextlib.contextmanager
def running() -> Iterator[list[str]]:
    """What was run or written inside the block."""
    global _heard
    _heard = heard = []
    try:
        yield heard
    finally:
        _heard = None


def change_json(path: Path, change: Callable[[Any], Any]) -> None:
    """Change a file of a student, whose hashes are then right again, or of another folder."""
    value = json.loads(path.read_text())
    changed = change(value)
    value = value if changed is None else changed
    if path.name == "student.json" and isinstance(value, dict) and "digest" in value:
        value["digest"] = digest_of(value)
    path.write_text(json.dumps(value))
    if path.name != "student.json" and (path.parent / "student.json").is_file():
        rehash(path.parent)


def rehash(folder: Path) -> Path:
    """Right hashes again, of files that were added too, as whoever changes a file changes them as well."""

    def change(info):
        info["sha256"] = {
            path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in hashed_files(folder)
        }

    change_json(folder / "student.json", change)
    return folder


class Model(nn.Module):
    """Has steps of every kind: operators, arithmetic of sizes, items of several results, constants."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(5, 6), nn.Linear(6, 3)
        self.norm = nn.BatchNorm1d(6)
        self.register_buffer("shift", torch.arange(6.0), persistent=False)

    def forward(self, x):
        hidden = torch.relu(self.norm(self.inner(x))) + self.shift.reshape(1, -1)
        largest = hidden.max(dim=1, keepdim=True).values
        places = torch.arange(x.shape[0] * 2)[: x.shape[0], None].to(x.dtype) * 0
        return self.head(hidden - largest + places).to(torch.float32)


def write_student(folder: Path) -> Path:
    """A student of tables with three classes, from ``X``."""
    torch.manual_seed(0)
    return export_student(
        Model(),
        folder,
        class_names=("a", "b", "c"),
        inputs_example={"x": X},
        preprocessor={"kind": "table", "columns": list("vwxyz"), "mean": [0.0] * 5, "deviation": [1.0] * 5},
        provenance={},
    )


def write_reader(checkpoint: Path, folder: Path) -> Path:
    """A student of texts with three classes, with its tokenizer."""
    tokenizer, model = tokenizer_of(f"hf:{checkpoint}"), model_from_spec(f"hf:{checkpoint}", n_classes=3)
    inputs, _ = encode(tokenizer, {"text": texts(["the cat", "a dog"])}, 8)
    return export_student(
        model,
        folder,
        class_names="abc",
        inputs_example=inputs,
        preprocessor={"kind": "text", "columns": ["text"], "max_length": 8},
        provenance={},
        processor=tokenizer,
    )
