"""What a server says of a request that it did not answer, and what that is about."""

from __future__ import annotations

import json

import pytest

from limbeck.teachers.api.said.complaints import complaint_of
from limbeck.teachers.api.said.masking import Mask
from limbeck.teachers.api.said.subjects import batch_limit, subject_of


def complaint(status, body, **headers):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return complaint_of(
        status, {k.replace("_", "-"): v for k, v in headers.items()}, content, Mask(["sk-secret-0123456789"])
    )


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "too long", "type": "invalid_request_error"}}, "too long"),  # OpenAI
        ({"error": "model not found"}, "model not found"),  # Ollama
        ({"object": "error", "message": "no", "code": 400}, "no"),  # vLLM
        ({"detail": "Not Found"}, "Not Found"),  # FastAPI
        ({"detail": [{"loc": ["body", "n"], "msg": "extra fields not permitted"}]},
        "body.n: extra fields not permitted"),
        ([{"error": {"code": 400, "message": "API key not valid", "status": "INVALID_ARGUMENT"}}], "API key not valid"),
        ({"code": 20015, "message": "The parameter is invalid.", "data": None}, "The parameter is invalid."),
        ({"base_resp": {"status_code": 1004, "status_msg": "login fail"}}, "login fail"),  # MiniMax
        ({"errors": [{"message": "one"}, {"message": "two"}]}, "one; two"),
        ({"error": {"message": "Provider returned error", "metadata": {"raw": '{"error":{"message":"bad role"}}'}}},
         "Provider returned error: bad role"),  # OpenRouter
        ({"error": {"message": '{"error": {"message": "inner"}}'}}, "inner"),
        (b"upstream connect error\n", "upstream connect error"),
        (b"<html><head><title>Attention Required!</title></head><body>x</body></html>", "Attention Required!"),
        ({"reason": "rate"}, "rate"),
        ({"odd": 3}, '"odd": 3'),
        (b"", ""), ({}, ""), (b"\x00\x1b[31mred\r\nline", "[31mred line"), (b"x" * 1000, "x" * 297 + "..."),
    ],
)  # fmt: skip
def test_the_servers_own_words(body, words):
    assert complaint(400, body).words == words


SAID = [
    (301, b"", "redirect"), (302, b"", "redirect"), (307, b"", "redirect"), (308, b"", "redirect"),
    (401, {"error": "Unauthorized"}, "key"), (401, {"error": {"message": "quota"}}, "key"),
    (403, {"error": {"message": "Incorrect API key provided"}}, "key"), (403, {"message": "Invalid token"}, "key"),
    (403, {"error": "Unauthorized"}, "key"), (400, {"error": {"message": "API key not valid."}}, "key"),
    (403, {"error": {"code": "unsupported_country_region_territory", "message": "Country not supported"}}, "region"),
    (403, {"error": {"message": "User location is not supported for the API use."}}, "region"),
    (403, {"error": {"code": "model_not_found", "message": "Project does not have access to model gpt-9"}}, "access"),
    (403, {"error": {"message": "You are not allowed to request logprobs from this model"}}, "access"),
    (403, {"error": {"message": "Forbidden"}}, "access"), (403, b"", "access"),
    (403, b"<!DOCTYPE html><title>Attention Required! | Cloudflare</title>", "page"),
    (403, {"code": 30001, "message": "Sorry, your account balance is insufficient"}, "money"),
    (402, {"error": {"message": "Insufficient Balance"}}, "money"), (402, b"", "money"),
    (429, {"error": {"code": "insufficient_quota", "message": "You exceeded your current quota"}}, "money"),
    (429, {"error": {"message": "You exceeded your current quota, please check your plan", "type": "x"}}, "money"),
    (429, [{"error": {"message": "You exceeded your current quota", "details": [{"retryDelay": "34s"}]}}], "rate"),
    (429, {"error": {"message": "Rate limit reached. Please try again in 1.2s."}}, "rate"),
    (429, {"error": {"message": "Request too large: tokens per minute (TPM): Limit 10000, Requested 15000"}}, "length"),
    (400, {"error": {"code": "content_filter"}}, "policy"), (400, {"error": {"code": "data_inspection_failed"}},
    "policy"),
    (403, {"error": {"message": "requires moderation, your input was flagged"}}, "policy"),
    (400, {"error": {"message": "Your request was rejected as a result of our safety system."}}, "policy"),
    (400, {"error": {"code": "context_length_exceeded"}}, "length"), (413, b"Payload Too Large", "length"),
    (400, {"error": {"message": "This model's maximum context length is 8192 tokens, you requested 9000"}}, "length"),
    (400,
    {"message": "'max_tokens' or 'max_completion_tokens' is too large: 16. This model's maximum context length is "
                      "4096 tokens and your request has 4090 input tokens"}, "length"),
    (413, {"error": "`inputs` must have less than 512 tokens. Given: 830", "error_type": "Validation"}, "length"),
    (500, {"error": {"message": "input is too large to process. increase the physical batch size"}}, "length"),
    (400, {"error": {"message": "the request exceeds the available context size", "type": "exceed_context_size_error"}},
     "length"),
    (400, {"error": {"message": "max_tokens is too large: 99999. This model supports at most 16384 completion tokens"}},
     "request"),
    (422, {"error": "batch size 64 > maximum allowed batch size 32"}, "count"),
    (400, {"error": {"message": "Invalid 'input': array too long. Expected maximum length 2048"}}, "count"),
    (404, {"error": {"message": "The model `x` does not exist"}}, "model"),
    (404, {"error": "model 'x' not found, try pulling it first"}, "model"),
    (400, {"error": {"message": "Invalid model name passed in model=x"}}, "model"),
    (400, {"error": {"message": "x is not a valid model ID"}}, "model"),
    (404, {"detail": "Not Found"}, "path"), (404, b"404 page not found", "path"), (405, b"", "path"),
    (400, {"error": {"message": "logprobs are not supported with this model"}}, "request"),
    (422, {"detail": "?"}, "request"), (418, b"", "request"),
    (408, b"", "state"), (500, {"error": "NaN"}, "state"), (502, b"<html>Bad Gateway</html>", "state"), (529, b"",
    "state"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "subject"), SAID)
