"""``kind="images"``: a picture drawn from a text, for a :class:`~limbeck.teachers.generative.GenerativeTeacher`."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from limbeck.banks.answers import Answer
from limbeck.data.files.media import decode_data_url
from limbeck.data.files.pictures import open_picture
from limbeck.errors import ConfigError, DataError
from limbeck.signals.output import AccessLevel, TeacherOutput
from limbeck.teachers.api.endpoint_kind import Ask
from limbeck.teachers.api.prompts import Prompt, rows_of
from limbeck.teachers.api.questions import BadAnswer, Refused, WrongAnswer
from limbeck.teachers.media import png_bytes

_PICTURE_TOKENS = 1000  # of one picture as an answer, estimated; servers that count them say how many
_THUMBNAIL = (32, 32)
_LARGEST = 50_000_000  # bytes of a picture that is fetched


class ImagesKind:
    """Prompt to picture: PNG bytes in the answer store, :meth:`limbeck.teachers.api.teacher.APITeacher.answers`.

    Args:
        prompt: template with ``{column}``, see :class:`~limbeck.teachers.api.prompts.Prompt`; default the text.
        size: ``WIDTHxHEIGHT`` as the server names it; ``None`` = its own.
        fetch: follow addresses where the server answers one instead of the picture; its host is then asked too.
        options: further fields of the request (``{"quality": "low"}``); a value of ``None`` takes a field out.
    """

    path = "/images/generations"
    access: AccessLevel = "features"
    class_names: tuple[str, ...] | None = None
    inputs_per_request = 1
    max_spread = 0.1
    takes_time = True

    def __init__(
        self,
        *,
        prompt: str | None = None,
        size: str | None = None,
        fetch: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.prompt, self.size, self.fetch, self.options = Prompt(prompt), size, fetch, dict(options or {})
        self.notes: dict[str, Any] = {}
        self._format: str | None = "b64_json"

    def parameters(self) -> dict[str, Any]:
        return self.settings() | {"response_format": self._format}

    def settings(self) -> dict[str, Any]:
        return {"prompt": self.prompt.template, "size": self.size, "options": self.options}

    def prepare(self, inputs: Mapping[str, Any], ask: Ask) -> None:
        """Some models know no ``response_format``, others send addresses without it: found out by one row."""
        payload = self.payloads(inputs)[0]
        for choice in ("b64_json", None):
            self._format = choice
            if isinstance(ask(payload)[0], Answer):
                return
        self._format = "b64_json"

    def payloads(self, inputs: Mapping[str, Any]) -> list[list[Any]]:
        return [[self.prompt.text(row)] for row in rows_of(inputs)]

    def tokens(self, payload: str) -> tuple[int, int]:
        return len(payload) // 4 + 1, _PICTURE_TOKENS

    def body(self, payloads: Sequence[str]) -> dict[str, Any]:
        fields = {"size": self.size, "response_format": self._format, "n": 1, **self.options}
        return {"prompt": payloads[0], **{name: value for name, value in fields.items() if value is not None}}

    def read(self, reply: dict[str, Any], payloads: Sequence[str]) -> list[Answer | Refused | WrongAnswer]:
        data = reply.get("data")
        entry = data[0] if isinstance(data, list) and data else None
        if not isinstance(entry, Mapping):
            raise BadAnswer("no picture")
        try:
            picture = png_bytes(open_picture(self._bytes(entry), "The answer"))
        except (ValueError, DataError):
            raise BadAnswer("a picture that cannot be read") from None
        return [Answer({"revised_prompt": entry.get("revised_prompt")}, picture)]

    def _bytes(self, entry: Mapping[str, Any]) -> bytes:
        if isinstance(entry.get("b64_json"), str):
            return base64.b64decode(entry["b64_json"], validate=True)
        url = entry.get("url")
        if not isinstance(url, str):
            raise BadAnswer("no picture")
        if url.startswith("data:"):
            return decode_data_url(url)
        if not self.fetch:
            raise Refused("a picture at another address (pass fetch=True to follow it)", keep=False)
        return _fetched(url)

    def learn(self, answer: Answer) -> None:
        """A picture says nothing of the others."""

    def output(self, answers: Sequence[Sequence[Answer]]) -> TeacherOutput:
        raise ConfigError(
            "Pictures are no signal by themselves: read them with an encoder, GenerativeTeacher(draw, encoder, "
            "pictures=FOLDER), on the command line with --encoder hf:PATH."
        )

    def spread(self, answers: Sequence[Answer]) -> float:
        """Largest mean difference of a picture from their mean, as thumbnails, 0 to 1."""
        small = np.stack([_thumbnail(answer.blob or b"") for answer in answers])
        return float(np.abs(small - small.mean(0)).mean(axis=(1, 2, 3)).max())


def _thumbnail(png: bytes) -> np.ndarray:
    picture = open_picture(png, "A picture in the answer store").convert("RGB").resize(_THUMBNAIL)
    return np.asarray(picture, dtype=np.float32) / 255


def _fetched(url: str) -> bytes:
    """The bytes at an http address; no other scheme, and no more than 50 MB."""
    from http.client import HTTPException
    from urllib.request import urlopen

    if not url.startswith(("https://", "http://")):
        raise BadAnswer("a picture at an address that is no http")
    try:
        with urlopen(url, timeout=60) as reply:
            data: bytes = reply.read(_LARGEST + 1)
    except (OSError, HTTPException):
        raise BadAnswer("a picture that cannot be fetched") from None
    if len(data) > _LARGEST:
        raise BadAnswer("a picture that is too large")
    return data
