"""A language model as a teacher of answers: how likely it holds each token of given answers under prompts of its own.

Axis legend: m rows, T answer tokens of a row, D width of the hidden states, V tokens of the vocabulary, k kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.errors import ConfigError, UnknownNameError, nearest
from limbeck.problems.generation import model_inputs
from limbeck.problems.prompts import Wording, prompt_rows
from limbeck.problems.token_scores import logits_at, plain_head
from limbeck.signals.classes import UNLABELLED
from limbeck.signals.fingerprint import module_fingerprint, settings_fingerprint
from limbeck.signals.output import AccessLevel, TeacherOutput
from limbeck.signals.ragged import Ragged
from limbeck.signals.top_k import TopK
from limbeck.students.foreign import PLAIN_WEIGHTS, loading
from limbeck.students.pretrained import quietly, shipped_model
from limbeck.students.student import Student
from limbeck.students.text import load_tokenizer
from limbeck.teachers.base import device_of
from limbeck.teachers.hf.loading import load_config
from limbeck.teachers.hf.settings import Loading

LAYER = "answer"  # the hidden states at the positions that predict the answer's tokens
SETTINGS = ("chat", "system", "top_k", "max_length", "max_new_tokens", "licence")
LONGEST = 4096  # tokens of prompt and answer, where tokenizer and caller say nothing


class AnswerTeacher:
    """A causal language model, in evaluation mode and without gradient, asked about columns ``prompt`` and
    ``completion`` (and ``ended [m]``, whether each answer came to its end).

    It gives, at every position that predicts a token of the answer, the hidden state that enters its head, and the head
    itself, from which its whole distribution is made again exactly; or, with ``top_k``, its likeliest tokens and the
    mass of all others. Rows have the lengths of their answers.

    Args:
        model: called with ``input_ids``, ``attention_mask`` and ``position_ids``.    tokenizer: its own.
        chat, system: how it is asked, as in the problem ``generation``; they need not be the student's.
        top_k: tokens that are kept; None = the hidden states.
        max_length: of prompt and answer together.    max_new_tokens: of an answer; default half of that.
        licence: what its owner allows; kept with a bank.

    Raises: ConfigError, when it is called, for a model whose logits are more than a linear layer's of its states (with
        a scale and a cap that its config names, as Cohere, Granite and Gemma have them), unless ``top_k`` is given.
    """

    class_names = None

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        *,
        chat: bool = False,
        system: str = "",
        top_k: int | None = None,
        max_length: int | None = None,
        max_new_tokens: int | None = None,
        licence: str = "",
    ) -> None:
        self.model, self.licence, self.top_k = model, licence, top_k
        self.access: AccessLevel = "weights" if top_k is None else "logits"
        self.wording = Wording(tokenizer, chat, system)
        self.max_length = max_length or min(int(tokenizer.model_max_length), LONGEST)
        self.max_new_tokens = max_new_tokens or self.max_length // 2
        self.vocabulary = len(tokenizer)
        self._read, self._probed = Student(model, reading="positions"), False

    @classmethod
    def load(cls, source: str | Path, **settings: Any) -> AnswerTeacher:
        """The language model and tokenizer in a folder, or of a hub id; no code of it is run.

        Raises: DataError where they are not; UnknownNameError for a setting that does not exist.
        """
        for name in settings:
            if name not in SETTINGS:
                raise UnknownNameError(
                    f"A teacher of answers has no setting {name!r}; {nearest(name, SETTINGS)}"
                )
        return cls(_language_model(str(source)), load_tokenizer(source), **settings)

    @property
    def head(self) -> tuple[Tensor, Tensor | None] | None:
        """Weight and bias of its head, cut to the tokenizer's vocabulary; known after the first call."""
        if not self._probed or self.top_k is not None:
            return None
        weight, bias = self._read.head_layer
        n = self.vocabulary
        return weight[:n].detach().clone(), None if bias is None else bias[:n].detach().clone()

    @property
    def notes(self) -> dict[str, Any]:
        """What a student's problem compares with its own (see ``Problem.check_teacher``)."""
        return self.wording.facts

    @torch.no_grad()
    def __call__(self, inputs: Mapping[str, Any]) -> TeacherOutput:
        """What it holds likely at each token of ``m`` answers; an empty answer is a row without any."""
        for name in ("prompt", "completion"):
            if name not in inputs:
                raise UnknownNameError(f"A teacher of answers reads {name!r}; {nearest(name, inputs)}")
        self.model.eval()
        given, labels, cut = self._encoded(inputs)
        if not self._probed:
            self._read.probe(self._one(inputs, given))
            self._probed = True
        where = torch.cat(
            [labels[:, 1:] != UNLABELLED, torch.zeros_like(labels[:, :1], dtype=torch.bool)], dim=1
        )
        said = self._said(self._read(given), where)
        return replace(said, counts={"truncated": cut} if cut else {})

    def _one(self, inputs: Mapping[str, Any], given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the model is given of the first row."""
        return {name: value[:1] for name, value in given.items()}

    def _encoded(self, inputs: Mapping[str, Any]) -> tuple[dict[str, Tensor], Tensor, int]:
        completions: Sequence[str] = list(inputs["completion"])
        ended = inputs.get("ended", [True] * len(completions))
        rows = prompt_rows(
            self.wording,
            list(inputs["prompt"]),
            [text or None for text in completions],
            [bool(end) for end in ended],
            max_length=self.max_length,
            max_answer=self.max_new_tokens,
            keys=range(len(completions)),
        )
        device = device_of(self.model)
        given = {name: value.to(device) for name, value in model_inputs(rows.ids, rows.mask).items()}
        return given, rows.labels.to(device), rows.cut_prompts + rows.cut_answers

    def _said(self, out: Any, where: Tensor) -> TeacherOutput:
        lengths = where.sum(-1)
        if self.top_k is not None:
            kept = min(self.top_k, self.vocabulary)
            said = TopK.of(logits_at(out, where, self.vocabulary), kept)
            return TeacherOutput(tokens=Ragged(said, lengths))
        plain = plain_head(out, self.vocabulary)
        if plain is None:
            raise ConfigError(
                f"The logits of {type(self.model).__name__} are more than a linear layer's of its states, with a scale "
                "and a cap that its config names, so that these do not keep them; set top_k."
            )
        entered, _, form = plain
        states: dict[str, Any] = {LAYER: Ragged(entered[where], lengths)}
        return TeacherOutput(hidden_states=states, head=self.head, form=None if form.is_plain else form)

    def fingerprint(self) -> dict[str, str]:
        """Parts: ``architecture``, ``weights``, ``reading``, ``preprocessing``."""
        wording = [self.wording.chat, self.wording.system, self.wording.tokenizer.chat_template]
        return {
            "architecture": settings_fingerprint(repr(self.model)),
            "weights": module_fingerprint(self.model),
            "reading": settings_fingerprint([LAYER, self.top_k]),
            "preprocessing": settings_fingerprint(
                [self.wording.facts, wording, self.max_length, self.max_new_tokens]
            ),
        }


def _language_model(source: str) -> nn.Module:
    """The causal language model in a folder or of a hub id, in evaluation mode.

    Raises: DataError where there is none.
    """
    from transformers import AutoModelForCausalLM

    if Path(source).is_dir():
        return shipped_model(Path(source), "AutoModelForCausalLM")
    load_config(source, Loading())  # whose errors name the models that are near
    with quietly(), loading(source):
        return AutoModelForCausalLM.from_pretrained(source, **PLAIN_WEIGHTS).eval()
