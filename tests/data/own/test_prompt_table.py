"""Prompts and answers of one's own, from each kind of file and column."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_language

from limbeck.data import make_task
from limbeck.data.own.prompt_table import prompt_table
from limbeck.errors import ConfigError, DataError, UnknownNameError


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def whole(task: Any) -> dict[Any, tuple[Any, Any]]:
    """Key to prompt and answer, of all splits."""
    with task.splits.final_evaluation() as final:
        parts = [
            task.splits["train"],
            task.splits["validation"],
            *(final[role] for role in final.final_roles),
        ]
    found = {}
    for rows in parts:
        columns = rows.all_rows()
        found |= dict(zip(rows.keys, zip(columns["prompt"], columns["completion"]), strict=True))
    return found


def test_rows_splits_and_link(tmp_path: Path) -> None:
    path = tiny_language.table(tmp_path / "rows.jsonl", 40)
    task = make_task("prompts", {"path": str(path), "problem": {"also": ["exact_match"]}}, seed=1)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert whole(task) == {row["id"]: (row["prompt"], row["completion"]) for row in rows}
    assert task.problem.kind == "generation"
    assert [metric.name for metric in task.problem.metrics] == ["nll", "exact_match"]
    assert (len(task.splits["validation"]), len(task.splits["train"])) == (6, 26)
    link = task.teacher.splits["link"]
    assert set(link.keys) == set(task.splits["train"].keys)
    assert set(link.columns) == {"prompt", "completion", "ended"}


def test_a_csv_with_columns_of_other_names(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    lines = [f'q{i},"a, {i}",{role}' for i, role in enumerate(["train"] * 3 + ["val", "test"])]
    path.write_text("\n".join(["question,answer,split", *lines]))
    task = prompt_table(path, prompt="question", completion="answer")
    assert whole(task)[1] == ("q1", "a, 1")
    assert len(task.splits["train"]) == 3
    assert task.preprocessor == {"kind": "text", "columns": ["prompt"], "names": {"prompt": "question"}}


@pytest.mark.parametrize("cut_answers", ["leave_out", "keep"])
def test_answers_that_ran_out_of_tokens(tmp_path: Path, cut_answers: str) -> None:
    path = tiny_language.table(
        tmp_path / "rows.jsonl", finish_reason=lambda i: "length" if i % 10 == 0 else "stop"
    )
    if cut_answers == "keep":
        task = prompt_table(path, cut_answers="keep")
        ended = dict(zip(task.splits["train"].keys, task.splits["train"].all_rows()["ended"].tolist()))
        assert {key for key, end in ended.items() if not end} <= {"r0", "r10", "r20", "r30"}
        assert not all(ended.values())
        return
    with pytest.warns(
        UserWarning, match=r"4 answers of .* were cut \(finish_reason='length'\) and are left out"
    ):
        task = prompt_table(path)
    assert task.info["cut_answers"] == {"leave_out": 4}
    assert set(whole(task)).isdisjoint({"r0", "r10", "r20", "r30"})
    assert len(whole(task)) == 36


def test_conversations(tmp_path: Path) -> None:
    def said(i: int) -> list[dict[str, str]]:
        first = [{"role": "system", "content": "be kind"}] if i % 2 else []
        more = [{"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}] if i % 3 == 0 else []
        return [
            *first,
            {"role": "user", "content": f"a{i}"},
            *more,
            {"role": "assistant", "content": f"d{i}"},
        ]

    path = written(tmp_path / "talk.jsonl", [{"messages": said(i)} for i in range(20)])
    task = prompt_table(path)
    rows = whole(task)
    assert rows[2] == ("a2", "d2")
    assert rows[5] == (("be kind", "a5"), "d5")
    assert rows[6] == (("", "a6", "b", "c"), "d6")
    assert task.problem.chat
    wrong = written(tmp_path / "wrong.jsonl", [{"messages": [{"role": "assistant", "content": "d"}]}])
    with pytest.raises(DataError, match="not a user's and an assistant's in turn"):
        prompt_table(wrong)


def test_options_and_what_the_teacher_is_asked(tmp_path: Path) -> None:
    path = tiny_language.table(
        tmp_path / "rows.jsonl", teacher_prompt=lambda i: f"picture {i}", options=lambda i: ["x", "y"]
    )
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    written(path, [row | {"options": ["x", row["completion"]]} for row in rows])
    task = prompt_table(path)
    assert "teacher_prompt" not in task.splits["train"].columns
    link = task.teacher.splits["link"]
    assert set(link.columns) == {"prompt", "completion", "ended"}
    assert all(prompt == f"picture {key[1:]}" for key, prompt in zip(link.keys, link.all_rows()["prompt"]))
    assert all("x" in options for options in task.splits["train"].all_rows()["options"])
    written(path, [row | {"options": ["x", "y"]} for row in rows])
    with pytest.raises(DataError, match="none of its options"):
        prompt_table(path)


def test_unanswered_prompts_train_unlabelled(tmp_path: Path) -> None:
    rows = [{"prompt": f"p{i}", "completion": "" if i < 5 else "a"} for i in range(25)]
    task = prompt_table(written(tmp_path / "rows.jsonl", rows))
    known = dict(zip(task.splits["train"].keys, task.splits["train"].targets.known.tolist()))
    assert [key for key, is_known in known.items() if not is_known] == [0, 1, 2, 3, 4]
    few = prompt_table(tmp_path / "rows.jsonl", n_answers=3)
    assert int(few.splits["train"].targets.known.sum()) == 3


def test_second_answers_are_for_training_alone(tmp_path: Path) -> None:
    path = tiny_language.table(tmp_path / "rows.jsonl", second=lambda i: f"s{i}" if i % 2 else "")
    plain, fresh = whole(prompt_table(path)), prompt_table(path, fresh="second")
    train = set(fresh.splits["train"].keys)
    for key, (_, answer) in whole(fresh).items():
        is_second = key in train and int(key[1:]) % 2 == 1
        assert answer == (f"s{key[1:]}" if is_second else plain[key][1])
    assert list(fresh.teacher.splits["link"].all_rows()["completion"]) == list(
        fresh.splits["train"].all_rows()["completion"]
    )
    with pytest.raises(UnknownNameError, match="no column 'third' for fresh"):
        prompt_table(path, fresh="third")


def test_what_is_wrong_is_told(tmp_path: Path) -> None:
    path = tiny_language.table(tmp_path / "rows.jsonl")
    with pytest.raises(UnknownNameError, match="no column 'question' for prompt"):
        prompt_table(path, prompt="question")
    with pytest.raises(UnknownNameError, match="cut_answers='drop' is not known"):
        prompt_table(path, cut_answers="drop")
    with pytest.raises(ConfigError, match="has no setting 'max_tokens'"):
        prompt_table(path, problem={"max_tokens": 3})
    empty = written(
        tmp_path / "empty.jsonl", [{"prompt": " ", "completion": "a"}, {"prompt": "b", "completion": "c"}]
    )
    with pytest.raises(DataError, match=r"line 1 of empty\.jsonl has an empty prompt"):
        prompt_table(empty)
