"""The JSON of an answer, also where it comes in pieces."""

from __future__ import annotations

import json

import pytest

from limbeck.teachers.api.said.bodies import NoJson, parsed


def test_json_whatever_stands_around_it():
    assert parsed(b' \n{"a": NaN}')["a"] != 0
    assert parsed('\ufeff{"a": 1}'.encode()) == {"a": 1}
    assert parsed('{"a": 1}'.encode("utf-16")) == {"a": 1}


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\xfd", b"[" * 100_000, b"OK", b"data: {"])
def test_what_is_no_json(content):
    with pytest.raises(NoJson) as caught:
        parsed(content)
    assert not caught.value.is_page


@pytest.mark.parametrize("content", [b"<!DOCTYPE html><html>", b"\n<html lang=en>", b"<HTML><head>"])
def test_a_page_is_told_apart(content):
    with pytest.raises(NoJson) as caught:
        parsed(content)
    assert caught.value.is_page


def stream(*pieces):
    return (
        b"".join(b"data: " + json.dumps(piece).encode() + b"\n\n" for piece in pieces) + b"data: [DONE]\n\n"
    )


def test_a_stream_is_put_together():
    listed = [{"token": t, "top_logprobs": [{"token": t, "logprob": -0.1}]} for t in ("do", "g")]
    whole = parsed(
        stream(
            {"choices": [{"delta": {"role": "assistant", "reasoning_content": "a cat?"}}]},
            {"choices": [{"delta": {"content": "do"}, "logprobs": {"content": listed[:1]}}]},
            {"choices": [{"delta": {"content": "g"}, "logprobs": {"content": listed[1:]}}]},
            {"choices": [{"delta": {}, "finish_reason": "stop"}]},
            {"choices": [], "usage": {"total_tokens": 7}},
        )
    )
    choice = whole["choices"][0]
    assert ("".join(choice["message"]["content"]), choice["finish_reason"]) == ("dog", "stop")
    assert choice["logprobs"]["content"] == listed
    assert whole["usage"] == {"total_tokens": 7}


@pytest.mark.parametrize(
    "before", [b": processing\n\n: processing\n\n", b"event: message\nid: 1\n", b"retry: 9\n"]
)
def test_a_stream_may_begin_with_something_else(before):
    whole = parsed(before + stream({"choices": [{"delta": {"content": "dog"}}]}))
    assert whole["choices"][0]["message"]["content"] == ["dog"]
    with pytest.raises(NoJson):
        parsed(b"id: what?")


def test_an_error_in_a_stream_is_an_error():
    assert parsed(stream({"choices": [{"delta": {"content": "x"}}]}, {"error": {"code": 502}})) == {
        "error": {"code": 502}
    }
    assert parsed(b"data: [DONE]\n") == {}
