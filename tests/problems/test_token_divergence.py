"""Distillation of answers, token by token: from hidden states, from likeliest tokens, and from a live teacher."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_language
import torch
from torch.nn import functional as F

from limbeck.banks import Bank
from limbeck.data import make_task
from limbeck.data.base import texts
from limbeck.errors import ConfigError, DataError
from limbeck.functional.response.divergence import divergence
from limbeck.problems.base import Comparison, Targets
from limbeck.problems.registry import problem
from limbeck.problems.token_scores import head_logits
from limbeck.signals.ragged import Ragged
from limbeck.students import Student
from limbeck.students.language.fresh import fresh_causal_lm
from limbeck.teachers import AnswerTeacher

PROMPTS, ANSWERS = ("abc>", "d>", "hello:", "a"), ("cba", "d", "you", "")
ROWS = torch.tensor([0, 1, 2])  # the last row has no answer
KINDS = ("forward_kl", "reverse_kl", "jsd", "skew", "skew_reverse", "tv", "mse")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_language.folder(tmp_path_factory.mktemp("language"))


def model(home: Path, seed: int, kind: str = "llama", **settings: Any) -> Any:
    torch.manual_seed(seed)
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "initializer_range": 0.3, **settings}
    return fresh_causal_lm(str(home), {"kind": kind, **sizes}, torch.float32).eval()


@pytest.fixture
def asked() -> Any:
    posed = problem({"kind": "generation", "max_new_tokens": 8}, ("completion",))
    return posed.for_tokenizer(tiny_language.tokenizer())


@pytest.fixture
def rows(asked: Any) -> Any:
    known = torch.tensor([bool(answer) for answer in ANSWERS])
    columns = {"prompt": texts(PROMPTS), "completion": texts(ANSWERS)}
    return asked.encoded(columns, Targets(torch.zeros(4, 1), known), 24, range(4))


@pytest.fixture
def student(home: Path, rows: Any) -> Student:
    made = Student(model(home, 0), reading="positions")
    made.probe(rows.inputs)
    return made


def raw(prompts: Any = PROMPTS) -> dict[str, Any]:
    return {"prompt": list(prompts), "completion": list(ANSWERS)}


def said_of(teacher: AnswerTeacher, prompts: Any = PROMPTS) -> Any:
    return teacher(raw(prompts)).rows(ROWS)


def by_hand(ours: Any, theirs: Any, kind: str, temperature: float, prompts: Any = PROMPTS) -> torch.Tensor:
    """Row by row, alone, without padding; the student sees its prompt, the teacher its own."""
    total, tokenizer = torch.zeros(()), tiny_language.tokenizer()
    for prompt, own, answer in zip(PROMPTS, prompts, ANSWERS):
        if not answer:
            continue
        end = len(answer) + 1
        z = [
            net(tokenizer(text + answer + "</s>", return_tensors="pt")["input_ids"]).logits[0, -end - 1 : -1]
            for net, text in ((ours, prompt), (theirs, own))
        ]
        total = total + divergence(*z, kind=kind, temperature=temperature, reduction="sum")  # type: ignore[arg-type]
    return total


@pytest.mark.parametrize("kind", KINDS)
def test_as_by_hand(kind: str, home: Path, asked: Any, rows: Any, student: Student) -> None:
    theirs = model(home, 1, "gpt2")
    teacher = AnswerTeacher(theirs, tiny_language.tokenizer())
    how = Comparison(kind, temperature=2.0)
    found = asked.divergence(student(rows.inputs), said_of(teacher), rows.targets, ROWS, how)
    wanted = by_hand(student.model, theirs, kind, 2.0)
    assert found.item() == pytest.approx(wanted.item(), rel=1e-5)
    weights = list(student.model.parameters())
    for a, b in zip(torch.autograd.grad(found, weights), torch.autograd.grad(wanted, weights)):
        assert torch.allclose(a, b, atol=1e-4, rtol=1e-3)


def test_a_teacher_with_prompts_of_its_own(home: Path, asked: Any, rows: Any, student: Student) -> None:
    theirs, others = model(home, 1), ("the abc!", "x", "", "b")
    others = tuple(other or "?" for other in others)
    teacher = AnswerTeacher(theirs, tiny_language.tokenizer())
    found = asked.divergence(student(rows.inputs), said_of(teacher, others), rows.targets, ROWS, Comparison())
    assert found.item() == pytest.approx(
        by_hand(student.model, theirs, "forward_kl", 1.0, others).item(), rel=1e-5
    )
    same = asked.divergence(student(rows.inputs), said_of(teacher), rows.targets, ROWS, Comparison())
    assert abs(found.item() - same.item()) > 1e-2


def test_a_bank_is_the_live_teacher(
    home: Path, asked: Any, rows: Any, student: Student, tmp_path: Path
) -> None:
    teacher = AnswerTeacher(model(home, 1, vocab_size=64), tiny_language.tokenizer())
    keys = ["a", "b", "c", "d"]
    bank = Bank.build(tmp_path / "bank", teacher, {**raw(), "key": keys}, key="key")
    said = bank.lookup(keys[:3], signals=["hidden_states"])
    live = said_of(teacher)
    losses = [
        asked.divergence(student(rows.inputs), answer, rows.targets, ROWS, Comparison()).item()
        for answer in (said, live)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert bank.manifest.notes["end"] == "</s>"
    assert len(bank.head[0]) == len(tiny_language.tokenizer())  # not the 64 of the padded model


def test_the_likeliest_tokens_with_the_rest(home: Path, asked: Any, rows: Any, student: Student) -> None:
    theirs, n = model(home, 1), len(tiny_language.tokenizer())
    whole = AnswerTeacher(theirs, tiny_language.tokenizer(), top_k=n)
    few = AnswerTeacher(theirs, tiny_language.tokenizer(), top_k=3)
    for kind in ("forward_kl", "reverse_kl", "jsd"):
        how, out = Comparison(kind), student(rows.inputs)
        exact = by_hand(student.model, theirs, kind, 1.0).item()
        everything = asked.divergence(out, said_of(whole), rows.targets, ROWS, how)
        assert everything.item() == pytest.approx(exact, rel=1e-4)
        coarse = asked.divergence(student(rows.inputs), said_of(few), rows.targets, ROWS, how)
        assert 0 < coarse.item() < exact  # fewer outcomes cannot be further apart
    bad = Comparison("reverse_kl", rest="renormalised")
    with pytest.raises(ConfigError, match="without the rest has no minimum worth having"):
        asked.divergence(student(rows.inputs), said_of(few), rows.targets, ROWS, bad)
    fine = Comparison(rest="renormalised")
    assert asked.divergence(student(rows.inputs), said_of(few), rows.targets, ROWS, fine).item() > 0
    with pytest.raises(ConfigError, match="need its hidden states"):
        asked.divergence(student(rows.inputs), said_of(few), rows.targets, ROWS, Comparison("mse"))


def test_a_cut_answer_is_taught_as_far_as_it_goes(home: Path, rows: Any, student: Student) -> None:
    theirs = model(home, 1)
    short = problem({"kind": "generation", "max_new_tokens": 2}, ("completion",))
    short = short.for_tokenizer(tiny_language.tokenizer())
    known = torch.tensor([True, True, True, False])
    columns = {"prompt": texts(PROMPTS), "completion": texts(ANSWERS)}
    cut = short.encoded(columns, Targets(torch.zeros(4, 1), known), 24, range(4))
    for top_k in (None, 3):
        teacher = AnswerTeacher(theirs, tiny_language.tokenizer(), top_k=top_k)
        long = short.divergence(student(cut.inputs), said_of(teacher), cut.targets, ROWS, Comparison())
        same = AnswerTeacher(theirs, tiny_language.tokenizer(), top_k=top_k, max_new_tokens=2)
        assert long.item() == pytest.approx(
            short.divergence(student(cut.inputs), said_of(same), cut.targets, ROWS, Comparison()).item(),
            rel=1e-6,
        )
    teacher = AnswerTeacher(theirs, tiny_language.tokenizer(), max_new_tokens=2)
    whole = problem({"kind": "generation", "max_new_tokens": 8}, ("completion",))
    whole = whole.for_tokenizer(tiny_language.tokenizer())
    with pytest.raises(DataError, match="speaks of 2 tokens of an answer of which the student learns 4"):
        whole.divergence(student(rows.inputs), said_of(teacher), rows.targets, ROWS, Comparison())


def test_another_vocabulary_is_refused(asked: Any) -> None:
    other = tiny_language.tokenizer()
    other.add_tokens(["zebra"])
    facts = AnswerTeacher(torch.nn.Linear(1, 1), other).notes
    with pytest.raises(ConfigError, match=r"another vocabulary .* \(uld\), or let the teacher write"):
        asked.check_teacher("teacher", facts)
    own = AnswerTeacher(torch.nn.Linear(1, 1), tiny_language.tokenizer()).notes
    assert asked.check_teacher("teacher", own) == ()
    (told,) = asked.check_teacher("teacher", {**own, "end": "<turn>"})
    assert "ends its answers with '<turn>'" in told


def test_a_shuffled_teacher_scores_the_same_answers_under_other_prompts(tmp_path: Path) -> None:
    from limbeck.teachers.live import Samples

    task = make_task("prompts", {"path": str(tiny_language.table(tmp_path / "rows.jsonl"))})
    link = task.teacher.splits["link"]
    order = torch.arange(len(link)).roll(1).numpy()
    moved = Samples(link, order, task.problem.kept_columns).lookup(list(link.keys[:3])).inputs
    rows = link.rows(range(3))
    assert list(moved["completion"]) == list(rows["completion"])
    assert list(moved["prompt"]) == [link.rows([i - 1])["prompt"][0] for i in range(3)]


def test_rows_are_ragged(home: Path) -> None:
    said = AnswerTeacher(model(home, 1), tiny_language.tokenizer())(raw())
    states = said.hidden_states["answer"]
    assert isinstance(states, Ragged)
    assert states.lengths.tolist() == [4, 2, 4, 0]
    assert replace(said, counts={}).signals == {"hidden_states", "head"}
    made = F.linear(states.values, *said.head)
    assert made.shape == (10, len(tiny_language.tokenizer()))


def test_conversations_are_asked_into_a_bank(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    turns = [
        {"role": role, "content": text}
        for role, text in (("user", "ab"), ("assistant", "c"), ("user", "d"), ("assistant", "bad"))
    ]
    path.write_text("\n".join(json.dumps({"messages": turns}) for _ in range(12)))
    link = make_task("prompts", {"path": str(path)}).teacher.splits["link"]
    teacher = AnswerTeacher(model(home, 1), tiny_language.tokenizer(chat=True), chat=True)
    bank = Bank.build(tmp_path / "bank", teacher, link)
    states = bank.lookup(list(link.keys)).hidden_states["answer"]
    assert set(states.lengths.tolist()) == {4}
    assert bank.manifest.notes["end"] == "<turn>"


def test_logits_of_half_precision_are_not_rounded() -> None:
    states, weight = torch.randn(4, 16).bfloat16() * 8, torch.randn(32, 16).bfloat16()
    exact = states.double() @ weight.double().T
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = head_logits(states, weight, None)
    assert float(exact.std()) > 20
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-4)
