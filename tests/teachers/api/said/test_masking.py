"""The key in the forms in which a server may repeat it, and in what the HTTP libraries log."""

from __future__ import annotations

import base64
import logging
from urllib.parse import quote

import pytest

from limbeck.teachers.api.said.masking import Mask

KEY = "sk-proj/Ab+12=34-very-long"
MASK = Mask([KEY, "pass word"])


@pytest.mark.parametrize(
    "said",
    [
        KEY, f"Bearer {KEY}", f'"{KEY}"', KEY.lower(), KEY.upper(), quote(KEY, safe=""), KEY.replace("/", "\\/"),
        base64.b64encode(KEY.encode()).decode(), KEY[:15], f"{KEY[:10]}...", f"{KEY[:6]}********{KEY[-4:]}",
        f"({KEY}).",
    ],
)  # fmt: skip
def test_a_key_is_cut_out_in_every_form(said):
    words = MASK.words(f"Incorrect key {said} given")
    assert words.startswith("Incorrect key ")
    assert "***" in words
    assert not any(KEY[i : i + 6].casefold() in words.casefold() for i in range(8, len(KEY) - 6))


def test_words_are_one_short_line():
    assert MASK.words("a\nb\t\x1b[0m c\x00") == "a b [0m c"
    assert MASK.words("x" * 500, 20) == "x" * 17 + "..."
    assert MASK.words("a pass word") == "a ***"
    assert Mask([]).words("plain") == "plain"


def test_a_short_key_is_cut_out_as_a_word_alone():
    assert Mask(["none"]).words("none of the nonesense") == "*** of the nonesense"
    assert Mask(["none"]).masked_bytes(b'{"a": "none"}') == b'{"a": "none"}'


def test_bodies():
    assert MASK.masked_bytes(f'{{"a": "{KEY}"}}'.encode()) == b'{"a": "***"}'
    assert MASK.masked_bytes(b'{"a": 1}') == b'{"a": 1}'


def test_what_is_logged(caplog):
    caplog.set_level("DEBUG")
    MASK.watch_logs()
    try:
        logging.getLogger("aiohttp.client").info("HTTP Request: %s %s", "POST", f"http://x?key={KEY}")
        logging.getLogger("aiohttp.internal").debug("headers %r", [(b"x-echo", KEY.encode())])
        logging.getLogger("asyncio").debug("plain %d", 3)
    finally:
        MASK.leave_logs()
    assert KEY not in caplog.text
    assert "POST" in caplog.text
    assert "plain 3" in caplog.text
    assert MASK not in logging.getLogger("aiohttp.client").filters
