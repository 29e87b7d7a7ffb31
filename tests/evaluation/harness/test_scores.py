"""Tasks of lm-evaluation-harness on an exported student, against its logits by hand; files alone, no network."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny_language
import torch

from limbeck.cli import main
from limbeck.errors import ConfigError, UnknownNameError
from limbeck.evaluation.harness import scores
from limbeck.evaluation.harness.model import harness_model
from limbeck.evaluation.harness.scores import harness_scores
from limbeck.problems.registry import problem
from limbeck.students.export.folder import export_student, load_exported
from limbeck.students.language.fresh import fresh_causal_lm

pytest.importorskip("lm_eval", reason="lm-eval comes with the extra eval")

from lm_eval.api.instance import Instance

ROWS = [
    {"prompt": f"{word}>", "answer": word[::-1], "wrong": word[::-1] + "d"}
    for word in ("ab", "cba", "d", "bad", "cab", "dd")
]
CHOICE = """
task: backwards_choice
dataset_path: json
dataset_kwargs: {{data_files: {{test: {path}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{prompt}}}}"
doc_to_choice: "{{{{[answer, wrong]}}}}"
doc_to_target: 0
target_delimiter: ""
metric_list: [{{metric: acc}}]
"""
WRITTEN = """
task: backwards_written
dataset_path: json
dataset_kwargs: {{data_files: {{test: {path}}}}}
test_split: test
output_type: generate_until
generation_kwargs: {{until: ["!"], do_sample: false}}
doc_to_text: "{{{{prompt}}}}"
doc_to_target: "{{{{said}}}}"
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
"""


def shipped(home: Path, *, chat: bool = False) -> tuple[Path, Any]:
    """The run of a student of 64 logits for a tokenizer of fewer tokens, and its network."""
    tokenizer = tiny_language.tokenizer(chat=chat)
    tokenizer.save_pretrained(home / "words")
    torch.manual_seed(3)
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "initializer_range": 0.5, "vocab_size": 64}
    net = fresh_causal_lm(str(home / "words"), {"kind": "gpt2", **sizes}, torch.float32).eval()
    told = {"kind": "generation", "max_new_tokens": 5, "chat": chat}
    ids = tokenizer(["abc>"], return_tensors="pt")["input_ids"]
    example = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "position_ids": torch.arange(4)[None],
    }
    export_student(
        net,
        home / "run" / "student",
        problem=problem(told, ("completion",)).for_tokenizer(tokenizer),
        inputs_example=example,
        preprocessor={"kind": "text", "columns": ["prompt"], "max_length": 24},
        provenance={},
        processor=tokenizer,
    )
    return home / "run", net


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    return shipped(tmp_path_factory.mktemp("student"))


@pytest.fixture
def tasks(tmp_path: Path, made: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with both tasks, whose written answers are the student's own to every second prompt."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    folder = tmp_path / "tasks"
    folder.mkdir()
    rows = [row | {"said": greedy(made[1], row["prompt"]) + "?" * (i % 2)} for i, row in enumerate(ROWS)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for name, text in (("choice", CHOICE), ("written", WRITTEN)):
        (folder / f"{name}.yaml").write_text(text.format(path=tmp_path / "rows.jsonl"))
    return folder


def cut_logits(net: Any, text: str) -> torch.Tensor:
    tokenizer = tiny_language.tokenizer()
    return net(tokenizer(text, return_tensors="pt")["input_ids"]).logits[0, :, : len(tokenizer)]


def likelihood(net: Any, prompt: str, answer: str) -> float:
    ids = torch.tensor(tiny_language.tokenizer()(answer)["input_ids"])
    logits = cut_logits(net, prompt + answer)[len(prompt) - 1 : -1]
    return float(logits.log_softmax(-1).gather(1, ids[:, None]).sum())


def greedy(net: Any, prompt: str) -> str:
    """Five tokens as lm-eval shows them: without special ones, up to the stop of the task."""
    tokenizer = tiny_language.tokenizer()
    ids: list[int] = list(tokenizer(prompt)["input_ids"])
    n = len(ids)
    while len(ids) < n + 5 and ids[-1] != tokenizer.eos_token_id:
        ids.append(int(net(torch.tensor([ids])).logits[0, -1, : len(tokenizer)].argmax()))
    return tokenizer.decode(ids[n:], skip_special_tokens=True).split("!")[0]


def test_scores_are_those_by_hand(
    made: tuple[Path, Any], tasks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "new" / "scores.json"
    asked = ["--tasks", "backwards_choice,backwards_written", "--include-path", str(tasks)]
    assert main(["eval", str(made[0]), *asked, "--output", str(output), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads(output.read_text())
    scores = {(score["task"], score["metric"]): score for score in told["scores"]}
    right = [
        likelihood(made[1], row["prompt"], row["answer"]) > likelihood(made[1], row["prompt"], row["wrong"])
        for row in ROWS
    ]
    assert scores["backwards_choice", "acc"]["value"] == pytest.approx(sum(right) / 6)
    assert scores["backwards_written", "exact_match"]["value"] == pytest.approx(0.5)
    assert {score["rows"] for score in told["scores"]} == {6}


def test_likelihoods_are_those_of_the_cut_vocabulary(made: tuple[Path, Any]) -> None:
    asked = [(row["prompt"], row[name]) for row in ROWS for name in ("answer", "wrong")]
    student = load_exported(made[0] / "student")
    model = harness_model(student, tiny_language.tokenizer(), "cpu", 5, told_to=sys.stderr)
    found = model.loglikelihood([Instance("loglikelihood", {}, pair, 0) for pair in asked])
    wanted = [likelihood(made[1], *pair) for pair in asked]
    assert [value for value, _ in found] == pytest.approx(wanted, rel=1e-5)


def test_a_student_of_conversations_is_asked_in_its_template(
    tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def watched(*args: Any, **options: Any) -> Any:
        model = harness_model(*args, **options)
        asked = model.loglikelihood
        model.loglikelihood = lambda requests: seen.extend(r.args[0] for r in requests) or asked(requests)
        return model

    monkeypatch.setattr(scores, "harness_model", watched)
    run, _ = shipped(tmp_path / "chat", chat=True)
    harness_scores(run / "student", ["backwards_choice"], include_path=tasks, limit=1)
    assert seen == ["<s>u:ab><turn>a:"] * 2


def test_a_table_of_the_first_rows(
    made: tuple[Path, Any], tasks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--tasks", "backwards_written", "--include-path", str(tasks), "--limit", "3"]
    assert main(["eval", str(made[0]), *asked]) == 0
    said = capsys.readouterr()
    assert " ".join(said.out.split()) == (
        "task metric score ± s.e. rows shots backwards_written exact_match 0.6667 0.3333 3 of 6 0"
    )
    assert said.err == ""


def broken(tasks: Path, old: str, new: str) -> None:
    path = tasks / "choice.yaml"
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("dataset_path: json", "dataset_path: someone/rows", "hub, which cannot be reached"),
        ("dataset_kwargs: {", "dataset_kwargs: {trust_remote_code: true, ", "asks for trust_remote_code"),
        ("metric: acc", "metric: bleurt", "is a program that would be fetched"),
        ("rows.jsonl", "none.jsonl", "which is not there"),
        ("output_type", "unsafe_code: true\noutput_type", "runs the code that the student writes"),
        ("output_type", "doc_to_image: [a]\noutput_type", "reads texts alone"),
        ("doc_to_target: 0", "doc_to_target: 7", "lm-eval"),
        ("output_type: multiple_choice", "output_type: none", "lm-eval cannot read the task"),
    ],
)
def test_what_a_task_may_not_be(
    old: str, new: str, told: str, made: tuple[Path, Any], tasks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken(tasks, old, new)
    asked = ["eval", str(made[0]), "--tasks", "backwards_choice", "--include-path", str(tasks)]
    assert main(asked) in (1, 2)
    said = capsys.readouterr().err
    assert told in said
    assert said.startswith("limbeck: ")
    assert said.count("\n") == 1


@pytest.mark.full  # lm-eval's list of all tasks takes seconds
def test_a_task_that_is_none(made: tuple[Path, Any], tasks: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"no task 'backwards', nor .* did you mean 'backwards_"):
        harness_scores(made[0] / "student", ["backwards"], include_path=tasks)


def test_a_student_that_does_not_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export_student(
        torch.nn.Linear(2, 2),
        tmp_path / "student",
        class_names=("a", "b"),
        inputs_example={"input": torch.ones(1, 2)},
        preprocessor={},
        provenance={},
    )
    assert main(["eval", str(tmp_path), "--tasks", "arc_easy"]) == 2
    assert "answers a classification and does not write" in capsys.readouterr().err


def test_a_device_that_is_not_there(made: tuple[Path, Any]) -> None:
    with pytest.raises(ConfigError, match="There is no device 'gpu'"):
        harness_scores(made[0] / "student", ["arc_easy"], device="gpu")


def test_without_the_extra(made: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'limbeck\[eval\]'"):
        harness_scores(made[0] / "student", ["arc_easy"])
