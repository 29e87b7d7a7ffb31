"""``kind="text"``: free text for each row, and what every chat completion is read with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from limbeck.banks.answers import Answer
from limbeck.errors import ConfigError
from limbeck.signals.output import AccessLevel, TeacherOutput
from limbeck.teachers.api.endpoint_kind import Ask
from limbeck.teachers.api.prompts import Prompt, message_tokens, rows_of, sendable
from limbeck.teachers.api.questions import BadAnswer, Refused
from limbeck.teachers.api.said.messages import spoken

CUT_ANSWER = "cut before its end (raise max_tokens)"
_CUT = ("length", "max_tokens", "model_length", "max_output_tokens")
# Names under which servers say that they or the model's owner hold an answer back.
_FILTERED = (
    "content_filter",
    "content_filtered",
    "sensitive",
    "safety",
    "prohibited_content",
    "blocklist",
    "recitation",
)
_TEXT_TOKENS = 200  # of a free answer, estimated where no length is set


class TextKind:
    """Free text for each row: rationales, captions, answers.

    Args:
        prompt, system: see :class:`~limbeck.teachers.api.prompts.Prompt`.
        max_tokens: of an answer, >= 1; ``None`` = as the server likes.
        temperature: of the draw, >= 0; ``None`` = the server's own.
        options: further fields of the request (``{"seed": 1}``); a value of ``None`` takes a field out.
    """

    path = "/chat/completions"
    access: AccessLevel = "text"
    class_names: tuple[str, ...] | None = None
    inputs_per_request = 1
    max_spread = 0.5
    takes_time = False

    def __init__(
        self,
        *,
        prompt: str | None = None,
        system: str | None = None,
        max_tokens: int | None = None,
        temperature: float | None = 0.0,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        check_draw(max_tokens, temperature)
        self.prompt = Prompt(prompt, system)
        self.max_tokens, self.temperature, self.options = max_tokens, temperature, dict(options or {})
        self.notes: dict[str, Any] = {}

    def parameters(self) -> dict[str, Any]:
        return {"prompt": self.prompt.template, "system": self.prompt.system, **self._fields()}

    def settings(self) -> dict[str, Any]:
        drawn = {"max_tokens": self.max_tokens, "temperature": self.temperature, "options": self.options}
        return {"prompt": self.prompt.template, "system": self.prompt.system, **drawn}

    def _fields(self) -> dict[str, Any]:
        """Fields of the request besides model and messages."""
        fields = {"max_tokens": self.max_tokens, "temperature": self.temperature, **self.options}
        if "max_completion_tokens" in self.options:
            del fields["max_tokens"]
        return {name: value for name, value in fields.items() if value is not None}

    def prepare(self, inputs: Mapping[str, Any], ask: Ask) -> None:
        """Nothing depends on the first row."""

    def payloads(self, inputs: Mapping[str, Any]) -> list[list[Any]]:
        return [[self.prompt.messages(row)] for row in rows_of(inputs)]

    def tokens(self, payload: Any) -> tuple[int, int]:
        return message_tokens(payload), self.max_tokens or _TEXT_TOKENS

    def body(self, payloads: Sequence[Any]) -> dict[str, Any]:
        return {"messages": sendable(payloads[0]), **self._fields()}

    def changed(self, changes: Mapping[str, str]) -> None:
        """An answer is read the same."""

    def read(self, reply: dict[str, Any], payloads: Sequence[Any]) -> list[Answer | Refused | BadAnswer]:
        choice = chat_choice(reply)
        text = spoken(choice["message"], keep_parts=True)
        if not text.strip():
            return [empty_answer(choice)]
        return [Answer({"text": text, "finish": str(choice.get("finish_reason"))})]

    def fault(self, answer: Answer) -> str | None:
        """A text is a text."""

    def learn(self, answer: Answer) -> None:
        """An answer says nothing of the others."""

    def output(self, answers: Sequence[Sequence[Answer]]) -> TeacherOutput:
        return TeacherOutput(text=[str(row[0].data["text"]) for row in answers])

    def spread(self, answers: Sequence[Answer]) -> float:
        """Share of the answers that differ from the commonest."""
        return share_of_others([answer.data["text"] for answer in answers])


class AnswersKind(TextKind):
    """An answer to each row's ``prompt``, for a student that writes to learn. One that ran out of tokens is left out,
    since the student would learn to stop where it was cut (``kind="text"`` keeps such).

    Args:
        system, max_tokens, temperature, options: as of :class:`TextKind`.
    """

    def __init__(
        self,
        *,
        system: str | None = None,
        max_tokens: int | None = None,
        temperature: float | None = 0.0,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            prompt="{prompt}", system=system, max_tokens=max_tokens, temperature=temperature, options=options
        )

    def read(self, reply: dict[str, Any], payloads: Sequence[Any]) -> list[Answer | Refused | BadAnswer]:
        if is_cut(chat_choice(reply)):
            return [Refused(CUT_ANSWER)]
        return super().read(reply, payloads)


def chat_choice(reply: Mapping[str, Any]) -> Mapping[str, Any]:
    """The first choice of a chat completion, with a ``message``.

    Raises: BadAnswer where there is none.    Refused where model or server will not answer.
    """
    choices = reply.get("choices")
    if not choices and isinstance(reply.get("message"), Mapping):  # Ollama's own
        choices = [{"message": reply["message"], "finish_reason": reply.get("done_reason")}]
    found = [c for c in choices if isinstance(c, Mapping)] if isinstance(choices, list) else []
    choice = next((c for c in found if c.get("index") == 0), found[0] if found else {})
    message = choice.get("message") or choice.get("delta")
    if message is None and isinstance(choice.get("text"), str):
        message = {"content": choice["text"]}
    if not isinstance(message, Mapping):
        raise BadAnswer("no choices")
    finish = _finish(choice)
    if finish in _FILTERED:
        raise Refused(f"refused by the server ({finish})")
    if message.get("refusal"):
        raise Refused("refused by the model")
    if choice.get("error") or finish == "error":
        raise BadAnswer("an answer that ended in an error")
    return {**choice, "message": message}


def is_cut(choice: Mapping[str, Any]) -> bool:
    """Whether an answer ends where its longest length did."""
    return _finish(choice) in _CUT


def empty_answer(choice: Mapping[str, Any]) -> Refused:
    """What stands for an answer without text; it is asked for again, or cut for good.

    Raises: BadAnswer.
    """
    if is_cut(choice):
        return Refused("cut before it said anything (raise max_tokens)")
    message = choice["message"]
    thought = message.get("content") or message.get("reasoning_content") or message.get("reasoning")
    raise BadAnswer("nothing but thinking" if thought and str(thought).strip() else "an empty answer")


def _finish(choice: Mapping[str, Any]) -> str:
    return str(choice.get("finish_reason") or "").casefold()


def share_of_others(values: Sequence[Any]) -> float:
    """Share of the values that differ from the commonest."""
    return 1 - Counter(values).most_common(1)[0][1] / len(values)


def check_draw(max_tokens: int | None, temperature: Any) -> None:
    """ConfigError for a length or temperature that no server takes."""
    if max_tokens is not None and max_tokens < 1:
        raise ConfigError(f"max_tokens must be at least 1; it is {max_tokens}.")
    if temperature is not None and not (isinstance(temperature, (int, float)) and temperature >= 0):
        raise ConfigError(f"temperature must be at least 0; it is {temperature!r}.")
