"""``kind="images"``: a picture drawn from a text, for a :class:`~limbeck.teachers.generative.GenerativeTeacher`."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, build_opener

import numpy as np

from limbeck.banks.answers import Answer
from limbeck.data.files.media import decode_data_url
from limbeck.data.files.pictures import open_picture
from limbeck.errors import ConfigError
from limbeck.signals.output import AccessLevel, TeacherOutput
from limbeck.teachers.api.endpoint_kind import Ask
from limbeck.teachers.api.prompts import Prompt, rows_of
from limbeck.teachers.api.questions import BadAnswer, Refused
from limbeck.teachers.media import png_bytes

_PICTURE_TOKENS = 1000  # of one picture as an answer, estimated; servers that count them say how many
_THUMBNAIL = (32, 32)
_HOLDERS = ("data", "images", "output", "artifacts")
_IN_BASE64 = ("b64_json", "b64", "base64", "image_base64", "image")
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

    def changed(self, changes: Mapping[str, str]) -> None:
        """A picture is read the same."""

    def fault(self, answer: Answer) -> None:
        """A picture is a picture."""

    def read(self, reply: dict[str, Any], payloads: Sequence[str]) -> list[Answer | Refused | BadAnswer]:
        entry = _entry(reply)
        try:
            picture = png_bytes(open_picture(self._bytes(entry), "The answer"))
        except (BadAnswer, Refused):
            raise
        except Exception:  # of a picture library, whose decoders raise what they like for broken bytes
            raise BadAnswer("a picture that cannot be read") from None
        revised = entry.get("revised_prompt")
        return [Answer({"revised_prompt": revised if isinstance(revised, str) else None}, picture)]

    def _bytes(self, entry: Mapping[str, Any]) -> bytes:
        coded = next((entry[name] for name in _IN_BASE64 if isinstance(entry.get(name), str)), None)
        if coded is not None and not coded.startswith("data:"):
            plain = "".join(coded.split()).translate({ord("-"): "+", ord("_"): "/"})
            return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
        url = coded or entry.get("url") or entry.get("image_url")
        url = url.get("url") if isinstance(url, Mapping) else url
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


def _entry(reply: Mapping[str, Any]) -> Mapping[str, Any]:
    """The first picture of an answer. Raises: BadAnswer."""
    held = next((reply[name] for name in _HOLDERS if reply.get(name)), None)
    entry = held[0] if isinstance(held, list) and held else held
    if isinstance(entry, str):
        return {"url": entry} if entry.startswith(("http:", "https:", "data:")) else {"b64_json": entry}
    if not isinstance(entry, Mapping):
        raise BadAnswer("no picture")
    return entry


class _NoRedirect(HTTPRedirectHandler):
    """Leaves a redirect unfollowed, so that it comes out as the status that it is."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _fetched(url: str) -> bytes:
    """The bytes at an http address, which may not lead on to another; no other scheme, and no more than 50 MB."""
    if not url.startswith(("https://", "http://")):
        raise BadAnswer("a picture at an address that is no http")
    try:
        with build_opener(_NoRedirect).open(url, timeout=60) as reply:
            data: bytes = reply.read(_LARGEST + 1)
    except HTTPError as error:
        led_on = 300 <= error.code < 400
        raise BadAnswer(
            "a picture whose address leads on to another" if led_on else "a picture that cannot be fetched"
        ) from None
    except (OSError, HTTPException, ValueError):
        raise BadAnswer("a picture that cannot be fetched") from None
    if len(data) > _LARGEST:
        raise BadAnswer("a picture that is too large")
    return data
