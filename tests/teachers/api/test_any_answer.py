"""Whatever a server answers, a bank is built or one clear error is raised: nothing raw, nothing hidden."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from teachers.chat_server import Server, picture

from limbeck.banks import Bank
from limbeck.errors import LimbeckError
from limbeck.teachers.api.limits import Limits
from limbeck.teachers.api.teacher import APITeacher

ROWS = [{"id": i, "text": f"row {i}"} for i in range(3)]
OPTIONS: dict[str, dict[str, Any]] = {
    "embeddings": {}, "text": {}, "images": {},
    "chat": {"class_names": ["cat", "dog"]},
}  # fmt: skip

NUMBERS = st.one_of(
    st.integers(-5, 5),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([10**400, -(10**400), 2**63, True]),
)
WORDS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        [
            "dog", "B", "<think>", "</think>B", "not dog", "\ud83d", "\x00", "AAAAAA==", "[1, 2]",
            "data:image/png;base64,AA",
            picture((1, 2, 3))[1]["data"][0]["b64_json"], "http://127.0.0.1:9/x", "file:///etc/hostname", "length",
            "stop",
            "content_filter", "error", "logprobs", "temperature", "max_tokens must be <= 5", "1e999", "text",
            "thinking",
        ]
    ),
)  # fmt: skip
ANY = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, WORDS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.one_of(
                st.sampled_from(
                    [
                        "choices", "message", "content", "text", "type", "data", "embedding", "embeddings", "index",
                        "error",
                        "code", "param", "detail", "loc", "msg", "logprobs", "top_logprobs", "token", "logprob",
                        "tokens",
                        "finish_reason", "usage", "prompt_tokens", "total_tokens", "b64_json", "url", "delta",
                        "refusal",
                        "object", "thought", "metadata", "raw", "details", "retryDelay", "answer",
                    ]
                ),
                st.text(max_size=4),
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=8,
)  # fmt: skip


@st.composite
def chats(draw):
    """A chat completion with anything in its places."""
    token = st.fixed_dictionaries(
        {"token": ANY, "logprob": ANY, "top_logprobs": ANY | st.lists(ANY, max_size=3)}
    )
    message = st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("content", "refusal", "reasoning_content"), ANY)
    )
    choice = st.fixed_dictionaries(
        {"message": ANY | message},
        optional={
            "finish_reason": ANY,
            "index": ANY,
            "error": ANY,
            "logprobs": ANY | st.fixed_dictionaries({"content": st.lists(token | ANY, max_size=3)}),
        },
    )
    return {"choices": draw(ANY | st.lists(choice | ANY, max_size=2)), "usage": draw(ANY)}


@st.composite
def embeddings(draw):
    """An embeddings answer of about as many entries as there are texts, with anything in their places."""
    vector = st.one_of(ANY, st.lists(NUMBERS, max_size=4), st.lists(st.floats(-1, 1), min_size=2, max_size=2))
    entry = st.fixed_dictionaries({"embedding": vector}, optional={"index": ANY | st.integers(0, 3)})
    return {"data": draw(ANY | st.lists(entry | ANY, max_size=4)), "usage": draw(ANY)}


@st.composite
def replies(draw):
    """Status, body and headers."""
    body = draw(
        st.one_of(
            chats(),
            embeddings(),
            ANY,
            st.fixed_dictionaries({"error": ANY}),
            st.fixed_dictionaries({"data": ANY}),
        )
    )
    content = draw(st.sampled_from(["json"] * 6 + ["cut", "bytes", "page", "stream"]))
    raw = json.dumps(body).encode()
    if content == "cut":
        raw = raw[: len(raw) // 2]
    elif content == "bytes":
        raw = draw(st.binary(max_size=40))
    elif content == "page":
        raw = b"<html><title>" + raw + b"</title>"
    elif content == "stream":
        raw = b"data: " + raw + b"\n\ndata: [DONE]\n"
    status = draw(st.sampled_from([200] * 12 + [201, 302, 400, 401, 403, 404, 413, 422, 429, 451, 500, 503]))
    headers = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "Retry-After": st.sampled_from(
                    ["0", "-1", "nan", "soon", "0.001", "Wed, 21 Oct 2015 07:28:00 GMT"]
                ),
                "Location": st.sampled_from(["/x", "http://127.0.0.1:9/v1", "::", "http://[x", ""]),
                "Content-Type": st.sampled_from(
                    ["text/plain", "text/html", "application/json; charset=utf-16"]
                ),
            },
        )
    )
    return status, raw, headers


class Served:
    """One server for all examples of a test; what it answers is set for each."""

    def __init__(self) -> None:
        self.answers: list[tuple[Any, ...]] = []
        self.number = 0
        self.server = Server(self.respond)

    def respond(self, path: str, body: dict[str, Any]) -> tuple[Any, ...]:
        self.number += 1
        return self.answers[self.number % len(self.answers)]


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    running = Served()
    yield running
    running.server.close()


@contextmanager
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def build_with(served: Served, kind: str, answers: list[tuple[Any, ...]]) -> None:
    """A bank whose rows are all there or named, or a LimbeckError of one sentence."""
    served.answers, served.number = answers, 0
    limits = Limits(concurrency=2, retries=1, backoff=1e-4, longest_wait=0.01)
    with tempfile.TemporaryDirectory() as folder, quiet():
        teacher = APITeacher(
            "tiny", kind=kind, base_url=served.server.url, licence="own", limits=limits, probe=2,
            store=Path(folder) / "a.sqlite", **OPTIONS[kind],
        )  # fmt: skip
        try:
            if kind == "images":
                teacher.answers({"text": ["a", "b"]})
                return
            bank = Bank.build(Path(folder) / "bank", teacher, ROWS)
        except LimbeckError as error:
            if "\n" in str(error):
                raise AssertionError(f"more than one line: {error}") from error
            return
        finally:
            teacher.store.close()
        missing = [key for keys in bank.manifest.missing.values() for key in keys]
        assert sorted([*bank.keys, *missing]) == [0, 1, 2]
        bank.lookup(list(bank.keys))


ANSWERS = st.lists(replies(), min_size=1, max_size=3)
QUICK = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
LONG = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("kind", sorted(OPTIONS))
@pytest.mark.full
def test_any_answer(served: Served, kind: str) -> None:
    @QUICK
    @given(ANSWERS)
    @example([(200, b'{"choices": [{"message": {"content": "B"}, "logprobs": {"content": 3}}]}', {})])
    @example(
        [(200, b'{"data": [{"index": 1e999, "embedding": [1e999]}], "usage": {"total_tokens": 1e999}}', {})]
    )
    @example([(200, b"[" * 100_000, {})])
    @example([(400, b"[" * 100_000, {})])
    def run(answers: list[tuple[Any, ...]]) -> None:
        build_with(served, kind, answers)

    run()


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(OPTIONS))
def test_any_of_many_answers(served: Served, kind: str) -> None:
    LONG(given(ANSWERS)(lambda answers: build_with(served, kind, answers)))()
