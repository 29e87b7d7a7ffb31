"""Chats, free texts and pictures of a server, over HTTP, into a bank; nothing is asked twice."""

from __future__ import annotations

import json
import math
import warnings

import numpy as np
import pytest
import torch
from teachers.chat_server import KEY, Server, error, picture, said

from limbeck.banks import Bank
from limbeck.banks.answers import Answer
from limbeck.errors import BankError, ConfigError, DataError, UnknownNameError
from limbeck.teachers.api.limits import Limits, Prices
from limbeck.teachers.api.teacher import APITeacher

ROWS = [{"id": f"r{i}", "text": text} for i, text in enumerate(["it purrs", "it barks", "it meows"])]
NAMES = ["cat", "dog"]
LIMITS = Limits(concurrency=4, retries=3, timeout=10, backoff=0.01)


@pytest.fixture
def served(monkeypatch):
    """``served(respond)`` starts a server; the key is in the environment."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    servers = []

    def start(respond):
        servers.append(Server(respond))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def teacher(server, tmp_path, kind="chat", **options):
    options = {"licence": "allowed", "limits": LIMITS, "store": tmp_path / "answers.sqlite", **options}
    if kind == "chat":
        options = {"class_names": NAMES, **options}
    return APITeacher("tiny-chat", kind=kind, base_url=server.url, **options)


def question(body) -> str:
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else " ".join(p.get("text", "") for p in content)


def is_dog(body) -> bool:
    return "barks" in question(body)


def with_log_probs(path, body):
    p = 0.25 if is_dog(body) else 0.75
    mark = "B" if is_dog(body) else "A"
    return said(
        mark, top=[[(mark, math.log(max(p, 1 - p))), ("BA"["AB".index(mark)], math.log(min(p, 1 - p)))]]
    )


def by_word(path, body):
    return said("dog" if is_dog(body) else "The answer is cat.")


def test_log_probabilities_of_label_tokens(served, tmp_path):
    server = served(with_log_probs)
    bank = Bank.build(tmp_path / "b", teacher(server, tmp_path), ROWS)
    assert bank.lookup(["r0", "r1", "r2"]).log_probs.exp().numpy() == pytest.approx(
        np.array([[0.75, 0.25], [0.25, 0.75], [0.75, 0.25]]), abs=1e-6
    )
    assert (bank.class_names, bank.access, bank.signals) == (("cat", "dog"), "logits", {"log_probs"})
    assert bank.manifest.notes["probabilities"] == "logprobs"
    assert question(server.bodies[0]) == (
        "it purrs\n\nWhich of these classes fits best?\nA. cat\nB. dog\nAnswer with the letter only."
    )
    assert server.bodies[0]["top_logprobs"] == 20
    assert server.bodies[0]["temperature"] == 0
    n = len(server.asked)
    assert n == 3 + 2  # the probe sends the first row twice more
    Bank.build(tmp_path / "again", teacher(server, tmp_path), ROWS)
    Bank.build(tmp_path / "b", teacher(server, tmp_path), ROWS)
    assert len(server.asked) == n


def test_without_log_probabilities_one_named_class_is_taken(served, tmp_path):
    server = served(by_word)
    bank = Bank.build(tmp_path / "b", teacher(server, tmp_path), ROWS)
    assert bank.manifest.notes["probabilities"] == "verbalised"
    assert bank.lookup(["r1"]).log_probs.exp().tolist()[0] == pytest.approx([0.05, 0.95])
    assert "logprobs" not in server.bodies[-1]
    n = len(server.asked)
    server.close()  # the choice is the same without a server
    again = Bank.build(tmp_path / "again", teacher(server, tmp_path), ROWS)
    assert (again.manifest.notes, len(server.asked)) == (bank.manifest.notes, n)


def test_a_server_that_refuses_log_probabilities(served, tmp_path):
    def respond(path, body):
        return error(400, "logprobs is not supported") if "logprobs" in body else by_word(path, body)

    server = served(respond)
    bank = Bank.build(tmp_path / "b", teacher(server, tmp_path), ROWS)
    assert bank.manifest.notes["probabilities"] == "verbalised"
    n = len(server.asked)
    Bank.build(tmp_path / "again", teacher(server, tmp_path), ROWS)
    assert len(server.asked) == n
    with pytest.raises(ConfigError, match="gives no log-probabilities"):
        Bank.build(tmp_path / "c", teacher(server, tmp_path, probabilities="logprobs"), ROWS)


def test_a_first_row_that_is_no_use_does_not_decide(served, tmp_path):
    """The first row is refused or answered by a name, but the server gives log-probabilities."""

    def respond(path, body):
        if "purrs" in question(body):
            return said(None, finish_reason="content_filter")
        if "test" in question(body):
            return said("A", top=[[("A", -0.1)]])
        return with_log_probs(path, body)

    with pytest.warns(UserWarning, match="lacks rows"):
        bank = Bank.build(tmp_path / "b", teacher(served(respond), tmp_path), ROWS)
    assert bank.manifest.notes["probabilities"] == "logprobs"
    assert bank.manifest.missing == {"refused by the server (content_filter)": ["r0"]}


def test_samples_are_questions_of_their_own(served, tmp_path):
    counter = iter(range(1000))

    def respond(path, body):
        return said("dog" if next(counter) % 4 == 0 else "cat")

    server = served(respond)
    options = {"probabilities": "samples", "probe": 0}
    four = teacher(server, tmp_path, samples=4, **options)
    bank = Bank.build(tmp_path / "b", four, ROWS[:1])
    assert bank.lookup(["r0"]).log_probs.exp().tolist()[0] == pytest.approx([3.5 / 5, 1.5 / 5])
    assert bank.manifest.notes == {**bank.manifest.notes, "probabilities": "samples", "samples": 4}
    assert (len(server.asked), server.bodies[0]["temperature"]) == (4, 1)
    eight = teacher(server, tmp_path, samples=8, **options)
    plan = eight.plan([_batch(ROWS[:1])])
    assert (plan.questions, plan.already, plan.requests) == (8, 4, 4)  # the first four are not asked again
    assert eight.fingerprint() != four.fingerprint()


def _batch(rows):
    from limbeck.banks.rows import RowColumns, RowReader

    return RowReader(rows, RowColumns()).take(len(rows))


def test_an_answer_that_names_no_class_is_asked_for_again_and_then_left_out(served, tmp_path):
    tries = {}

    def respond(path, body):
        text = question(body)
        tries[text] = tries.get(text, 0) + 1
        if "meows" in text:
            return said("I would rather not.")
        return said("Hm." if tries[text] == 1 else "dog")

    server = served(respond)
    with pytest.warns(UserWarning, match="1 .names no class"):
        bank = Bank.build(
            tmp_path / "b", teacher(server, tmp_path, probabilities="verbalised", probe=0), ROWS
        )
    assert bank.manifest.missing == {"names no class": ["r2"]}
    assert sorted(tries.values()) == [2, 2, 3]
    costs = [json.loads(x) for x in (tmp_path / "b" / "build.jsonl").read_text().splitlines()]
    asked = next(line for line in costs if line["event"] == "asked")
    assert (asked["failures"], asked["tokens"]) == ({"names no class": 4}, 7 * 22)  # useless answers cost too
    n = len(server.asked)
    with pytest.warns(UserWarning, match="lacks rows"):
        Bank.build(tmp_path / "again", teacher(server, tmp_path, probabilities="verbalised", probe=0), ROWS)
    assert len(server.asked) == n


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (said(None, message={"content": None, "refusal": "no"}), "refused by the model"),
        (said("", finish_reason="length"), "cut before it said anything (raise max_tokens)"),
        (said(""), "an empty answer"),
        ((200, {"choices": []}), "no choices"),
        ((200, {"choices": [{"message": None}]}), "no choices"),
        (said("dog", message={"content": [{"type": "image"}]}), "no text"),
        (
            error(400, "too long", "context_length_exceeded"),
            "refused by the server (context_length_exceeded)",
        ),
    ],
)
def test_rows_without_an_answer_are_missing_with_their_reason(served, tmp_path, answer, reason):
    server = served(lambda path, body: answer if is_dog(body) else said("cat"))
    with pytest.warns(UserWarning, match="lacks rows"):
        bank = Bank.build(tmp_path / "b", teacher(server, tmp_path, probabilities="verbalised"), ROWS)
    assert bank.manifest.missing == {reason: ["r1"]}
    assert len(bank) == 2


def test_free_text(served, tmp_path):
    server = served(lambda path, body: said(question(body).upper()))
    told = teacher(server, tmp_path, "text", prompt='Why {"json"}: {text}?', system="Be brief.", max_tokens=9)
    bank = Bank.build(tmp_path / "b", told, ROWS)
    assert bank.lookup(["r1"]).text == ['WHY {"JSON"}: IT BARKS?']
    assert server.bodies[0]["messages"][0] == {"role": "system", "content": "Be brief."}
    assert server.bodies[0]["max_tokens"] == 9
    longer = teacher(
        server, tmp_path, "text", options={"max_completion_tokens": 5, "temperature": None}, max_tokens=9
    )
    longer({"text": ["x"]})
    assert server.bodies[-1].keys() == {"model", "messages", "max_completion_tokens"}
    prompts = [
        teacher(server, tmp_path, "text", **o).fingerprint()
        for o in ({"prompt": "a {text}"}, {"system": "s"}, {})
    ]
    assert len({p["parameters"] for p in prompts}) == 3


def test_pictures_and_sounds_are_seen_by_their_content(served, tmp_path):
    def respond(path, body):
        parts = body["messages"][-1]["content"]
        kinds = [part["type"] for part in parts]
        assert kinds == ["text", "image_url", "text", "input_audio", "text"], parts
        return said("B" if parts[1]["image_url"]["url"].endswith(ends[1]) else "A")

    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 6, 6), dtype=np.uint8)
    from limbeck.teachers.media import media_of

    ends = [media_of(p).data_url()[-40:] for p in pixels]
    wave = {"array": np.zeros(80), "sampling_rate": 8000}
    rows = [{"id": i, "photo": torch.from_numpy(p), "sound": wave} for i, p in enumerate(pixels)]
    server = served(respond)
    seeing = teacher(server, tmp_path, prompt="Look: {photo} and hear {sound}", probabilities="verbalised")
    bank = Bank.build(tmp_path / "b", seeing, rows)
    assert bank.lookup([0, 1]).log_probs.argmax(1).tolist() == [0, 1]
    n = len(server.asked)
    rows[0]["photo"] = pixels[0].transpose(1, 2, 0)  # the same picture in another form
    Bank.build(tmp_path / "c", seeing, rows[:1])
    assert len(server.asked) == n
    rows[0]["photo"] = 255 - pixels[0]
    Bank.build(
        tmp_path / "d",
        teacher(server, tmp_path, prompt=seeing.kind.prompt.template, probabilities="verbalised", probe=0),
        rows[:1],
    )
    assert len(server.asked) == n + 1


def test_the_teachers_own_spread(served, tmp_path):
    counter = iter(range(1000))

    def respond(path, body):
        p = (0.9, 0.5)[next(counter) % 2]
        return said("A", top=[[("A", math.log(p)), ("B", math.log(1 - p))]])

    with pytest.warns(UserWarning, match="answers one question differently each time"):
        Bank.build(tmp_path / "b", teacher(served(respond), tmp_path), ROWS)
    log = [json.loads(x) for x in (tmp_path / "b" / "build.jsonl").read_text().splitlines()]
    spread = next(line for line in log if line["event"] == "probe")["spread"]
    assert spread == pytest.approx(0.4 * 2 / 3, abs=1e-4)
    words = teacher(served(lambda p, b: said(f"text {next(counter)}")), tmp_path, "text")
    with pytest.warns(UserWarning, match=r"spread 0.667"):
        Bank.build(tmp_path / "t", words, ROWS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Bank.build(tmp_path / "s", teacher(served(with_log_probs), tmp_path), ROWS)


def test_a_dry_run_counts_and_asks_nothing(served, tmp_path):
    server = served(by_word)
    new = teacher(server, tmp_path, prices=Prices(1.0, 2.0))
    plan = new.plan([_batch(ROWS)])
    assert (plan.questions, plan.already, plan.requests, len(server.asked)) == (3, 0, 3, 0)
    assert plan.tokens > 60
    assert plan.cost > 0
    Bank.build(tmp_path / "b", teacher(server, tmp_path), ROWS[:2])
    n = len(server.asked)
    plan = teacher(server, tmp_path).plan([_batch(ROWS)])
    assert (plan.questions, plan.already, plan.requests) == (3, 2, 1)  # the choice is read from the store
    assert len(server.asked) == n


@pytest.mark.parametrize(
    ("options", "problem", "words"),
    [
        ({"kind": "chatt"}, UnknownNameError, "no kind 'chatt'; did you mean 'chat'"),
        ({"class_names": None}, ConfigError, "at least two classes"),
        ({"probabilities": "logprob"}, UnknownNameError, "did you mean 'logprobs'"),
        ({"samples": 0}, ConfigError, "samples must be at least 1"),
        ({"smoothing": 0}, ConfigError, "smoothing"),
        ({"doubt": 1}, ConfigError, "doubt"),
        ({"temperature": -1}, ConfigError, "temperature"),
        ({"max_tokens": 0}, ConfigError, "max_tokens"),
        ({"temprature": 1}, UnknownNameError, "did you mean 'temperature'"),
        (
            {"class_names": [f"c{i}" for i in range(40)], "probabilities": "logprobs"},
            ConfigError,
            "at most 26",
        ),
        ({"licence": ""}, ConfigError, "licence="),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_asked(tmp_path, options, problem, words):
    options = {"kind": "chat", "class_names": NAMES, "licence": "allowed", "store": tmp_path / "a", **options}
    with pytest.raises(problem, match=words):
        APITeacher("tiny-chat", base_url="http://127.0.0.1:9/v1", **options)


@pytest.mark.parametrize(
    ("row", "options", "problem", "words"),
    [
        ({"text": "  "}, {}, DataError, "key 0 .*: There is nothing in the column 'text'"),
        ({"text": None}, {}, DataError, "key 0 .*: There is nothing in the column 'text'"),
        ({"text": "x"}, {"prompt": "{txt}"}, UnknownNameError, "did you mean 'text'"),
        ({"text": ["a", "b"]}, {}, DataError, "holds list"),
    ],
)
def test_rows_that_cannot_be_asked(served, tmp_path, row, options, problem, words):
    server = served(by_word)
    with pytest.raises(problem, match=words):
        Bank.build(tmp_path / "b", teacher(server, tmp_path, **options), [{"id": 0, **row}])
    assert not server.asked


def test_the_key_is_seen_by_the_server_alone(served, tmp_path):
    server = served(lambda path, body: said("cat") if not is_dog(body) else error(400, f"bad key {KEY}"))
    made = teacher(server, tmp_path)
    with pytest.warns(UserWarning, match="lacks rows") as caught:
        Bank.build(tmp_path / "b", made, ROWS)
    made.store.close()
    assert all(
        {k.lower(): v for k, v in headers.items()}["authorization"] == f"Bearer {KEY}"
        for _, _, headers in server.asked
    )
    assert KEY not in repr(made) + str(made.__dict__) + "".join(str(w.message) for w in caught)
    for file in tmp_path.rglob("*"):
        assert file.is_dir() or KEY.encode() not in file.read_bytes(), file


def test_a_prompt_without_a_column_would_ask_every_row_the_same(served, tmp_path):
    server = served(by_word)
    with pytest.raises(DataError, match=r"prompt names no column, .* write \{text\}"):
        Bank.build(tmp_path / "b", teacher(server, tmp_path, prompt="Is it {classes}?"), ROWS)
    assert server.asked == []


def test_tokens_of_a_picture_are_paid_as_the_server_counts_them(served, tmp_path):
    status, drawn = picture((255, 0, 0))
    server = served(
        lambda path, body: (status, {**drawn, "usage": {"input_tokens": 10, "output_tokens": 4000}})
    )
    drawer = teacher(server, tmp_path, "images", prices=Prices(input=1e6, output=1e6))
    drawer.answers({"text": ["red"]})
    assert drawer._spent.cost == pytest.approx(4010)


def test_an_answer_of_another_form_leaves_the_row_out(served, tmp_path):
    server = served(
        lambda path, body: (200, {"choices": [{"message": {"content": "A"}, "logprobs": {"content": 3}}]})
    )
    forced = teacher(server, tmp_path, probabilities="logprobs", probe=0)
    with pytest.raises((ConfigError, BankError), match=r"no log-probabilities|cannot be read"):
        Bank.build(tmp_path / "b", forced, ROWS)


def test_thinking_is_not_read_as_the_answer(served, tmp_path):
    """An answer cut within its thinking says nothing; where it comes in a field of its own it is left out."""
    answers = {
        "r0": said("<think>\nIt may be a dog (B). The answer is B? No, it purrs.\n</think>\n\nA"),
        "r1": said("It purrs like a cat.\n</think>\n\nB"),
        "r2": said("<think>\nAnswer: A would be a cat. But", finish_reason="length"),
        "r3": said(None, message={"content": None, "reasoning_content": "It is a cat."}),
        "r4": said("B", message={"content": "B", "reasoning_content": "It is a cat. The answer is A."}),
        "r5": said(
            None, message={"content": [{"type": "thinking", "thinking": "A"}, {"type": "text", "text": "B"}]}
        ),
    }
    server = served(
        lambda path, body: next(a for key, a in answers.items() if f"row {key}" in question(body))
    )
    rows = [{"id": key, "text": f"row {key}"} for key in answers]
    with pytest.warns(UserWarning, match="lacks rows"):
        bank = Bank.build(
            tmp_path / "b", teacher(server, tmp_path, probabilities="verbalised", max_tokens=400), rows
        )
    assert bank.manifest.missing == {
        "cut before it said anything (raise max_tokens)": ["r2"],
        "nothing but thinking": ["r3"],
    }
    assert bank.lookup(["r0", "r1", "r4", "r5"]).log_probs.argmax(1).tolist() == [0, 1, 1, 1]


def test_free_text_is_without_thinking_too(served, tmp_path):
    server = served(lambda path, body: said("<think>hm</think>\n\nBecause it barks.<|im_end|>"))
    bank = Bank.build(tmp_path / "b", teacher(server, tmp_path, "text"), ROWS[:1])
    assert bank.lookup(["r0"]).text == ["Because it barks."]


def test_half_of_a_character_becomes_a_whole_one(served, tmp_path):
    server = served(lambda path, body: (200, b'{"choices": [{"message": {"content": "a \\ud83d"}}]}'))
    bank = Bank.build(tmp_path / "b", teacher(server, tmp_path, "text"), ROWS[:1])
    assert bank.lookup(["r0"]).text == ["a \ufffd"]


@pytest.mark.parametrize(
    "reply",
    [
        {"choices": [{"index": 0, "text": "dog", "finish_reason": "stop"}]},
        {"choices": [{"index": 1, "message": {"content": "cat"}}, {"index": 0, "message": {"content": "dog"}}]},
        {"choices": [None, {"message": {"content": "dog"}}]},
        {"choices": [{"delta": {"content": "dog"}}]},
        {"message": {"role": "assistant", "content": "dog"}, "done_reason": "stop"},
        b'data: {"choices": [{"delta": {"content": "do"}}]}\n\n'
        b'data: {"choices": [{"delta": {"content": "g"}}]}\n\ndata: [DONE]\n',
    ],
)  # fmt: skip
def test_completions_in_other_shapes(served, tmp_path, reply):
    bank = Bank.build(
        tmp_path / "b",
        teacher(served(lambda path, body: (200, reply)), tmp_path, probabilities="verbalised"),
        ROWS,
    )
    assert bank.lookup(["r0"]).log_probs.argmax() == 1


@pytest.mark.parametrize("finish", ["content_filter", "SAFETY", "sensitive", "PROHIBITED_CONTENT"])
def test_answers_that_are_held_back(served, tmp_path, finish):
    server = served(lambda path, body: said("dog", finish_reason=finish) if is_dog(body) else said("cat"))
    with pytest.warns(UserWarning, match="lacks rows"):
        bank = Bank.build(tmp_path / "b", teacher(server, tmp_path, probabilities="verbalised"), ROWS)
    assert bank.manifest.missing == {f"refused by the server ({finish.casefold()})": ["r1"]}


def test_an_answer_that_an_earlier_version_read_otherwise(served, tmp_path):
    """What is kept and names no class by today's reading leaves its row out; it is not asked again."""
    server = served(by_word)
    plain = {"probabilities": "verbalised", "probe": 0}
    made = teacher(server, tmp_path, **plain)
    identity = made._exchange.questions({"text": ["it barks"]})[0][0].identity
    made.store.put(identity, Answer({"text": "It is not a dog."}))
    with pytest.warns(UserWarning, match="lacks rows"):
        bank = Bank.build(tmp_path / "b", made, ROWS)
    assert bank.manifest.missing == {"names no class": ["r1"]}
    assert len(server.asked) == 2
    with pytest.raises(BankError, match=r"no answer to row 0 .*names no class"):
        teacher(server, tmp_path, **plain)({"text": ["it barks"]})


def test_a_picture_in_other_forms(served, tmp_path):
    coded = picture((255, 0, 0))[1]["data"][0]["b64_json"]
    wrapped = "\n".join(coded[i : i + 20] for i in range(0, len(coded), 20))
    for n, reply in enumerate(
        [
            {"data": [{"b64_json": wrapped}]},
            {"data": [{"b64_json": coded.rstrip("=")}]},
            {"data": [{"b64_json": f"data:image/png;base64,{coded}"}]},
            {"data": [coded]},
            {"data": {"b64_json": coded}},
            {"images": [{"url": f"data:image/png;base64,{coded}"}]},
            {"artifacts": [{"base64": coded}]},
        ]
    ):
        server = served(lambda path, body, reply=reply: (200, reply))
        (answer,) = teacher(server, tmp_path / str(n), "images").answers({"text": ["red"]})[0]
        assert answer.blob.startswith(b"\x89PNG")
