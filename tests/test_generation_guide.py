"""The page on students that write, as printed: two runs, a bank, and plain transformers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import tiny_language
import torch
import yaml

from limbeck.banks import Bank
from limbeck.cli import main
from limbeck.students.language.fresh import fresh_causal_lm

GUIDE = Path(__file__).parents[1] / "docs" / "generation.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.full
def test_the_page_as_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny_language.table(Path("rows.jsonl"), 40)
    tiny_language.folder(Path("words"))
    torch.manual_seed(0)
    fresh_causal_lm("words", {"hidden_size": 32}, torch.float32).save_pretrained("teacher")
    tiny_language.tokenizer().save_pretrained("teacher")
    assert {"prompt", "completion"} < set(json.loads(blocks("json")[0].splitlines()[0]))
    alone, taught, task = (yaml.safe_load(block) for block in blocks("yaml"))
    alone["training"]["max_steps"] = 6
    Path("alone.yaml").write_text(yaml.safe_dump(alone))
    Path("taught.yaml").write_text(yaml.safe_dump({**alone, **taught}))
    Path("new.jsonl").write_text('{"prompt": "abc>"}\n')
    asking, using, scoring = (block.splitlines() for block in blocks("console"))
    for line in using:
        capsys.readouterr()
        assert main(line.split()[1:]) == 0
    said = capsys.readouterr().out.strip().rpartition("  ")[2]
    assert main(["distill", "--config", "taught.yaml"]) == 0
    assert "hidden_states" in Bank.open("runs/taught/bank").signals
    names: dict[str, Any] = {}
    banking, writing = blocks("python")
    exec(compile(banking, str(GUIDE), "exec"), names)
    Path("kept.yaml").write_text(
        yaml.safe_dump({**alone, **taught, "teacher": {"bank": "banks/answers"}, "output_dir": "runs/kept"})
    )
    assert main(["distill", "--config", "kept.yaml"]) == 0
    capsys.readouterr()
    exec(compile(writing, str(GUIDE), "exec"), names)
    assert capsys.readouterr().out.strip().splitlines()[-1].strip() == said
    Path("prompts.csv").write_text("id,prompt,completion\nr0,abc>,cba\nr1,d>,d\n")
    assert main(asking[0].split()[1:]) == 0
    assert [json.loads(line)["completion"] for line in Path("rows.jsonl").read_text().splitlines()] == [
        "cba",
        "d",
    ]
    pytest.importorskip("lm_eval", reason="lm-eval comes with the extra eval")
    task["dataset_kwargs"]["data_files"]["test"] = str(Path("choices.jsonl").absolute())
    Path("choices.jsonl").write_text('{"prompt": "ab>", "right": "ba", "wrong": "ab"}\n')
    Path("tasks").mkdir()
    Path("tasks/mine.yaml").write_text(yaml.safe_dump(task))
    assert main(scoring[1].split()[1:]) == 0
    assert json.loads(Path("scores.json").read_text())["scores"][0]["metric"] == "acc"
