"""What a server says of a request that it did not answer: its words, its names for them, and how long to wait."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from limbeck.teachers.api.said.masking import Mask

_READ = 65_536  # bytes of a failed reply, no more
_LONGEST_NAME = 60  # characters of a code or parameter
_DEEPEST = 6  # levels of a body in which words are looked for
# Fields in which servers put their sentences, the likeliest first.
_SENTENCES = (
    "message", "msg", "detail", "error_description", "error_msg", "error_message", "error", "errors", "reason",
    "title", "status_msg", "base_resp", "fault", "faultstring", "description",
)  # fmt: skip
_WAIT = re.compile(
    r"(?:try again|retry|wait)\D{0,20}?(?:(\d+)\s*h\s*)?(?:(\d+)\s*m(?:in\w*)?\s*)?"
    r"(\d+(?:\.\d+)?)\s*(ms|milliseconds?|s|sec\w*|min\w*)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Complaint:
    """What a server says of a request that it did not answer, cleaned of the key.

    Args:
        status: of HTTP; of an error inside a 200 answer the one that it names, else 200.
        code, type: its short names, as the server gives them; "" = none.    param: the parameter that it is about.
        words: its own, on one line.    fields: the request's fields that it points at (``loc`` of FastAPI).
        wait: seconds after which it may be asked again.    location: where it leads on to.
        is_page: it is a page for people.
    """

    status: int
    code: str = ""
    type: str = ""
    param: str = ""
    words: str = ""
    fields: tuple[str, ...] = ()
    wait: float | None = None
    location: str = ""
    is_page: bool = False

    @property
    def short(self) -> str:
        """Code or status, and the words: what stands in brackets behind a sentence of ours."""
        name = self.code or str(self.status)
        return f"{name}: {self.words.rstrip('.')}" if self.words else name


def complaint_of(status: int, headers: Mapping[str, str], content: bytes, mask: Mask) -> Complaint:
    """Read a failed reply, whatever its form: OpenAI's, FastAPI's, Google's, a bare text, a page."""
    text = content[:_READ].decode("utf-8", "replace")
    page, wait = is_page(text), retry_after(headers)
    found = of_body(status, None if page else _parsed(text), mask)
    return replace(
        found,
        words=mask.words(text_of_page(text)) if page else found.words or mask.words(text.strip("{}[] \n")),
        wait=found.wait if wait is None else wait,
        location=mask.words(headers.get("location", "")),
        is_page=page,
    )


def of_body(status: int, body: Any, mask: Mask) -> Complaint:
    """As :func:`complaint_of`, of a body that is read already."""
    if isinstance(body, list) and len(body) == 1:  # Google's
        body = body[0]
    inner = body.get("error") if isinstance(body, Mapping) else None
    named = inner if isinstance(inner, Mapping) else body if isinstance(body, Mapping) else {}
    words = mask.words(_words_of(body))
    return Complaint(
        status,
        code="" if str(named.get("code")) == str(status) else _name(named.get("code"), mask),
        type=_name(named.get("type") or named.get("status"), mask),
        param=_name(named.get("param"), mask),
        words=words,
        fields=tuple(mask.words(name, _LONGEST_NAME) for name in _fields_of(body)),
        wait=_wait_in(words, named),
    )


def is_page(text: str) -> bool:
    """Whether a text is a page for people."""
    return re.match(r"\s*(?:<!doctype html|<html|<head|<body)", text, re.IGNORECASE) is not None


def text_of_page(text: str) -> str:
    """The title of a page, else its text."""
    title = re.search(r"<title[^<>]*>([^<]*)", text, re.IGNORECASE)
    return title[1] if title and title[1].strip() else re.sub(r"<[^<>]*>", " ", text[:5000])


def _name(value: Any, mask: Mask) -> str:
    is_name = isinstance(value, (str, int)) and not isinstance(value, bool)
    return mask.words(value, _LONGEST_NAME) if is_name else ""


def _words_of(value: Any, depth: int = 0) -> str:
    """The sentences in a body, wherever they stand; those of a server behind a gateway too."""
    if depth > _DEEPEST:
        return ""
    if isinstance(value, str):
        inner = _parsed(value) if value.lstrip()[:1] in ("{", "[") else None
        return _words_of(inner, depth + 1) or value
    if isinstance(value, list):
        return "; ".join(filter(None, (_words_of(entry, depth + 1) for entry in value[:3])))
    if not isinstance(value, Mapping):
        return ""
    found = (_words_of(value[name], depth + 1) for name in _SENTENCES if value.get(name))
    said = next(filter(None, found), "")
    if said and isinstance(where := value.get("loc"), list):
        said = f"{'.'.join(map(str, where))}: {said}"
    metadata = value.get("metadata")
    behind = _words_of(metadata.get("raw"), depth + 1) if isinstance(metadata, Mapping) else ""
    return f"{said}: {behind}" if behind and behind not in said else said


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _fields_of(body: Any) -> list[str]:
    detail = body.get("detail") if isinstance(body, Mapping) else None
    entries = [entry for entry in detail if isinstance(entry, Mapping)] if isinstance(detail, list) else []
    places = [place for entry in entries if isinstance(place := entry.get("loc"), list)]
    return [part for place in places for part in place if isinstance(part, str)]


# ---- how long to wait ------------------------------------------------------------------------------------------


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait: ``retry-after-ms``, or ``Retry-After`` as seconds or as a date."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            if math.isfinite(seconds := float(headers.get(name) or "nan")):
                return max(seconds * scale, 0.0)
        except ValueError:
            pass
    try:
        then = parsedate_to_datetime(headers.get("retry-after") or "")
        then = then if then.tzinfo else then.replace(tzinfo=UTC)
        return max((then - datetime.now(UTC)).total_seconds(), 0.0)
    except (ValueError, TypeError, OverflowError):
        return None


def _wait_in(words: str, named: Mapping[str, Any]) -> float | None:
    """Seconds to wait that stand in the body: ``try again in 1.2s``, Google's ``retryDelay``."""
    details = named.get("details")
    for entry in details if isinstance(details, list) else []:
        delay = entry.get("retryDelay") if isinstance(entry, Mapping) else None
        if isinstance(delay, str) and (found := re.fullmatch(r"(\d+(?:\.\d+)?)s", delay)):
            return float(found[1])
    if (found := _WAIT.search(words)) is None:
        return None
    unit = found[4].lower()
    scale = 0.001 if unit.startswith(("ms", "mil")) else 60 if unit.startswith("min") else 1
    return 3600 * float(found[1] or 0) + 60 * float(found[2] or 0) + scale * float(found[3])
