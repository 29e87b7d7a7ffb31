"""The text of a chat model's answer: its parts joined, what it thought aloud and the marks of its turn taken away."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from limbeck.teachers.api.questions import BadAnswer, Refused

# Blocks in which models think aloud. The names of the second kind are also those of parts of an answer.
_THINKING = "think|thinking|thoughts?|antthinking|seed:think|mm:think|scratchpad|inner_monologue"
_REASONING = "reason|reasoning|reflection|analysis|rationale|chain_of_thought|cot"
_OPEN = (
    r"\[THINK\]", r"◁think▷", r"<\|begin_of_thought\|>", r"<\|START_THINKING\|>", r"<\|channel>thought\b",
    r"<unused94>",
)  # fmt: skip
_CLOSE = (
    r"\[/THINK\]", r"◁/think▷", r"<\|end_of_thought\|>", r"<\|END_THINKING\|>", r"<channel\|>", r"<unused95>",
)  # fmt: skip


def _blocks(names: str) -> re.Pattern[str]:
    opening = "|".join([rf"<\s*(?:{names})(?:\s[^<>]*)?>", *_OPEN])
    closing = "|".join([rf"<\s*/\s*(?:{names})\s*>", *_CLOSE])
    return re.compile(rf"(?P<open>{opening})|(?P<close>{closing})", re.IGNORECASE)


_CERTAIN, _ANY = _blocks(_THINKING), _blocks(f"{_THINKING}|{_REASONING}")
# OpenAI's harmony: channels of thought and the final one; without its marks the names run into the text.
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+)[^<]*<\|message\|>")
_BARE_CHANNELS = re.compile(r"\A\s*analysis(?=[A-Z\W]).*assistantfinal", re.DOTALL)
# What ends a turn, and other tokens that are no text.
_END = re.compile(
    r"<\|(?:im_end|eot_id|eom_id|endoftext|end|end_of_text|return|eos|user|end_of_turn|END_OF_TURN_TOKEN|endofturn)\|>"
    r"|</s>|<eos>|<end_of_turn>|<end_of_utterance>|<turn\|>|<｜end▁of▁sentence｜>|<EOT>|<eod>",
)
_TOKEN = re.compile(
    r"<\|[^<>|\s]{1,40}\|>|<｜[^<>｜]{1,40}｜>|</?s>|<(?:bos|pad|unk)>|<start_of_turn>(?:model)?|\[/?INST\]|<</?SYS>>"
)
_THOUGHT_PARTS = (
    "thinking",
    "reasoning",
    "redacted_thinking",
    "reasoning_text",
    "thought",
    "summary_text",
    "reasoning.text",
)
_DEEPEST = 4


def spoken(message: Mapping[str, Any], *, keep_parts: bool = False) -> str:
    """The text of a message without thinking; empty where nothing else was said. See :func:`without_thinking`.

    Content may be a text, a number, a list of parts (thinking among them is left out), or an object.
    Raises: Refused: a part that is a refusal.    BadAnswer: content that holds no text.
    """
    return without_thinking(content_of(message), keep_parts=keep_parts)


def content_of(message: Mapping[str, Any]) -> str:
    """What stands in a message, thinking in the text included; errors as :func:`spoken`."""
    content = message.get("content")
    if content is None or isinstance(content, str):
        return whole(content or "")
    if isinstance(content, (int, float)) and not isinstance(content, bool):
        return str(content)
    if isinstance(content, Mapping) and not {"type", "text", "content"} & content.keys():
        return json.dumps(content, ensure_ascii=False)  # an answer as JSON, unpacked on the way
    texts: list[str] = []
    if not _collect(content, texts):
        raise BadAnswer("no text")
    return whole("".join(texts))


def _collect(part: Any, texts: list[str], depth: int = 0) -> bool:
    """Add the texts of a part; whether it is a part of an answer at all."""
    if isinstance(part, str):
        texts.append(part)
        return True
    if isinstance(part, list):
        held = [_collect(entry, texts, depth + 1) for entry in part] if depth < _DEEPEST else []
        return any(held) or not part
    if not isinstance(part, Mapping):
        return False
    if part.get("refusal") or part.get("type") == "refusal":
        raise Refused("refused by the model")
    if part.get("type") in _THOUGHT_PARTS or part.get("thought") is True:
        return True
    inner = next((part[name] for name in ("text", "content", "value") if part.get(name) is not None), None)
    return depth < _DEEPEST and _collect(inner, texts, depth + 1)


def whole(text: str) -> str:
    """Without halves of characters, which no file can hold."""
    if text.isascii() or not re.search(r"[\ud800-\udfff]", text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def without_thinking(text: str, *, keep_parts: bool = False) -> str:
    """What follows the thinking, or stands around it; tokens that are no text are gone at both ends.

    A closing mark without an opening one (the template opened it) ends what was thought, an opening one without a
    closing one (the answer was cut) begins it.

    Args:
        keep_parts: an answer of closed ``<reasoning>`` or ``<analysis>`` alone is what was asked for, and stays.
    """
    said = _final_channel(text)
    kept = _outside(said, _ANY)
    if keep_parts and not kept.strip() and _is_closed(said):
        kept = _outside(said, _CERTAIN)
    return without_tokens(kept)


def _outside(text: str, blocks: re.Pattern[str]) -> str:
    kept, start, thinking = "", 0, False
    for found in blocks.finditer(text):
        if found["open"]:
            kept += "" if thinking else text[start : found.start()]
            thinking = True
        else:
            kept, thinking = kept if thinking else "", False
        start = found.end()
    return kept if thinking else kept + text[start:]


def _is_closed(text: str) -> bool:
    found = [mark.lastgroup for mark in _ANY.finditer(text)]
    return found.count("open") == found.count("close")


def _final_channel(text: str) -> str:
    channels = list(_CHANNEL.finditer(text))
    if channels:
        last = channels[-1]
        return text[last.end() :] if last[1].lower() in ("final", "response") else text[: channels[0].start()]
    bare = _BARE_CHANNELS.match(text)
    return text[bare.end() :] if bare else text


def without_tokens(text: str) -> str:
    """Up to the end of the turn, and without a tokenizer's own tokens at both ends."""
    said = text.strip()
    while (token := _TOKEN.match(said) or _END.match(said)) is not None:
        said = said[token.end() :].lstrip()
    if (end := _END.search(said)) is not None:
        said = said[: end.start()].rstrip()
    while (last := list(_TOKEN.finditer(said))) and last[-1].end() == len(said):
        said = said[: last[-1].start()].rstrip()
    return said
