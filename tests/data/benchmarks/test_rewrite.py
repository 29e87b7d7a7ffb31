"""The data set rewrite: its judge is exact, and its tokenizers give texts back."""

from __future__ import annotations

import itertools
import math
import random
from pathlib import Path

import pytest

from limbeck.data import make_task
from limbeck.data.benchmarks.rewrite import (
    LETTERS,
    drawn_answer,
    drawn_prompt,
    judge,
    rewrite,
    save_tokenizer,
)
from limbeck.errors import ConfigError, UnknownNameError


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [("K:adcbe>", "adcbe"), ("R:adcbe>", "ebcda"), ("S:adcbe>", "abcde"), ("W:adcbe>", "dabce"), ("T:adcbe>", "dcbea"),
     ("K:abij>", "Acja"), ("K:abij>", "ACij"), ("K:jjjj>", "JAjJ")],
)  # fmt: skip
def test_answers_that_are_true(prompt: str, answer: str) -> None:
    assert judge(prompt, answer).valid


@pytest.mark.parametrize("answer", ["Abij", "abi", "abija", "abix", "", "aBij"])
def test_answers_that_are_not(answer: str) -> None:
    assert judge("K:abij>", answer)[:2] == (False, -math.inf)


def test_probabilities_of_all_answers_add_up_to_1() -> None:
    said = [
        judge("R:abcj>", "".join(letters))
        for letters in itertools.product(LETTERS[:5] + "ijABCDEIJ", repeat=4)
    ]
    valid = [found for found in said if found.valid]
    assert len(valid) == 2**4
    assert sum(math.exp(found.log_p) for found in valid) == pytest.approx(1)


def test_drawn_answers_are_true_and_have_the_entropy_of_their_letters() -> None:
    draw = random.Random(0)
    prompts = [drawn_prompt(draw) for _ in range(3000)]
    found = [judge(prompt, drawn_answer(prompt, draw)) for prompt in prompts]
    letters = sum(len(prompt) - 3 for prompt in prompts)
    assert all(one.valid for one in found)
    assert -sum(one.log_p for one in found) / letters == pytest.approx(0.597, abs=0.02)
    assert sum(one.capitals for one in found) / letters == pytest.approx(0.36, abs=0.02)


def test_the_task_and_its_second_answers() -> None:
    sizes = {"n_train": 40, "n_validation": 5, "n_test": 9}
    first, fresh = (make_task("rewrite", {**sizes, "answers": answers}) for answers in ("first", "fresh"))
    rows, others = first.splits["train"].all_rows(), fresh.splits["train"].all_rows()
    assert rows["prompt"].tolist() == others["prompt"].tolist()
    assert rows["completion"].tolist() != others["completion"].tolist()
    assert all(judge(*pair).valid for pair in zip(others["prompt"], others["completion"]))
    with first.splits.final_evaluation():
        test = first.splits["test"]
    assert len(test) == 9
    assert not set(test.all_rows()["prompt"]) & set(rows["prompt"])
    assert first.teacher.splits["link"].keys == first.splits["train"].keys
    with pytest.raises(ConfigError, match="at least one row"):
        rewrite(n_test=0)
    with pytest.raises(UnknownNameError, match="did you mean 'fresh'"):
        rewrite(answers="fresch")


@pytest.mark.parametrize(("kind", "n"), [("char", 29), ("bpe", 96)])
def test_tokenizers(tmp_path: Path, kind: str, n: int) -> None:
    tokenizer = save_tokenizer(tmp_path, kind)
    assert len(tokenizer) == n
    for text in ("R:adcbe>", "EbcDDa"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