def test_what_it_is_about(status, body, subject):
    assert subject_of(complaint(status, body), 64) == subject


def test_only_what_means_the_key_is_called_the_key():
    assert {status for status, _, subject in SAID if subject == "key"} == {400, 401, 403}


@pytest.mark.parametrize(
    ("words", "limit"),
    [
        ("batch size 64 > maximum allowed batch size 32", 32),
        ("it should not be larger than 10.: input.contents", 10),
        ("at most 100 requests can be in one batch", 32),
        ("Too many inputs in request", 32),
    ],
)
def test_how_many_a_server_takes(words, limit):
    assert batch_limit(complaint(400, {"error": words}), 64) == limit


@pytest.mark.parametrize(
    ("body", "headers", "seconds"),
    [
        ({}, {"retry_after": "7"}, 7.0),
        ({"error": {"message": "Please try again in 1.2s."}}, {}, 1.2),
        ({"error": {"message": "Please try again in 20ms."}}, {}, 0.02),
        ({"error": {"message": "Please try again in 6m0s."}}, {}, 360.0),
        ({"error": {"message": "try again in 1h2m3s"}}, {}, 3723.0),
        ({"error": {"message": "Please retry after 30 seconds."}}, {}, 30.0),
        ({"error": {"message": "retry in 2 minutes"}}, {}, 120.0),
        ([{"error": {"details": [{"retryDelay": "34s"}]}}], {}, 34.0),
        ({"error": {"message": "Please try again in 9s."}}, {"retry_after": "2"}, 2.0),
        ({"error": {"message": "try again later. Limit 200 tokens"}}, {}, None),
        ({}, {"retry_after": "nan"}, None),
        ({}, {"retry_after": "inf"}, None),
    ],
)
def test_how_long_to_wait(body, headers, seconds):
    assert complaint(429, body, **headers).wait == seconds


def test_names_of_errors_and_fields():
    said = complaint(
        400, {"error": {"message": "m", "code": "bad_value", "param": "top_logprobs", "type": "t"}}
    )
    assert (said.code, said.param, said.type, said.short) == (
        "bad_value",
        "top_logprobs",
        "t",
        "bad_value: m",
    )
    assert complaint(400, {"object": "error", "message": "m", "code": 400}).short == "400: m"
    assert complaint(422, {"detail": [{"loc": ["body", "seed"], "msg": "extra"}]}).fields == ("body", "seed")


def test_no_field_shows_the_key():
    key = "sk-secret-0123456789"
    body = {
        "error": {"message": f"bad {key}", "code": key, "param": key, "type": key},
        "detail": [{"loc": [key]}],
    }
    assert key not in repr(complaint(400, body, location=f"https://x/?key={key}"))
    assert key not in repr(complaint(400, f"<html><title>{key}</title>".encode()))
