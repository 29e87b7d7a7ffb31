"""Instructions in the forms of LLM-Adapters and of Dolly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from limbeck.data import make_task
from limbeck.errors import DataError

COMMONSENSE = (
    "Please answer the following question with true or false: is it {}?\n\nAnswer format: true/false"
)


def listed(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text(json.dumps(rows))
    return path


def commonsense(n: int) -> list[dict[str, Any]]:
    said = ("true", "false")
    return [
        {"instruction": COMMONSENSE.format(i), "input": "", "output": f"the correct answer is {said[i % 2]}",
         "answer": said[i % 2]}
        for i in range(n)
    ]  # fmt: skip


SHARES = {"validation_share": 0.2, "test_share": 0.2}


def test_commonsense_has_options(tmp_path: Path) -> None:
    path = listed(tmp_path / "commonsense.json", commonsense(20))
    task = make_task("instructions", {"path": str(path), "problem": {"also": ["option_accuracy"]}, **SHARES})
    rows = task.splits["train"].all_rows()
    assert rows["prompt"][0].endswith("Answer format: true/false\n\n### Response:\n")
    assert rows["options"][0] == ("the correct answer is true", "the correct answer is false")
    assert all(answer in options for answer, options in zip(rows["completion"], rows["options"]))
    assert len(task.splits["train"]) == 12
    assert task.info["form"] == "llm_adapters"


def test_math_has_none(tmp_path: Path) -> None:
    rows = [
        {"instruction": f"{i} and 1?", "input": "", "output": f"It is {i + 1}.", "answer": str(i + 1)}
        for i in range(20)
    ]
    task = make_task("instructions", {"path": str(listed(tmp_path / "math_10k.json", rows)), **SHARES})
    assert "options" not in task.splits["train"].all_rows()


@pytest.mark.parametrize("chat", [False, True])
def test_dolly_puts_its_context(tmp_path: Path, chat: bool) -> None:
    rows = [
        {
            "instruction": f"Who is {i}?",
            "context": f"{i} is a number.",
            "response": "A number.",
            "category": "qa",
        }
        for i in range(20)
    ]
    path = tmp_path / "dolly.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    task = make_task("instructions", {"path": str(path), "problem": {"chat": chat}, **SHARES})
    prompts = task.splits["train"].all_rows()["prompt"]
    assert all(("### Input:\n" in prompt) != chat for prompt in prompts)
    assert prompts[0] == "Who is 0?\n\n0 is a number." or not chat or task.splits["train"].keys[0] != 0
    assert task.problem.chat is chat


def test_rows_that_say_nothing(tmp_path: Path) -> None:
    rows = commonsense(20)
    rows[3]["output"] = " "
    path = listed(tmp_path / "a.json", rows)
    with pytest.raises(DataError, match=r"row 3 of a.json has an empty output"):
        make_task("instructions", {"path": str(path)})
    task = make_task("instructions", {"path": str(path), "on_error": "skip", **SHARES})
    assert list(task.info["skipped"]) == ["row 3 of a.json"]
    with pytest.raises(DataError, match="instruction and output or instruction and response are needed"):
        make_task("instructions", {"path": str(listed(tmp_path / "b.json", [{"text": "a"}]))})
