"""limbeck bank build --kind answers: prompts to a bank of answers, from a folder, a hub name and a server."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny_language
import torch
from raw_files import write_csv
from teachers.chat_server import KEY, Server, said

from limbeck import cli
from limbeck.banks import Bank
from limbeck.data import make_task
from limbeck.students.language.fresh import fresh_causal_lm
from limbeck.teachers import AnswerTeacher, WritingTeacher

PROMPTS = {"a": "ab>", "b": "cba>", "c": "d>", "d": "hello"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny language model."""
    place = tiny_language.folder(tmp_path_factory.mktemp("model") / "tiny")
    torch.manual_seed(7)
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "initializer_range": 0.5}
    fresh_causal_lm(str(place), {"kind": "gpt2", **sizes}, torch.float32).save_pretrained(place)
    return place


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_csv(tmp_path / "p.csv", ("id", "prompt"), list(PROMPTS.items()))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def build(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str, str]:
    code = cli.main(["bank", "build", "--kind", "answers", "--output", "b", *options])
    out, err = capsys.readouterr()
    assert KEY not in out + err
    return code, out, err


def by_plain_transformers(model: Path, prompt: str, most: int) -> tuple[str, bool]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    tokens = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
    net = AutoModelForCausalLM.from_pretrained(model)
    ids = net.generate(**tokens, max_new_tokens=most, do_sample=False)[0, tokens["input_ids"].shape[1] :]
    return tokenizer.decode(ids, skip_special_tokens=True).strip(), tokenizer.eos_token_id in ids.tolist()


def test_a_folder_writes_and_scores(
    model: Path, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    true = {key: by_plain_transformers(model, prompt, 12) for key, prompt in PROMPTS.items()}
    whole = {key: text for key, (text, ended) in true.items() if ended and text}
    assert 0 < len(whole) < 4  # some are cut
    options = (
        "--teacher",
        f"hf:{model}",
        "--data",
        "p.csv",
        "--max-tokens",
        "12",
        "--table",
        "answers.jsonl",
    )
    code, out, err = build(capsys, *options)
    assert code == 0, err
    assert f"{len(whole)} answers; left out {4 - len(whole)}: cut before its end (raise max_tokens)" in out
    bank = Bank.open("b")
    assert bank.signals >= {"hidden_states", "text"}
    assert dict(zip(whole, bank.lookup(list(whole), signals=["text"]).text)) == whole
    rows = [json.loads(line) for line in Path("answers.jsonl").read_text().splitlines()]
    assert rows == [{"id": key, "prompt": PROMPTS[key], "completion": text} for key, text in whole.items()]
    teacher = AnswerTeacher.load(model, max_new_tokens=12)
    columns = {name: [row[name] for row in rows] for name in ("prompt", "completion")}
    for a, b in zip(teacher(columns).hidden_states["answer"].values, states(bank, whole), strict=True):
        torch.testing.assert_close(a, b)


def states(bank: Bank, keys: Any) -> torch.Tensor:
    return bank.lookup(list(keys), signals=["hidden_states"]).hidden_states["answer"].values


def test_answers_that_are_there_are_scored(
    model: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = [("a", "ab>", "ba", "stop"), ("b", "cba>", "ab", "length"), ("c", "d>", "d", "stop")]
    write_csv(place / "q.csv", ("id", "prompt", "completion", "finish_reason"), cells)
    code, out, err = build(capsys, "--teacher", f"hf:{model}", "--data", "q.csv", "--top-k", "3")
    assert code == 0, err
    assert "2 answers; left out 1: cut" in out
    found = Bank.open("b").lookup(["a", "c"])
    assert found.text == ["ba", "d"]
    assert found.tokens.lengths.tolist() == [3, 2]
    assert found.tokens.values.ids.shape == (5, 3)


def test_conversations_as_json_has_them_are_written_to(model: Path) -> None:
    tokenizer = tiny_language.tokenizer(chat=True)
    teacher = AnswerTeacher(AnswerTeacher.load(model).model, tokenizer, chat=True, max_new_tokens=4)
    talks = [["be brief", "ab", "ba", "c"], ["", "d"]]
    listed = WritingTeacher(teacher)({"prompt": talks})
    assert listed.text == WritingTeacher(teacher)({"prompt": [tuple(talk) for talk in talks]}).text


def test_a_hub_name(
    model: Path, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the hub's own cache holds it: nothing is fetched here."""
    repository, commit = place / "hub" / "models--acme--tiny-writer", "0" * 40
    shutil.copytree(model, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(place / "hub"))
    monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(place / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    options = ("--data", "p.csv", "--max-tokens", "12")
    code, _, err = build(capsys, "--teacher", "hf:acme/tiny-writer", *options)
    assert code == 0, err
    found = Bank.open("b")
    code, _, err = build(capsys, "--teacher", f"hf:{model}", *options, "--output", "c")
    assert code == 0, err
    assert found.lookup(found.keys).text == Bank.open("c").lookup(found.keys).text
    code, _, err = build(capsys, "--teacher", "hf:acme/none", *options, "--output", "d")
    assert code == 1
    assert "No transformers model can be loaded from 'acme/none'" in err


def test_a_server_writes(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    def respond(path: str, body: dict[str, Any]) -> tuple[int, Any]:
        asked = body["messages"][-1]["content"]
        return said(asked[::-1], **({"finish_reason": "length"} if asked == "hello" else {}))

    server = Server(respond)
    where = (
        "--teacher",
        "api:tiny-chat",
        "--base-url",
        server.url,
        "--store",
        "s.sqlite",
        "--licence",
        "mine",
    )
    try:
        code, out, err = build(
            capsys, *where, "--data", "p.csv", "--max-tokens", "9", "--table", "new/t.jsonl"
        )
    finally:
        server.close()
    assert code == 0, err
    assert "3 answers; left out 1: cut before its end (raise max_tokens)" in out
    assert {body["max_tokens"] for body in server.bodies} == {9}
    rows = [json.loads(line) for line in Path("new/t.jsonl").read_text().splitlines()]
    assert [row["completion"] for row in rows] == [">ba", ">abc", ">d"]
    task = make_task("prompts", {"path": "new/t.jsonl", "validation_share": 0.3, "test_share": 0.3})
    assert task.info["problem"] == "generation"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--teacher", "hf:x", "--kind", "chat"), "--kind"),
        (("--teacher", "hf:x", "--pooling", "mean"), "--pooling is for"),
        (("--teacher", "api:x", "--chat"), "--chat is for --teacher hf: with --kind answers"),
        (("--teacher", "api:x", "--kind", "text", "--table", "t"), "--table is for --kind answers"),
    ],
)
def test_options_that_do_not_fit(
    options: tuple[str, ...], told: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = build(capsys, "--data", "p.csv", *options)
    assert code == 2
    assert told in err


def test_a_table_without_prompts(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_csv(place / "n.csv", ("id", "promt"), [("a", "b")])
    code, _, err = build(capsys, "--teacher", "hf:x", "--data", "n.csv")
    assert code == 2
    assert "has no column 'prompt'; did you mean 'promt'?" in err
