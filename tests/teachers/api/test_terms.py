"""A parameter that the server refuses is left out, renamed or changed, once for the run, and noted."""

from __future__ import annotations

import json
import warnings

import pytest
from teachers.asked import build_from
from teachers.chat_server import said, vectors

from limbeck.banks import Bank
from limbeck.errors import ConfigError, UnansweredError
from limbeck.teachers.api.said.complaints import of_body
from limbeck.teachers.api.said.masking import Mask
from limbeck.teachers.api.said.subjects import subject_of
from limbeck.teachers.api.teacher import APITeacher
from limbeck.teachers.api.terms import Terms

ROWS = [{"id": i, "text": f"row {i}"} for i in range(6)]
CHAT = {
    "model": "m",
    "messages": [],
    "temperature": 0.0,
    "max_tokens": 16,
    "logprobs": True,
    "top_logprobs": 20,
}


def refused(words, param=None, status=400):
    return status, {"error": {"message": words, "param": param}}


def learn(terms, body, words, param=None, status=400, detail=None):
    """Send, be refused, and learn: the body that is sent next, ``None`` where nothing can be changed."""
    sent = terms.applied(body, "q")
    what = {"detail": detail} if detail else {"error": {"message": words, "param": param}}
    complaint = of_body(status, what, Mask(()))
    return (
        terms.applied(body, "q") if terms.learn(body, sent, complaint, subject_of(complaint), "q") else None
    )


@pytest.mark.parametrize(
    ("words", "param", "changed"),
    [
        # left out
        ("Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is "
         "supported.", "temperature", {"temperature": None}),
        ("temperature is deprecated for this model", None, {"temperature": None}),
        ("Extra inputs are not permitted: `temperature`", None, {"temperature": None}),
        ("logprobs are not supported with this model", None, {"logprobs": None, "top_logprobs": None}),
        ("You are not allowed to request logprobs from this model", None, {"logprobs": None, "top_logprobs": None}),
        ("Invalid top_logprobs and logprobs value", None, {"logprobs": None, "top_logprobs": None}),
        ("litellm.UnsupportedParamsError: x does not support parameters: ['logprobs', 'top_logprobs']", None,
         {"logprobs": None, "top_logprobs": None}),
        ("Requested sample logprobs of 20, which is greater than max allowed: 0", None,
         {"logprobs": None, "top_logprobs": None}),
        # lowered
        ("Requested sample logprobs of 20, which is greater than max allowed: 5", None, {"top_logprobs": 5}),
        ("top_logprobs must be between 0 and 8", None, {"top_logprobs": 8}),
        ("Input should be less than or equal to 5", "top_logprobs", {"top_logprobs": 5}),
        ("Invalid value for 'top_logprobs': integer above maximum value. Expected a value <= 5, but got 20 instead.",
         "top_logprobs", {"top_logprobs": 5}),
        ("Range of max_tokens should be [1, 8]", None, {"max_tokens": 8}),
        ("max_tokens: 16 > 8, which is the maximum allowed number of output tokens", None, {"max_tokens": 8}),
        ("max_tokens is too large: 16. This model supports at most 8 completion tokens", "max_tokens",
        {"max_tokens": 8}),
        # raised
        ("Invalid 'max_tokens': integer below minimum value. Expected a value >= 32, but got 16", "max_tokens",
         {"max_tokens": 32}),
        ("`temperature` must be strictly positive", None, {"temperature": 0.01}),
        ("temperature must be in (0, 2)", None, {"temperature": 0.01}),
        # renamed
        ("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
         "max_tokens", {"max_tokens": None, "max_completion_tokens": 16}),
        ("max_tokens is not supported", None, {"max_tokens": None, "max_completion_tokens": 16}),
    ],
)  # fmt: skip
def test_a_named_parameter(words, param, changed):
    expected = {name: value for name, value in {**CHAT, **changed}.items() if value is not None}
    assert learn(Terms(), CHAT, words, param) == expected


@pytest.mark.parametrize("name", ["seed", "encoding_format", "dimensions", "response_format", "n", "top_k"])
def test_any_other_named_parameter_is_left_out(name):
    body = {"model": "m", "input": ["x"], name: "x"}
    for words, more in ((f"'{name}' is no parameter", {}), ("no", {"param": name})):
        assert learn(Terms(), body, words, **more) == {"model": "m", "input": ["x"]}
    assert learn(Terms(), body, "", detail=[{"loc": ["body", name], "msg": "extra"}]) == {
        "model": "m",
        "input": ["x"],
    }


