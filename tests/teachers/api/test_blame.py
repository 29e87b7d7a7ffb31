"""A request that fails: the row that is to blame is found, named and left out, and everything else is answered."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from teachers.asked import build_from
from teachers.chat_server import said, vectors

from limbeck.errors import ConfigError, LimbeckError, UnansweredError, UnknownNameError

ROWS = [{"id": i, "text": f"number {i}."} for i in range(100)]


def build(respond, tmp_path, kind="embeddings", rows=ROWS, **options):
    return build_from(respond, tmp_path, kind, rows, **options)


def poisoned(fault, *numbers):
    """A server that fails wherever one of the texts is in a request."""

    def respond(path, body):
        texts = body["input"]
        return fault if any(f"number {n}." in text for n in numbers for text in texts) else vectors(body)

    return respond


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ((500, {"error": {"message": "json: unsupported value: NaN"}}),
        "failed in every try (500: json: unsupported value: NaN)"),
        ((502, b"<html><title>Bad Gateway</title>"), "failed in every try (502: Bad Gateway)"),
        ((503, b"overloaded"), "failed in every try (503: overloaded)"),
        ((504, b""), "failed in every try (504)"),
        ((529, b""), "failed in every try (529)"),
        ((408, b""), "failed in every try (408)"),
        ((200, b'{"data": [{"embedding": NaN'), "failed in every try (malformed answer)"),
        ((200, {"error": {"message": "cannot"}}), "failed in every try (error in a 200 answer: cannot)"),
        ((400, {"error": {"message": "strange text"}}), "refused by the server (400: strange text)"),
        ((422, {"detail": "strange text"}), "refused by the server (422: strange text)"),
        ((413, b"Payload Too Large"), "refused by the server (413: Payload Too Large)"),
        ((400, {"error": {"code": "context_length_exceeded", "message": "8 tokens"}}),
         "refused by the server (context_length_exceeded)"),
        ((500, {"error": "input is too large to process"}),
        "refused by the server (500: input is too large to process)"),
        ((403, b"<html><title>Blocked</title></html>"), "refused by the server (403: Blocked)"),
        ((403, {"error": {"message": "flagged by moderation"}}), "refused by the server (403: flagged by moderation)"),
        ((404, {"error": "no endpoint for this"}), "refused by the server (404: no endpoint for this)"),
    ],
)  # fmt: skip
def test_one_poisonous_row_of_a_batch_is_left_out(tmp_path, fault, reason):
    with pytest.warns(UserWarning, match="lacks rows: 1 "):
        bank, server = build(poisoned(fault, 37), tmp_path)
    assert bank.manifest.missing == {reason: [37]}
    assert len(bank) == 99
    assert len(server.asked) <= 40  # of a hundred texts in requests of 64
    answered = Counter(
        text for b in server.bodies if not any("number 37." in t for t in b["input"]) for text in b["input"]
    )
    assert (
        set(answered.values()) == {1} or answered["number 0."] == 3
    )  # the probe alone asks the first row again
    assert sum(answered.values()) == 99 + 2


@pytest.mark.parametrize(("status", "n_asked"), [(500, 1), (503, 3), (400, 1)])
def test_a_bank_that_only_lacks_what_fails_is_done(tmp_path, status, n_asked):
    """Run again, with nothing else left to ask, it is no dead server but these rows."""
    respond = poisoned((status, {"error": "no"}), *range(10, 10 + n_asked))
    with pytest.warns(UserWarning, match="lacks rows"):
        bank, _ = build(respond, tmp_path, rows=ROWS[:40])
    with pytest.warns(UserWarning, match="lacks rows"):
        bank, _ = build(respond, tmp_path, rows=ROWS[:40], name="again")
    assert [key for keys in bank.manifest.missing.values() for key in keys] == [*range(10, 10 + n_asked)]


@pytest.mark.parametrize("kind", ["embeddings", "chat", "text"])
@pytest.mark.parametrize("status", [500, 400])
def test_a_first_row_that_fails_is_left_out_too(tmp_path, kind, status):
    def respond(path, body):
        asked = body.get("input") or [body["messages"][-1]["content"]]
        if any("number 0." in text for text in asked):
            return status, {"error": "no"}
        return vectors(body) if "input" in body else said("dog")

    with pytest.warns(UserWarning, match="lacks rows: 1 "):
        bank, _ = build(respond, tmp_path, kind, ROWS[:10])
    assert len(bank) == 9


def test_many_poisonous_rows_do_not_look_like_a_dead_server(tmp_path):
    bad = [n for n in range(100) if n % 3 == 0]
    with pytest.warns(UserWarning, match="lacks rows: 34 "):
        bank, _ = build(poisoned((500, {"error": "NaN"}), *bad), tmp_path, inputs_per_request=8)
    assert bank.manifest.missing == {"failed in every try (500: NaN)": bad}


@pytest.mark.parametrize("status", [500, 503])
def test_a_server_that_fails_at_everything_ends_the_asking(tmp_path, status):
    asked = []

    def respond(path, body):
        asked.append(body)
        return status, {"error": "out of memory"}

    with pytest.raises(
        UnansweredError, match=rf"gave no answer in 2 tries \({status}: out of memory\): 0 answers are kept"
    ):
        build(respond, tmp_path, inputs_per_request=1)
    assert len(asked) < 20


def test_a_server_that_fails_at_everything_from_the_middle_on_ends_it_too(tmp_path):
    def respond(path, body):
        return (503, {"error": "gone"}) if any(int(t[7:-1]) >= 50 for t in body["input"]) else vectors(body)

    with pytest.raises(
        UnansweredError, match=r"gave no answer in 2 tries \(503: gone\): 50 answers are kept"
    ):
        build(respond, tmp_path, inputs_per_request=1)


def nan(path, body):
    status, reply = vectors(body)
    for entry, text in zip(reply["data"], body["input"]):
        if text in ("number 3.", "number 70."):
            entry["embedding"] = [float("nan")] * 4
    return status, json.dumps(reply).encode()


def test_a_vector_that_is_none_leaves_its_row_out(tmp_path):
    with pytest.warns(UserWarning, match="lacks rows: 2 "):
        bank, _ = build(nan, tmp_path)
    assert bank.manifest.missing == {"an embedding with NaN or Inf": [3, 70]}


def test_vectors_that_a_server_only_has_for_single_texts(tmp_path):
    def respond(path, body):
        status, reply = vectors(body)
        if len(body["input"]) > 1:
            for entry in reply["data"]:
                entry["embedding"] = []
        return status, reply

    bank, _ = build(respond, tmp_path, rows=ROWS[:10])
    assert len(bank) == 10


@pytest.mark.parametrize(
    "words",
    [
        "batch size {n} > maximum allowed batch size 8",
        "Too many inputs: batch size is at most 8",
        "at most 8 inputs",
    ],
)
def test_a_server_that_takes_fewer_texts_is_told_once(tmp_path, words):
    def respond(path, body):
        n = len(body["input"])
        return (422, {"error": words.format(n=n)}) if n > 8 else vectors(body)

    bank, server = build(respond, tmp_path)
    assert len(bank) == 100
    sizes = [len(body["input"]) for body in server.bodies]
    assert sum(size > 8 for size in sizes) <= 4  # those in flight
    assert max(sizes[-4:]) <= 8


def test_a_batch_of_too_many_tokens_is_halved(tmp_path):
    def respond(path, body):
        too_many = sum(map(len, body["input"])) > 300
        words = "Requested 400 tokens, max 300 tokens per request"
        return (400, {"error": {"message": words}}) if too_many else vectors(body)

    bank, _ = build(respond, tmp_path)
    assert len(bank) == 100


def test_many_rows_that_are_too_long_do_not_end_it(tmp_path):
    def respond(path, body):
        too_long = any(int(text[7:-1]) < 40 for text in body["input"])
        words = "This model's maximum context length is 8 tokens"
        return (400, {"error": {"message": words}}) if too_long else vectors(body)

    with pytest.warns(UserWarning, match="lacks rows: 40 "):
        bank, _ = build(respond, tmp_path, inputs_per_request=1)
    assert len(bank) == 60


def test_a_server_for_which_everything_is_too_long_is_not_asked_to_the_end(tmp_path):
    asked = []

    def respond(path, body):
        asked.append(body)
        return 413, b"Payload Too Large"

    many = [{"id": i, "text": f"number {i}."} for i in range(1000)]
    with pytest.raises(
        UnansweredError, match=r"answered none of the last 10\d questions .*Payload Too Large"
    ):
        build(respond, tmp_path, rows=many, inputs_per_request=1)
    assert len(asked) < 120


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ((401, {"error": "bad"}), ConfigError, r"wants a key \(401: bad\); put it into the variable OPENAI_API_KEY"),
        ((402,
        {"error": {"message": "Insufficient Balance"}}), ConfigError, r"nothing left to spend \(402: Insufficient"),
        ((429, {"error": {"code": "insufficient_quota",
        "message": "no quota"}}), ConfigError, "left to spend .*no quota"),
        ((403, {"error": {"code": "unsupported_country_region_territory",
        "message": "Country not supported"}}), ConfigError,
         r"not open to this country or network \(403: Country not supported\)"),
        ((403, {"error": {"code": "model_not_found", "message": "Project has no access to model m"}}), ConfigError,
         r"does not allow this \(403: Project has no access to model m\).*does not say that the key is wrong"),
        ((403, b"<!DOCTYPE html><title>Attention Required! | Cloudflare</title>"), ConfigError,
         r"a page for people \(403: Attention Required! \| Cloudflare\), not the API"),
        ((200,
        b"<html><title>New API</title></html>"), ConfigError, r"a page for people \(200: New API\).*often ends in /v1"),
        ((404,
        {"detail": "Not Found"}), UnknownNameError, r"has the model.*at /embeddings|serve the model .* at /embeddings"),
        ((400,
        {"error": {"message": "Invalid model name passed in model=x"}}), UnknownNameError, "Its words: Invalid model"),
        ((405, b"Method Not Allowed"), UnknownNameError, "Its words: Method Not Allowed"),
    ],
)  # fmt: skip
def test_what_no_row_can_change_ends_it_at_the_first_request(tmp_path, monkeypatch, fault, error, words):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    asked = []

    def respond(path, body):
        asked.append(body)
        return fault

    with pytest.raises(error, match=words) as caught:
        build(respond, tmp_path)
    assert isinstance(caught.value, LimbeckError)
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("headers", "words"), [({"Retry-After": "1"}, ""), ({}, "Please try again in 1s."), ({}, "slow down")]
)
def test_a_rate_limit_is_waited_for(tmp_path, headers, words):
    left = iter([True, True])

    def respond(path, body):
        return (429, {"error": {"message": words}}, headers) if next(left, False) else vectors(body)

    bank, server = build(respond, tmp_path, rows=ROWS[:5], retries=3, inputs_per_request=1, probe=0)
    assert (len(bank), len(server.asked)) == (5, 5 + 2)
