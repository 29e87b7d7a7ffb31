"""What stands in the wrapping of an answer: Markdown, HTML, LaTeX, JSON, and the next turn that a model makes up."""

from __future__ import annotations

import re

from limbeck.teachers.api.said.class_words import folded
from limbeck.teachers.api.said.denials import without_idioms

_MOST = 10  # boxes that are looked at, the last ones
_KEY = (
    r"(?:final|predicted|chosen|selected|correct)?[_ ]?(?:answer|label|class|category|prediction|choice|option|result|"
    r"response|output|selection|classification|letter|mark)(?:[_ ](?:name|letter|label|id))?"
)
_FIELD = re.compile(
    rf"[\"']{_KEY}[\"']\s*:\s*(\[[^\[\]{{}}]*\]|\[?\s*(?:\"(?:[^\"\\]|\\.)*\"|'[^'\n]*'|[^\s,}}\]]+))",
    re.IGNORECASE,
)
_ONLY_FIELD = re.compile(
    r"\A\s*\{\s*\"[^\"]*\"\s*:\s*\[?\s*(\"(?:[^\"\\]|\\.)*\"|[^\s,{}\[\]]+)\s*\]?\s*\}\s*\Z"
)
_TRUE_FIELD = re.compile(r"\"([^\"]+)\"\s*:\s*true\b", re.IGNORECASE)
_OBJECT = re.compile(r"\{\s*\"[^\"]*\"\s*:")
_TAG = re.compile(rf"<({_KEY})>([^<]*)(?:</\1>|\Z)", re.IGNORECASE)
_BOX = re.compile(r"(?:\\f?boxed|\x08oxed|\x0cboxed|(?<!\w)boxed)\s*(?:\{|(?=\s[A-Z0-9]\b))")
_NEXT_TURN = re.compile(r"\n\s*#*\s*(?:question|q|user|human|input|instruction)\s*\d*\s*:", re.IGNORECASE)


def plain(text: str, *, numeric: bool = False) -> str:
    """Without tokens, markup and the model's next turn; in one form of Unicode.

    Args:
        numeric: classes are numbers, so that 4 out of 5 is 4.
    """
    text = folded(text)
    text = re.sub(r"<\|[^<>|\s]{1,40}\|>|</?s>", " ", text)
    text = re.sub(r"~~[^~\n]*~~", " ", text)  # struck out
    text = re.sub(r"<(?:br|/?p|/?li|/?div)\b[^<>\n]*>", "\n", text, flags=re.IGNORECASE)
    text = re.sub(r"</?(?:b|i|u|em|strong|span|code|mark|font|h[1-6])\b[^<>\n]*>", "", text)  # <B> is a mark
    for _ in range(3):
        text = re.sub(r"\\(?:text\w*|math\w+|rm|bf|emph|mbox|operatorname)\s*\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"\\[()\[\],;! ]|\$", " ", text)
    text = re.sub(r"```\w*", "\n", text)
    text = re.sub(r"(?<!\w)[*`]+|[*`]+(?!\w)|(?<!\w)_+(?=\w)|(?<=[^\W_])_+(?!\w)", "", text)
    text = re.sub(r"^[^\S\n]*(?:#{1,6}(?=\s)|>|[-•+](?=\s))[^\S\n]*", "", text, flags=re.MULTILINE)
    if numeric:
        text = re.sub(r"(?<=\d)\s*(?:/|out of|von|sur)\s*\d+", "", text)
    text = without_idioms(text).strip()
    turn = _NEXT_TURN.search(text)
    return text[: turn.start()].rstrip() if turn and turn.start() > 0 else text


def fields(text: str) -> list[str]:
    """The values of fields that hold an answer: of JSON, also within a text or cut, of tags; of a single field any."""
    found = [m[1] for m in _FIELD.finditer(text)] or [m[2] for m in _TAG.finditer(text)]
    if not found and (only := _ONLY_FIELD.match(text)):
        found = [only[1]] if only[1] not in ("true", "false") else []
    if not found and text.startswith("{"):
        true = [m[1] for m in _TRUE_FIELD.finditer(text)]
        found = true if len(true) == 1 else []
    return [value.strip("[]\"' ") for value in found]


def boxes(text: str) -> list[str]:
    """What stands in LaTeX boxes."""
    found: list[str] = []
    for box in list(_BOX.finditer(text))[-_MOST:]:
        depth, end = 1, box.end()
        while end < len(text) and depth and text[box.end() - 1] == "{":
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        closed = text[box.end() - 1] == "{"
        found.append(
            text[box.end() : end - 1 if depth == 0 else end] if closed else text[box.end() :].split()[0]
        )
    return found


def is_object(text: str) -> bool:
    """Whether a text is a JSON object."""
    return _OBJECT.match(text) is not None
