"""The data set rewrite: short answers whose truth, and whose probability, can be computed; nothing to download.

A prompt such as ``R:adcbe>`` names an operation (K keep, R reverse, S sort, W swap neighbours, T rotate left by one)
and 4 to 8 letters of a to j. The answer is what the operation makes of them, each letter small or CAPITAL, drawn: a
capital with probability 0.6 for a, e and i, else 0.25. Every capital flips a shift, under which the letters that follow
are the next ones of the alphabet (a after j). So an early free choice decides what must follow, as it does in language.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from limbeck.data.base import Examples, texts
from limbeck.data.own.text_rows import paired_text_task
from limbeck.data.task import Task
from limbeck.errors import ConfigError, UnknownNameError, nearest
from limbeck.problems.registry import problem as make_problem
from limbeck.seeding import keyed_seed

LETTERS = "abcdefghij"
ANSWERS = ("first", "fresh")
_OFTEN_CAPITAL = "aei"
_P_OFTEN, _P_ELSE = 0.6, 0.25
_SHORTEST, _LONGEST = 4, 8
MAX_NEW_TOKENS = _LONGEST + 2  # with the end, and one more, so that an answer that is too long can be seen

OPERATIONS: dict[str, Callable[[str], str]] = {
    "K": lambda s: s,
    "R": lambda s: s[::-1],
    "S": lambda s: "".join(sorted(s)),
    "W": lambda s: "".join(s[i : i + 2][::-1] for i in range(0, len(s), 2)),
    "T": lambda s: s[1:] + s[:1],
}


class Judgement(NamedTuple):
    """What an answer is worth.

    Args:
        valid: it can be drawn.    log_p: its log-probability in nats, -inf where it is not valid.
        capitals: how many letters are capital.
    """

    valid: bool
    log_p: float
    capitals: int


def drawn_prompt(draw: random.Random) -> str:
    n = draw.randint(_SHORTEST, _LONGEST)
    return f"{draw.choice(list(OPERATIONS))}:{''.join(draw.choice(LETTERS) for _ in range(n))}>"


def drawn_answer(prompt: str, draw: random.Random) -> str:
    """A true answer."""
    said, shift = "", 0
    for letter in _plain_answer(prompt):
        letter = _shifted(letter, shift)
        capital = draw.random() < _p_capital(letter)
        said += letter.upper() if capital else letter
        shift ^= capital
    return said


def judge(prompt: str, text: str) -> Judgement:
    """Whether ``text`` is an answer to the prompt, and how probable a one.

    Example:
        >>> judge("R:abcd>", "dcba").valid, judge("R:abcd>", "Ddcb").valid, judge("R:abcd>", "Dcba").valid
        (True, True, False)
    """
    plain, capitals = _plain_answer(prompt), sum(c.isupper() for c in text)
    if len(text) != len(plain):
        return Judgement(False, -math.inf, capitals)
    log_p, shift = 0.0, 0
    for letter, said in zip(plain, text):
        letter = _shifted(letter, shift)
        if said.lower() != letter:
            return Judgement(False, -math.inf, capitals)
        p = _p_capital(letter)
        log_p += math.log(p if said.isupper() else 1 - p)
        shift ^= said.isupper()
    return Judgement(True, log_p, capitals)


def rewrite(
    *, n_train: int = 2000, n_validation: int = 200, n_test: int = 400, answers: str = "first", seed: int = 0
) -> Task:
    """The task of writing such answers, paired by key with what a teacher says of the same prompts and answers.

    Args:
        n_train, n_validation, n_test: rows, one answer each.
        answers: of the training rows; ``fresh``: a second true answer to the same prompts, the control of methods that
            have a teacher write answers of its own.
        seed: of prompts and answers.

    Returns: columns ``prompt``, ``completion`` and ``ended``. No prompt of a held-out split is one of training.
    Raises: ConfigError for numbers of rows below 1; UnknownNameError.
    """
    sizes = {"train": n_train, "validation": n_validation, "test": n_test}
    if min(sizes.values()) < 1:
        raise ConfigError(f"rewrite needs at least one row a split, got {sizes}.")
    if answers not in ANSWERS:
        raise UnknownNameError(f"rewrite has no answers={answers!r}; {nearest(answers, ANSWERS)}")
    posed = make_problem({"kind": "generation", "max_new_tokens": MAX_NEW_TOKENS}, ("completion",))
    draw, seen, roles = random.Random(keyed_seed("rewrite", seed)), set[str](), {}
    for role, n in sizes.items():
        prompts: list[str] = []
        while len(prompts) < n:
            prompt = drawn_prompt(draw)
            if role == "train" or prompt not in seen:
                prompts.append(prompt)
        seen.update(prompts)
        which = answers if role == "train" else "first"
        draws = random.Random(keyed_seed("rewrite", which, role, seed))
        said = [drawn_answer(prompt, draws) for prompt in prompts]
        keys = tuple(f"{role}/{i}" for i in range(n))
        inputs = {
            "prompt": texts(prompts),
            "completion": texts(said),
            "ended": torch.ones(n, dtype=torch.bool),
        }
        roles[role] = Examples(inputs, keys, posed.targets_of(said, posed.names), posed)
    info = {"origin": "drawn here", "answers": answers}
    task = paired_text_task("rewrite", roles, labels_per_class=None, seed=seed, info=info)
    task.preprocessor["columns"] = ["prompt"]
    return task


def save_tokenizer(folder: str | Path, kind: str = "char", *, vocabulary: int = 96) -> Any:
    """Write a tokenizer for prompts and answers to a folder, and return it.

    Args:
        kind: ``char``, 29 tokens, or ``bpe`` of ``vocabulary`` tokens, learnt of drawn rows.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    special, known = ["<pad>", "<eos>"], [*OPERATIONS, ":", ">", *LETTERS, *LETTERS.upper()]
    if kind == "char":
        words = {token: i for i, token in enumerate([*special, *known])}
        made = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
        made.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    elif kind == "bpe":
        draw = random.Random(keyed_seed("rewrite", "bpe"))
        rows = [(prompt := drawn_prompt(draw)) + drawn_answer(prompt, draw) for _ in range(2000)]
        made = Tokenizer(models.BPE())
        made.pre_tokenizer = pre_tokenizers.Split(">", "merged_with_previous")
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary, special_tokens=special, initial_alphabet=known, show_progress=False
        )
        made.train_from_iterator(rows, trainer)
    else:
        raise UnknownNameError(f"rewrite has no tokenizer {kind!r}; {nearest(kind, ('char', 'bpe'))}")
    made.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", eos_token="<eos>")
    tokenizer.save_pretrained(folder)
    return tokenizer


def _plain_answer(prompt: str) -> str:
    operation, _, letters = prompt.rstrip(">").partition(":")
    return OPERATIONS[operation](letters)


def _shifted(letter: str, shift: int) -> str:
    return LETTERS[(LETTERS.index(letter) + shift) % len(LETTERS)]


def _p_capital(letter: str) -> float:
    return _P_OFTEN if letter in _OFTEN_CAPITAL else _P_ELSE