def test_words_of_everyday_language_name_no_parameter():
    body = {"model": "m", "prompt": "x", "n": 1, "size": "1x1", "user": "u"}
    terms = Terms()
    terms.accepted(body, body)
    assert learn(terms, body, "The user must not send a picture of that size") is None


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "logprobs"), (429, "temperature"), (413, "max_tokens"),
        (400, "This model's maximum context length is 20 tokens; max_tokens and messages need 30"),
        (400, "flagged by moderation: temperature"),
    ],
)  # fmt: skip
def test_other_complaints_change_nothing(status, words):
    assert learn(Terms(), CHAT, words, status=status) is None


def test_what_was_taken_once_stays():
    terms = Terms()
    terms.accepted(CHAT, CHAT)
    assert learn(terms, CHAT, "temperature must be 1 for this text", "temperature") is None


def test_one_change_after_the_other():
    terms = Terms()
    learn(terms, CHAT, "use 'max_completion_tokens', not max_tokens")
    learn(terms, CHAT, "max_completion_tokens is not supported")
    assert learn(terms, CHAT, "temperature must be > 0") == {
        "model": "m", "messages": [], "temperature": 0.01, "logprobs": True, "top_logprobs": 20,
    }  # fmt: skip
    assert "temperature" not in learn(terms, CHAT, "temperature must be > 0")
    assert terms.changes == {
        "max_tokens": "sent as max_completion_tokens", "max_completion_tokens": "left out", "temperature": "left out",
    }  # fmt: skip


def test_another_value_is_sent_as_it_is():
    terms = Terms()
    learn(terms, CHAT, "temperature 0 is not supported")
    learn(terms, CHAT, "top_logprobs must be at most 5")
    assert terms.applied({**CHAT, "temperature": 1.0, "top_logprobs": 3}) == {
        **CHAT,
        "temperature": 1.0,
        "top_logprobs": 3,
    }


def test_a_request_that_was_on_its_way_is_sent_anew():
    terms = Terms()
    early = terms.applied(CHAT, "other")
    learn(terms, CHAT, "temperature is not supported")
    complaint = of_body(400, {"error": {"message": "temperature is not supported"}}, Mask(()))
    assert terms.learn(CHAT, early, complaint, "request", "other")
    assert len(terms.steps) == 1


def test_one_that_is_not_named_is_found():
    terms, body = (
        Terms(),
        {"model": "m", "input": ["x"], "encoding_format": "float", "dimensions": 3, "seed": 1},
    )
    tried = [learn(terms, body, "The parameter is invalid.") for _ in range(4)]
    assert [body.keys() - sent.keys() for sent in tried] == [
        {"encoding_format"}, {"seed"}, {"dimensions"}, {"encoding_format", "seed", "dimensions"},
    ]  # fmt: skip
    assert terms.applied(body, "another") == body  # on trial for one question alone
    assert learn(terms, body, "The parameter is invalid.") is None
    sent = learn(terms, body, "The parameter is invalid.")
    terms.accepted(body, sent, "q")
    assert terms.applied(body, "another") == sent
    assert terms.changes == {"encoding_format": "left out"}


def test_what_names_the_question_is_no_matter_of_parameters():
    assert learn(Terms(), CHAT, "bad", "messages[0].content") is None
    assert learn(Terms(), CHAT, "", detail=[{"loc": ["body", "messages"], "msg": "bad"}]) is None


def test_a_system_message_goes_before_the_question():
    terms = Terms()
    body = {
        "model": "m",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hm?"}],
    }
    assert learn(terms, body, "System role not supported")["messages"] == [
        {"role": "user", "content": "Be brief.\n\nHm?"}
    ]
    parts = [{"role": "system", "content": "S"}, {"role": "user", "content": [{"type": "image_url"}]}]
    assert terms.applied({"messages": parts})["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "S"}, {"type": "image_url"}]}
    ]


# ---- over HTTP ---------------------------------------------------------------------------------------------------


def build(respond, tmp_path, kind="chat", rows=ROWS, **options):
    return build_from(respond, tmp_path, kind, rows, retries=2, **options)


def choosy(path, body):
    if "max_tokens" in body:
        return refused(
            "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", "max_tokens"
        )
    if body.get("temperature", 1) != 1:
        return refused("Unsupported value: 'temperature' does not support 0 with this model.", "temperature")
    if "logprobs" in body:
        return refused("You are not allowed to request logprobs from this model", status=403)
    return said("dog")


