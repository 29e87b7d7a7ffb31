"""A language model that is asked for a bank of answers: it writes those that the data lack, and scores them all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from limbeck.errors import UnknownNameError, nearest
from limbeck.problems.prompts import prompt_rows, prompts_of
from limbeck.progress import progress
from limbeck.signals.fingerprint import settings_fingerprint
from limbeck.signals.key import Key
from limbeck.signals.output import TeacherOutput
from limbeck.students.language.writing import written
from limbeck.teachers.answers import AnswerTeacher
from limbeck.teachers.api.text import CUT_ANSWER

if TYPE_CHECKING:
    from limbeck.banks.rows import RowBatch

_CUT = "length"  # the finish_reason of an answer that ran out of tokens


class WritingTeacher:
    """An :class:`AnswerTeacher` that is asked about columns ``prompt`` and, where there are answers already,
    ``completion`` (and ``finish_reason``). It gives the answers as texts beside what the teacher says of their tokens.

    All prompts without an answer are written to before the bank is made. Answers that ran out of tokens, written here
    or given with ``finish_reason: length``, and empty ones are left out of the bank, which counts them.

    Args:
        teacher: writes answers of at most its ``max_new_tokens``.
        temperature: at which they are drawn; 0 = the likeliest token each time.    seed: of the draws.
    """

    class_names = None

    def __init__(self, teacher: AnswerTeacher, *, temperature: float = 0.0, seed: int = 0) -> None:
        self.teacher, self.temperature, self.seed = teacher, temperature, seed
        self.access, self.licence = teacher.access, teacher.licence
        self._answers: dict[Any, tuple[str, bool]] = {}  # by prompt

    @property
    def head(self) -> tuple[Tensor, Tensor | None] | None:
        return self.teacher.head

    @property
    def notes(self) -> dict[str, Any]:
        return self.teacher.notes

    def fingerprint(self) -> dict[str, str]:
        """As the teacher's, and ``writing``."""
        writing = settings_fingerprint([self.temperature, self.seed])
        return {**self.teacher.fingerprint(), "writing": writing}

    def collect(self, rows: Iterable[RowBatch], log: Callable[..., None]) -> dict[Key, str]:
        """Write all answers that lack; returns the keys of those without one, and why."""
        lacking: dict[Key, str] = {}
        with progress("Writing answers", getattr(rows, "total", None)) as advance:
            for batch in rows:
                said, ended = self._answered(batch.inputs)
                for key, text, end in zip(batch.keys, said, ended, strict=True):
                    if not end or not text:
                        lacking[key] = "an empty answer" if end else CUT_ANSWER
                advance(len(batch.keys))
        log("written", left_out=len(lacking))
        return lacking

    def __call__(self, inputs: Mapping[str, Any]) -> TeacherOutput:
        """The answers, and what the teacher holds likely at each of their tokens."""
        said, ended = self._answered(inputs)
        given = {"prompt": inputs["prompt"], "completion": said, "ended": ended}
        return replace(self.teacher(given), text=said)

    def _answered(self, inputs: Mapping[str, Any]) -> tuple[list[str], list[bool]]:
        """The answer to each row, and whether it came to its end."""
        if "prompt" not in inputs:
            raise UnknownNameError(f"A teacher of answers reads 'prompt'; {nearest('prompt', inputs)}")
        prompts = [
            tuple(p) if isinstance(p, list) else p for p in inputs["prompt"]
        ]  # conversations as JSON has them
        given = [str(text or "") for text in inputs.get("completion", [""] * len(prompts))]
        reasons = inputs.get("finish_reason", [""] * len(prompts))
        ended = [str(reason) != _CUT for reason in reasons]
        self._write([prompt for prompt, text in zip(prompts, given) if not text])
        for row, text in enumerate(given):
            if not text:
                given[row], ended[row] = self._answers[prompts[row]]
        return given, ended

    def _write(self, prompts: list[Any]) -> None:
        """Answers to those of ``prompts`` that have none yet."""
        todo = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._answers]
        if not todo:
            return
        teacher, wording = self.teacher, self.teacher.wording
        asked = prompt_rows(
            wording,
            todo,
            [None] * len(todo),
            [True] * len(todo),
            max_length=teacher.max_length,
            max_answer=teacher.max_new_tokens,
            keys=todo,
        )
        found = written(
            teacher.model,
            prompts_of(asked.ids, asked.mask, asked.labels),
            max_new_tokens=teacher.max_new_tokens,
            ends=wording.ends,
            vocabulary=teacher.vocabulary,
            temperature=self.temperature,
            seed=self.seed,
        ).cpu()
        ends = torch.tensor(wording.ends)
        for prompt, answer in zip(todo, found, strict=True):
            self._answers[prompt] = (wording.decoded(answer), bool(torch.isin(answer, ends).any()))
