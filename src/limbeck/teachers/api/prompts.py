"""From the columns of a row to the messages of a chat, or to the text that a picture is drawn from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from limbeck.errors import DataError, UnknownNameError, nearest
from limbeck.teachers.media import Media, media_of

_PLACE = re.compile(r"\{(\w[\w \-]*)\}")
_PICTURE_TOKENS = 800  # of a picture, as the common servers count one of about 768 by 768 pixels
_BYTES_PER_SECOND = 32_000  # of a wave at 16 kHz and 16 bit
_SOUND_TOKENS = 10  # a second


@dataclass(frozen=True)
class Prompt:
    """How a row is put to a model.

    Args:
        template: text in which ``{column}`` stands for the row's value, and a picture or sound for itself;
            other braces stay as they are. Columns with pictures or sounds that it does not name come first.
            Default: the texts alone, ``name: text`` a line where there are several.
        system: the system message.
        extra: further names and the texts they stand for (``classes``).

    Example:
        >>> Prompt("Is {text} funny?").messages({"text": "a pun"})
        [{'role': 'user', 'content': 'Is a pun funny?'}]
    """

    template: str | None = None
    system: str | None = None
    extra: Mapping[str, str] | None = None

    def messages(self, row: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Chat messages in which pictures and sounds are :class:`Media`, to be sent through :func:`sendable`.

        Raises: DataError for a row that says nothing or holds what cannot be sent.    UnknownNameError: the
            template names no column of the row.
        """
        parts = self._parts(row)
        content = parts[0] if len(parts) == 1 and isinstance(parts[0], str) else parts
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, {"role": "user", "content": content}]

    def text(self, row: Mapping[str, Any]) -> str:
        """The filled template of a row without pictures and sounds. Raises: as :meth:`messages`."""
        parts = self._parts(row)
        if any(isinstance(part, Media) for part in parts):
            raise DataError("A picture is drawn from a text; name the column that holds it.")
        return "".join(part for part in parts if isinstance(part, str))

    def _parts(self, row: Mapping[str, Any]) -> list[str | Media]:
        values = {name: _sayable(name, value) for name, value in row.items()}
        if not any(values.values()):
            raise DataError(f"There is nothing in {_columns(row)}; leave out the row or fill it in.")
        named = set() if self.template is None else set(_PLACE.findall(self.template))
        if self.template is not None and not named - set(self.extra or ()) and not _has_media(values):
            raise DataError(
                f"The prompt names no column, so every row would be asked the same; write "
                f"{{{next(iter(row))}}} where its value belongs."
            )
        first = [v for name, v in values.items() if isinstance(v, Media) and name not in named]
        rest = _listed(values) if self.template is None else self._filled(self.template, values)
        return _joined([*first, *rest])

    def _filled(self, template: str, values: Mapping[str, str | Media]) -> Iterator[str | Media]:
        known = {**values, **(self.extra or {})}
        at = 0
        for place in _PLACE.finditer(template):
            if place[1] not in known:
                raise UnknownNameError(
                    f"The prompt names {{{place[1]}}}, which is no column of the data; {nearest(place[1], known)}"
                )
            yield template[at : place.start()]
            yield known[place[1]]
            at = place.end()
        yield template[at:]


def rows_of(inputs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of a batch as mappings of column to value."""
    n = len(next(iter(inputs.values()))) if inputs else 0
    return [{name: values[i] for name, values in inputs.items()} for i in range(n)]


def sendable(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Messages with every :class:`Media` as a data URL."""

    def part(value: str | Media) -> dict[str, Any]:
        return {"type": "text", "text": value} if isinstance(value, str) else value.part()

    return [
        message
        if isinstance(message["content"], str)
        else {**message, "content": list(map(part, message["content"]))}
        for message in messages
    ]


def message_tokens(messages: list[dict[str, Any]]) -> int:
    """Roughly how many tokens messages have: four characters each, and what servers count for pictures, sounds."""
    total = 0
    for message in messages:
        content = message["content"]
        for part in [content] if isinstance(content, str) else content:
            if isinstance(part, str):
                total += 4 + len(part) // 4
            elif part.kind == "image":
                total += _PICTURE_TOKENS
            else:
                total += 1 + _SOUND_TOKENS * len(part.data) // _BYTES_PER_SECOND
    return total


def _sayable(name: str, value: Any) -> str | Media:
    """A value as text or media; empty for a missing one."""
    if value is None:
        return ""
    media = media_of(value)
    if media is not None:
        return media
    if isinstance(value, str):
        return value if value.strip() else ""
    if isinstance(value, (bool, int, float)):
        return str(value)
    if getattr(value, "shape", None) == ():
        return str(value.item())
    raise DataError(
        f"The column {name!r} holds {type(value).__name__}, which cannot be put into a message; give texts, "
        "numbers, pictures, or sounds as {'array': samples, 'sampling_rate': Hz}, and choose columns with inputs=."
    )


def _has_media(values: Mapping[str, str | Media]) -> bool:
    return any(isinstance(value, Media) for value in values.values())


def _listed(values: Mapping[str, str | Media]) -> list[str]:
    texts = {name: value for name, value in values.items() if isinstance(value, str)}
    return (
        list(texts.values()) if len(texts) == 1 else [f"{name}: {value}\n" for name, value in texts.items()]
    )


def _joined(parts: list[str | Media]) -> list[str | Media]:
    """Neighbouring texts as one; empty ones dropped."""
    joined: list[str | Media] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        elif part:
            joined.append(part)
    return [part for part in joined if isinstance(part, Media) or part.strip()]


def _columns(row: Mapping[str, Any]) -> str:
    return f"the column{'s' * (len(row) > 1)} {', '.join(map(repr, row))}"
