"""limbeck bank build and info with a model behind a server."""

from __future__ import annotations

import json
import re
import sys

import pytest
from raw_files import write_csv
from teachers.chat_server import KEY, Server, error, said

from limbeck import cli
from limbeck.banks import Bank

CHAT = ("--teacher", "api:tiny-chat", "--kind", "chat", "--class-names", "cat,dog")
LICENCE = ("--licence", "the terms allow it")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with texts in which the user stands, a key, and a server that answers "cat"."""
    write_csv(tmp_path / "t.csv", ("id", "text"), [("a", "it purrs"), ("b", "it meows"), ("c", "bad")])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    def respond(path, body):
        if body["model"] != "tiny-chat":
            return error(404, "no such model", "model_not_found")
        return said("I cannot say" if "bad" in str(body["messages"]) else "cat")

    server = Server(respond)
    yield server
    server.close()


def run(capsys, *arguments):
    code = cli.main(["bank", *arguments])
    out, err = capsys.readouterr()
    assert KEY not in out + err
    return code, out, err


def build(capsys, server, *options):
    where = ("--base-url", server.url, "--store", "s.sqlite", "--retries", "2")
    return run(capsys, "build", "--data", "t.csv", "--column", "text", "--output", "b", *where, *options)


def test_a_bank_of_a_chat(place, capsys):
    priced = ("--price-in", "1000", "--price-out", "2000")
    code, out, _ = build(capsys, place, *CHAT, "--dry-run", *priced)
    assert (code, place.asked) == (0, [])
    assert "3 different, 0 already in s.sqlite" in out
    assert "requests    3 and at most 2 to probe" in out
    assert "Nothing was asked." in out
    shown = json.loads(out.partition("a request   ")[2].splitlines()[0])
    assert shown["model"] == "tiny-chat"
    assert "it purrs" in str(shown["messages"])
    code, out, err = build(capsys, place, *CHAT, *LICENCE)
    assert code == 0, err
    assert re.fullmatch(
        r"b: 2 rows, log_probs\nasked in all: \d+ requests, \d+ tokens, cost unknown \(no prices were given\); "
        r"probabilities: verbalised\n",
        out,
    )
    assert "lacks rows: 1 (names no class)" in err
    assert Bank.open("b").class_names == ("cat", "dog")
    n = len(place.asked)
    assert "3 already in s.sqlite" in build(capsys, place, *CHAT, "--dry-run", *priced)[1]
    assert build(capsys, place, *CHAT, *LICENCE)[0] == 0
    assert len(place.asked) == n
    told = run(capsys, "info", "b")[1]
    for line in (
        "licence       the terms allow it",
        "how           probabilities: verbalised",
        "rows          2",
        f"asked         {n} requests",
    ):
        assert line in told
    assert "missing       1 rows (names no class): 'c'" in told
    assert "classes       2: cat, dog" in told


def test_a_spent_budget_and_going_on(place, capsys):
    options = (*CHAT, *LICENCE, "--probabilities", "verbalised", "--probe", "0")
    code, _, err = build(capsys, place, *options, "--max-requests", "1", "--concurrency", "1")
    first, second = err.splitlines()
    assert code == 1
    assert "budget is below the estimate (1 requests of about 3)" in first
    assert "budget of 1 requests is spent" in second
    assert build(capsys, place, *options)[0] == 0


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--teacher", "api:tiny-chaat", *LICENCE), 2, "did you mean 'tiny-chat'"),
        (CHAT, 2, "State what the terms of tiny-chat say"),
        (("--teacher", "api:m", "--kind", "chat"), 2, "--kind chat needs the classes"),
        (("--teacher", "api:m", "--kind", "chats"), 2, "invalid choice: 'chats'"),
        (("--teacher", "api:m", "--kind", "images"), 2, "--encoder hf:PATH"),
        (
            ("--teacher", "api:m", "--samples", "3"),
            2,
            "--samples is for --kind chat, not for --kind embeddings.",
        ),
        (("--teacher", "api:m", "--tower", "text"), 2, "--tower is for --teacher hf: or --kind images"),
        (("--teacher", "api:m", "--max-cost", "3"), 2, "--max-cost needs prices"),
        (("--teacher", "api:m", "--max-requests", "0", *LICENCE), 2, "max_requests is 0"),
        (
            (
                "--teacher",
                "hf:x",
            ),
            2,
            "is for --teacher api:, not for --teacher hf:.",
        ),
        (
            ("--teacher", "api:m", "--engine", "ray"),
            2,
            "--engine is for --teacher hf: or --teacher callable:",
        ),
        (("--teacher", "api:m", "--promt", "x"), 2, "did you mean '--prompt'"),
        (("--teacher", "api:m", "--column", "txt", *LICENCE), 2, "no column 'txt'; did you mean 'text'?"),
    ],
)
def test_what_does_not_fit_is_a_sentence_and_asks_nothing(place, capsys, monkeypatch, options, code, words):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    found, out, err = build(capsys, place, *options)
    assert (found, out, err.count("\n")) == (code, "", 1)
    assert words in err
    assert all(body["model"] == "tiny-chaat" for body in place.bodies)


def test_the_licence_is_asked_for_on_a_terminal(place, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: "as they told me")
    assert build(capsys, place, *CHAT)[0] == 0
    assert Bank.open("b").licence == "as they told me"


def test_help_needs_no_torch(capsys):
    import subprocess

    show = "import sys; from limbeck.cli import main\ntry: main(['bank', 'build', '--help'])\n"
    check = (
        show + "except SystemExit: pass\n"
        "assert not {'torch', 'datasets', 'openai', 'transformers'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--base-url" in done.stdout