def test_a_choosy_model_is_asked_as_it_likes(tmp_path):
    with pytest.warns(
        UserWarning, match=r"does not take temperature=0.0 .*does not support 0 .*it is left out in this run"
    ):
        bank, server = build(choosy, tmp_path)
    assert len(bank) == 6
    notes = bank.manifest.notes
    assert notes["probabilities"] == "verbalised"
    assert notes["changed_parameters"] == {
        "logprobs": "left out", "top_logprobs": "left out", "max_tokens": "sent as max_completion_tokens",
        "temperature": "left out",
    }  # fmt: skip
    status = [choosy(None, body)[0] for body in server.bodies]
    assert [s != 200 for s in status] == [True] * 3 + [False] * (
        len(status) - 3
    )  # each refused once for the whole run
    lines = [json.loads(line) for line in (tmp_path / "b" / "build.jsonl").read_text().splitlines()]
    changed = next(line for line in lines if line["event"] == "changed")
    assert "Use 'max_completion_tokens'" in changed["words"]["max_tokens"]


def test_a_bank_of_kept_answers_has_the_same_notes(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bank, server = build(choosy, tmp_path)
        teacher = APITeacher(
            "tiny-chat", kind="chat", base_url=server.url, licence="own", store=tmp_path / "a.sqlite",
            class_names=["cat", "dog"],
        )  # fmt: skip
        again = Bank.build(tmp_path / "again", teacher, ROWS)  # the server is gone
    assert again.manifest.notes == bank.manifest.notes


def test_fewer_listed_tokens_are_still_probabilities(tmp_path):
    def respond(path, body):
        if body.get("top_logprobs", 0) > 5:
            return refused("Requested sample logprobs of 20, which is greater than max allowed: 5")
        return said("B", top=[[("B", -0.105), ("A", -2.3)]])

    with pytest.warns(UserWarning, match=r"top_logprobs=20 .*changed to 5"):
        bank, server = build(respond, tmp_path)
    assert bank.manifest.notes["probabilities"] == "logprobs"
    assert bank.lookup([0]).log_probs.exp()[0, 1] == pytest.approx(0.9, abs=1e-3)
    assert [body["top_logprobs"] for body in server.bodies] == [20, *[5] * 8]


def test_the_form_of_vectors_is_left_to_the_server(tmp_path):
    def respond(path, body):
        if "encoding_format" in body:
            return 400, {
                "code": 20015,
                "message": "The parameter is invalid. Please check again.",
                "data": None,
            }
        return vectors(body)

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it changes nothing that a user would miss
        bank, server = build(respond, tmp_path, "embeddings")
    assert len(bank) == 6
    assert len(server.asked) == 2 + 2 + 1
    assert bank.manifest.notes["changed_parameters"] == {"encoding_format": "left out"}


def test_a_width_that_the_model_cannot_have_is_its_own(tmp_path):
    def respond(path, body):
        return (
            refused("Model does not support matryoshka, `dimensions`")
            if "dimensions" in body
            else vectors(body)
        )

    with pytest.warns(UserWarning, match="does not take dimensions=2"):
        bank, _ = build(respond, tmp_path, "embeddings", dimensions=2)
    assert bank.width("features") == 4


def test_forced_log_probabilities_that_are_refused(tmp_path):
    with (
        pytest.warns(UserWarning, match="logprobs"),
        pytest.raises(ConfigError, match="no log-probabilities"),
    ):
        build(choosy, tmp_path, probabilities="logprobs")


def test_a_server_that_breaks_down_over_log_probabilities(tmp_path):
    def respond(path, body):
        return (500, {"error": "list index out of range"}) if "logprobs" in body else said("dog")

    bank, _ = build(respond, tmp_path)
    assert (len(bank), bank.manifest.notes["probabilities"]) == (6, "verbalised")


def test_a_server_that_refuses_everything_costs_little(tmp_path):
    asked = []

    def respond(path, body):
        asked.append(body)
        return refused("This is a strange request")

    many = [{"id": i, "text": f"row {i}"} for i in range(500)]
    with pytest.raises(
        UnansweredError, match=r"answered none of the last \d+ questions .*This is a strange request"
    ):
        build(respond, tmp_path, "embeddings", rows=many, inputs_per_request=1, probe=0)
    assert len(asked) < 40
