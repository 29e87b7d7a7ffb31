"""The key, cut out of everything that a server says or a log shows."""

from __future__ import annotations

import base64
import json
import logging
import re
from collections.abc import Iterable
from urllib.parse import quote

_WHOLE = (
    8  # characters from which on the beginning of a secret gives it away, and a text can hold it by no chance
)
_LONGEST = 300  # characters of a server's words
# Loggers that show addresses or headers at their lowest level.
_LOGGERS = ("aiohttp.client", "aiohttp.internal", "asyncio")


class Mask(logging.Filter):
    """Cuts secrets out of texts, in every form in which a server may repeat them: quoted, as base64, cut short,
    with stars in the middle.

    As a filter of a logger it does so with all that is logged there, see :meth:`watch_logs`.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        super().__init__()
        forms: set[str] = set()
        for secret in filter(None, secrets):
            in_base64 = base64.b64encode(secret.encode()).decode()
            forms |= {secret, quote(secret, safe=""), in_base64, json.dumps(secret)[1:-1]}
            forms |= {secret.replace("/", "\\/"), *(p for p in secret.split() if len(p) >= _WHOLE)}
        long = [form for form in forms if len(form) >= _WHOLE]
        patterns = [rf"{re.escape(form[:_WHOLE])}[^\s\"'<>,;)\]}}]*" for form in long]
        patterns += [re.escape(form) for form in sorted(long, key=len, reverse=True)]
        patterns += [rf"(?<!\w){re.escape(form)}(?!\w)" for form in forms if len(form) < _WHOLE]
        self._pattern = re.compile("|".join(patterns), re.IGNORECASE) if patterns else None
        self._bytes = [form.encode() for form in long]

    def masked(self, text: str) -> str:
        """The text with ``***`` for every secret."""
        return text if self._pattern is None else self._pattern.sub("***", text)

    def words(self, text: object, longest: int = _LONGEST) -> str:
        """A server's words on one line, without secrets (half hidden ones too) and control characters, cut."""
        said = self.masked(re.sub(r"\S*\*{3,}\S*", "***", str(text)))
        line = " ".join("".join(c if c.isprintable() else " " for c in said).split())
        return line if len(line) <= longest else line[: longest - 3].rstrip() + "..."

    def masked_bytes(self, content: bytes) -> bytes:
        """A body with ``***`` for every secret; a short one may stand in it by chance and is left alone."""
        for secret in self._bytes:
            if secret in content:
                content = content.replace(secret, b"***")
        return content

    # ---- logs ------------------------------------------------------------------------------------------------

    def filter(self, record: logging.LogRecord) -> bool:
        said = record.getMessage()
        if (clean := self.masked(said)) != said:
            record.msg, record.args = clean, ()
        return True

    def watch_logs(self) -> None:
        """Clean what the HTTP library logs, until :meth:`leave_logs`."""
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(self)

    def leave_logs(self) -> None:
        for name in _LOGGERS:
            logging.getLogger(name).removeFilter(self)
