"""``kind="chat"``: class probabilities of each row, from what a chat model says."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch

from limbeck.banks.answers import Answer
from limbeck.errors import ConfigError, UnknownNameError, nearest
from limbeck.signals.fingerprint import settings_fingerprint
from limbeck.signals.output import AccessLevel, TeacherOutput
from limbeck.teachers.api.endpoint_kind import Ask
from limbeck.teachers.api.labels import (
    counted_log_probs,
    label_position,
    labels_of,
    mark_log_probs,
    named_class,
    named_log_probs,
    positions_of,
    positions_said,
)
from limbeck.teachers.api.prompts import Prompt, rows_of
from limbeck.teachers.api.questions import FAILED, BadAnswer, Refused
from limbeck.teachers.api.said.messages import content_of, spoken
from limbeck.teachers.api.text import (
    TextKind,
    chat_choice,
    check_draw,
    empty_answer,
    is_cut,
    share_of_others,
)

Probabilities = Literal["auto", "logprobs", "samples", "verbalised"]
PROBABILITIES = ("auto", "logprobs", "samples", "verbalised")
NO_CLASS = "names no class"
CUT_SHORT = "cut before it named a class (raise max_tokens)"
_ASK = "\n\nWhich of these classes fits best?\n{classes}\nAnswer with the {mark} only."
_TOP = 20  # tokens listed at a position, the most that common servers give
_PATIENCE = 3  # answers to one question that name no class, before it is left out


class ChatKind(TextKind):
    """Class probabilities of each row, from what a chat model says.

    How they come about (``notes["probabilities"]``): ``logprobs``, from the log-probabilities of the tokens
    that stand for the classes; ``samples``, from the classes that several answers name; ``verbalised``, from
    the one class that one answer names.

    Args:
        class_names: at least two; the order of ``log_probs``.
        probabilities: force one of the three; ``auto``: ``logprobs`` if the server gives them for the first
            row, else ``samples`` where ``samples`` is above 1, else ``verbalised``.
        samples: answers drawn for each row in ``samples``, >= 1.
        smoothing: of ``samples``, > 0: this many samples' worth of doubt, spread evenly (Laplace with
            ``smoothing / C``).
        doubt: of ``verbalised``, in (0, 1): probability spread evenly over all classes.
        prompt: as in :class:`TextKind`; ``{classes}`` stands for the list of marks and classes, which
            otherwise follows at the end with the request to answer with a mark.
        temperature: default 1 for ``samples``, else 0.
        max_tokens: default 16; give more to models that think aloud.

    Raises: ConfigError, UnknownNameError.
    """

    access: AccessLevel = "logits"

    def __init__(
        self,
        *,
        class_names: Sequence[str] | None = None,
        probabilities: Probabilities = "auto",
        samples: int = 1,
        smoothing: float = 1.0,
        doubt: float = 0.1,
        prompt: str | None = None,
        system: str | None = None,
        max_tokens: int | None = 16,
        temperature: float | Literal["auto"] | None = "auto",
        options: Mapping[str, Any] | None = None,
    ) -> None:
        if probabilities not in PROBABILITIES:
            raise UnknownNameError(
                f"probabilities cannot be {probabilities!r}; {nearest(str(probabilities), PROBABILITIES)}"
            )
        self.labels = labels_of(class_names or ())
        self.class_names = self.labels.class_names
        _check_ways(probabilities, samples, smoothing, doubt, self.labels.is_one_token, len(self.class_names))
        super().__init__(
            prompt=prompt, system=system, max_tokens=max_tokens, temperature=None, options=options
        )
        listing = self.labels.listing()
        mark = "letter" if self.labels.marks[0] == "A" else "number"
        is_asked = prompt is not None and "{classes}" in prompt
        self._question = "" if is_asked else _ASK.replace("{mark}", mark).replace("{classes}", listing)
        self.prompt = Prompt(prompt, system, {"classes": listing})
        self._given_temperature, self._wanted = temperature, probabilities
        if temperature != "auto":
            check_draw(None, temperature)
        self.samples, self.smoothing, self.doubt = samples, smoothing, doubt
        self._unnamed: Counter[str] = Counter()
        self._use("logprobs" if probabilities == "auto" else probabilities)

    def _use(self, way: str) -> None:
        self.way = way
        self.max_spread = {"logprobs": 0.05, "verbalised": 0.1, "samples": 0.5}[way]
        given = self._given_temperature
        self.temperature = float(way == "samples") if given == "auto" else given
        self.notes = {"probabilities": way} | ({"samples": self.samples} if way == "samples" else {})

    def _fields(self) -> dict[str, Any]:
        listed = {"logprobs": True, "top_logprobs": _TOP} if self.way == "logprobs" else {}
        return {**listed, **super()._fields()}

    def parameters(self) -> dict[str, Any]:
        return {**super().parameters(), "class_names": list(self.class_names or ())}

    def settings(self) -> dict[str, Any]:
        how = [self._wanted, self._given_temperature, self.samples, self.smoothing, self.doubt]
        return {
            **super().settings(),
            "temperature": None,
            "class_names": list(self.class_names or ()),
            "how": how,
        }

    def prepare(self, inputs: Mapping[str, Any], ask: Ask) -> None:
        """Find out once whether the server gives log-probabilities: by the first row, else by a test question.

        Raises: ConfigError where they are forced and the server gives none.
        """
        if self._wanted in ("samples", "verbalised"):
            return
        fallback = "samples" if self.samples > 1 else "verbalised"
        mark, listing = self.labels.marks[0], self.labels.listing()
        test = [{"role": "user", "content": f"{listing}\nThis is a test. Answer with {mark} only."}]
        found = None
        for payload in (self.payloads(inputs)[0][0], test):
            found = found or self._way_of(payload, fallback, ask)
        self._use(found or fallback)
        if self._wanted == "logprobs" and self.way != "logprobs":
            raise ConfigError(
                "The server gives no log-probabilities of tokens for this model; use probabilities='samples' with "
                "samples=5 or so, or probabilities='verbalised'."
            )

    def _way_of(self, payload: Any, fallback: str, ask: Ask) -> str | None:
        """How the answer to one question allows probabilities; ``None`` if it is no answer to go by."""
        failed = False
        if self.labels.is_one_token:
            if (answer := self._with_log_probs(payload, ask)) is True:
                return "logprobs"
            if answer is False:
                return None  # the server may well give them, but this answer is no mark
            failed = isinstance(answer, Refused) and answer.reason.startswith(FAILED)
        self._use(fallback)
        if not isinstance(ask([payload])[0], Answer):
            return None
        # some servers break down over log-probabilities; but that it broke down may have been of the moment
        return "logprobs" if failed and self._with_log_probs(payload, ask) is True else fallback

    def _with_log_probs(self, payload: Any, ask: Ask) -> bool | Answer | Refused:
        """Whether the answer to a question comes with log-probabilities of its mark; the answer itself where the server
        gave none."""
        self._use("logprobs")
        answer = ask([payload])[0]
        if isinstance(answer, Answer):
            return True if answer.data.get("top") else False if answer.data.get("listed") else answer
        return False if answer.reason in (NO_CLASS, CUT_SHORT) else answer

    def payloads(self, inputs: Mapping[str, Any]) -> list[list[Any]]:
        n = self.samples if self.way == "samples" else 1
        return [[self._messages(row)] * n for row in rows_of(inputs)]

    def _messages(self, row: Mapping[str, Any]) -> list[dict[str, Any]]:
        messages = self.prompt.messages(row)
        content = messages[-1]["content"]
        if not self._question:
            return messages
        if isinstance(content, str):
            asked: Any = content + self._question
        else:
            asked = [*content, self._question.strip()]
        return [*messages[:-1], {**messages[-1], "content": asked}]

    def read(self, reply: dict[str, Any], payloads: Sequence[Any]) -> list[Answer | Refused | BadAnswer]:
        """An answer that names no class is asked for again a few times, then left out for good."""
        choice = chat_choice(reply)
        text, cut = spoken(choice["message"]), is_cut(choice)
        if not text.strip():
            return [empty_answer(choice)]
        data = {"text": text, **({"cut": True} if cut else {})}
        number = self._named(data)
        if number is None:
            return [self._unnamed_answer(payloads[0], CUT_SHORT if cut else NO_CLASS)]
        if self.way != "logprobs":
            return [Answer(data)]
        positions = positions_of(choice)
        said = positions_said(positions, text, content_of(choice["message"]))
        top = label_position(said, self.labels, number)
        return [Answer({**data, "listed": any(p.get("top_logprobs") for p in positions), "top": top})]

    def _named(self, data: Mapping[str, Any]) -> int | None:
        return named_class(str(data.get("text", "")), self.labels, is_cut=bool(data.get("cut")))

    def _unnamed_answer(self, payload: Any, reason: str) -> Refused:
        question = settings_fingerprint(payload)
        self._unnamed[question] += 1
        if self._unnamed[question] < _PATIENCE * (self.samples if self.way == "samples" else 1):
            raise BadAnswer(reason)
        return Refused(reason)

    def fault(self, answer: Answer) -> str | None:
        """An answer of an earlier version of the reading may name no class."""
        return NO_CLASS if "text" in answer.data and self._named(answer.data) is None else None

    def output(self, answers: Sequence[Sequence[Answer]]) -> TeacherOutput:
        rows = [self._log_probs(row) for row in answers]
        return TeacherOutput(log_probs=torch.tensor(rows, dtype=torch.float32))

    def _log_probs(self, answers: Sequence[Answer]) -> list[float]:
        n = len(self.labels.class_names)
        if self.way == "logprobs":
            found = mark_log_probs(answers[0].data.get("top") or (), self.labels)
            if found is not None:
                return found
        classes = [number for answer in answers if (number := self._named(answer.data)) is not None]
        if self.way == "samples":
            return counted_log_probs(classes, n, self.smoothing)
        return named_log_probs(classes[0], n, self.doubt)

    def spread(self, answers: Sequence[Answer]) -> float:
        """Largest total variation between an answer's probabilities and their mean; of classes, the share of
        answers that name another than the commonest."""
        if self.way != "logprobs":
            return share_of_others([self._named(answer.data) for answer in answers])
        rows = [[math.exp(value) for value in self._log_probs([answer])] for answer in answers]
        mean = [sum(column) / len(rows) for column in zip(*rows)]
        return max(sum(abs(p - q) for p, q in zip(row, mean)) / 2 for row in rows)


def _check_ways(
    way: str, samples: int, smoothing: float, doubt: float, is_one_token: bool, n_classes: int
) -> None:
    if samples < 1:
        raise ConfigError(f"samples must be at least 1; it is {samples}.")
    if not smoothing > 0:
        raise ConfigError(
            f"smoothing must be above 0, or a class could have probability 0; it is {smoothing}."
        )
    if not 0 < doubt < 1:
        raise ConfigError(f"doubt must lie between 0 and 1, both excluded; it is {doubt}.")
    if way == "logprobs" and not is_one_token:
        raise ConfigError(
            f"{n_classes} classes have no marks of one token each, so their log-probabilities cannot be read; use "
            "probabilities='samples' or 'verbalised', or at most 26 classes."
        )
