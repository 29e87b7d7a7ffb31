"""The folder in which bad command lines are tried: good files, and those that are the fault."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import torch
from raw_files import write_csv

from limbeck.banks import Bank
from limbeck.students.encoders import table_encoder
from limbeck.students.export.folder import export_student

RECIPE = """
data:
  name: own
  config:
    student: {source: table.csv, modality: table, input: [height, weight], label: label, key: key}
    teacher: {source: table.csv, modality: table, input: [weight], label: label, key: key}
    link: paired
student: {model: table_encoder}
teacher: {model: table_encoder}
method: {name: kd}
training: {max_steps: 2}
output_dir: new
"""
GOOD_PY = """
import sys
NUMBER = 3
def ask(inputs): return {"features": [[1.0, 2.0]] * len(inputs["text"])}
def fails(inputs): raise KeyError("an answer\\nof two lines")
def leaves(inputs): sys.exit("gone")
def takes_none(): return {}
def gives_none(inputs): return None
def gives_text(inputs): return "text"
def gives_few(inputs): return {"features": [[1.0]]}
def gives_nan(inputs): return {"features": [[float("nan")]] * len(inputs["text"])}
def gives_ragged(inputs): return {"logits": [[1.0] * (1 + i % 3) for i in range(len(inputs["text"]))]}
def recurses(inputs): return recurses(inputs)
"""
NETS_PY = """
from torch import nn
def make(n_classes): return nn.Linear(2, n_classes)
def fails(n_classes): return {}["no"]
def gives_text(n_classes): return "a net"
"""
TEXTS = {
    "good.py": GOOD_PY,
    "nets.py": NETS_PY,
    "raises.py": "raise RuntimeError('it does\\nnot start')",
    "leaves.py": "import sys\nsys.exit(0)",
    "no_python.py": "def ask(:\n",
    "lacks.py": "import a_package_that_is_not_here",
    "nothing.csv": "",
    "header.csv": "id,text,label\n",
    "few.csv": "id\na\n",
    "deep.jsonl": '{"id": "b", "text": "x"}\n' + '{"id": "a", "text": ' + "[" * 5000 + "]" * 5000 + "}\n",
    "r.yaml": RECIPE,
    "tabs.yaml": "data:\n\tname: own\n",
    "list.yaml": "- a\n- b\n",
    "nothing.yaml": "",
    "twice.yaml": "seed: 1\nseed: 2\n",
    "itself.yaml": "data: &a {name: own, config: *a}\n",
    "bomb.yaml": "a0: &a0 [x, x]\n"
    + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 30)),
    "deep.yaml": "data: " + "[" * 5000 + "]" * 5000 + "\n",
    "tagged.yaml": "data: !!python/object/apply:os.system ['true']\n",
    "date.yaml": "seed: 2026-13-45\n",
    "section.yaml": "method: kd\n",
    "numbers.yaml": "1: 2\n",
    "class_path.yaml": "data: {name: own, config: {student: {class_path: raises.Net}}}\n",
    "bad_arms.yaml": "arms: {warm: {method.config.temprature: 2}}\n",
    "good_chain.yaml": "base: r.yaml\nstages: {one: {method.name: supervised}}\n",
    "bad_stage.yaml": "base: r.yaml\nstages: {one: {method.name: kdd}}\n",
    "negative_chain.yaml": "base: r.yaml\nstages: {one: {seed: -1}}\n",
    "later_stage.yaml": "base: r.yaml\nstages: {one: {teacher.model: 'stage:two'}, two: {}}\n",
    "no_stages.yaml": "base: r.yaml\n",
    "named_stage.yaml": "base: r.yaml\nstages: {../one: {}}\n",
    "broken_metrics/metrics.json": "{",
    "broken_arms/arms.json": '{"cells": 3}',
    "full/somebody's.txt": "mine",
}


def bad_files(folder: Path) -> Path:
    """Write them all."""
    (folder / "empty").mkdir()
    for name, text in TEXTS.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    noise = np.random.default_rng(0).bytes(500)
    for name in ("noise.yaml", "noise.npz", "noise.npy", "noise.safetensors", "noise.parquet", "noise.png"):
        (folder / name).write_bytes(b"\xff\xfe" + noise)
    rows = [(f"k{i}", f"text {i}", "ab"[i % 2]) for i in range(12)]
    write_csv(folder / "rows.csv", ("id", "text", "label"), rows)
    table = [(f"k{i}", i % 2 + i / 50, i / 50, "ab"[i % 2]) for i in range(40)]
    write_csv(folder / "table.csv", ("key", "height", "weight", "label"), table)
    features = np.zeros((12, 3), np.float32)
    np.savez(folder / "good.npz", keys=np.arange(12), features=features, labels=np.arange(12) % 2)
    np.savez(folder / "objects.npz", features=np.array([{}] * 12, dtype=object))
    with zipfile.ZipFile(folder / "good.zip", "w") as archive:
        archive.write(folder / "good.npz", "good.npz")
    keys = [row[0] for row in table]
    Bank.from_arrays(folder / "bank", keys=keys, logits=torch.randn(40, 2), class_names=("a", "b"))
    export_student(
        table_encoder(n_classes=2, n_columns=2).eval(),
        folder / "student",
        class_names=("a", "b"),
        inputs_example={"x": torch.randn(2, 2)},
        preprocessor={
            "kind": "table",
            "columns": ["height", "weight"],
            "mean": [0.0, 0.0],
            "deviation": [1.0, 1.0],
        },
        provenance={},
    )
    return folder
