"""A teacher behind a real server that misbehaves: what it answered is kept, asked once, and the bank says the rest.

Every test ends with the same account, see :func:`check_account`.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from teachers.fault_server import KEY, FaultServer, embedding

from limbeck.errors import ConfigError, InconsistentOutputError, UnansweredError, UnknownNameError
from limbeck.signals import Bank, bank_info
from limbeck.signals.ahead import RowBatches
from limbeck.signals.answers import AnswerStore
from limbeck.signals.rows import Columns
from limbeck.teachers.api import APITeacher
from limbeck.teachers.limits import Limits, Prices

ROWS = [{"id": f"k{n}", "text": f"text {n:03d}"} for n in range(24)]
QUICK: dict[str, Any] = {"concurrency": 4, "retries": 4, "backoff": 0.01, "timeout": 5.0}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FaultServer]:
    with FaultServer(tmp_path) as running:
        yield running


def teacher_of(
    server: FaultServer, folder: Path, limits: dict[str, Any] | None = None, **options: Any
) -> APITeacher:
    given: dict[str, Any] = {"licence": "unknown", "probe": 0, "inputs_per_request": 1} | options
    given |= {"limits": Limits(**(QUICK | (limits or {}))), "store": folder / "answers.sqlite"}
    return APITeacher("small", base_url=server.url, **given)


def check_account(
    server: FaultServer, folder: Path, bank: Bank | None, rows: list[dict[str, str]] = ROWS
) -> None:
    """Every answer that left the server is in the store; none was asked again; the bank holds each, or says why not."""
    answered = server.answered()
    assert set(answered.values()) <= {1}
    with AnswerStore(folder / "answers.sqlite") as store:
        assert store.count() >= len(answered)
    if bank is not None:
        missing = {key for keys in bank.manifest.missing.values() for key in keys}
        assert set(bank.keys) | missing == {row["id"] for row in rows}
        there = [row for row in rows if row["id"] not in missing]
        expected = torch.tensor([embedding(row["text"]) for row in there])
        assert torch.equal(bank.lookup([row["id"] for row in there]).features, expected)


def failures(folder: Path) -> dict[str, int]:
    lines = [json.loads(line) for line in (folder / "build.jsonl").read_text().splitlines()]
    return next(line["failures"] for line in reversed(lines) if line["event"] == "asked")


@pytest.mark.parametrize(
    ("fault", "counted"),
    [
        ({"do": "status", "status": 429}, "429"),
        ({"do": "status", "status": 500}, "500"),
        ({"do": "status", "status": 502}, "502"),
        ({"do": "reset"}, "connection lost"),
        ({"do": "malformed"}, "malformed answer"),
        ({"do": "reply", "body": {"error": {"message": "overloaded"}}}, "error in a 200 answer"),
        ({"do": "reply", "body": [1, 2]}, "malformed answer"),
        ({"do": "reply", "body": {}}, "no embeddings"),
        ({"do": "empty"}, "no embeddings"),
        ({"do": "shuffle"}, None),
    ],
)
@pytest.mark.parametrize("per_request", [1, 5])
def test_a_passing_fault_leaves_a_complete_bank(
    server: FaultServer, tmp_path: Path, fault: dict[str, Any], counted: str | None, per_request: int
) -> None:
    server.fault(times=3, **fault)
    bank = Bank.build(tmp_path / "bank", teacher_of(server, tmp_path, inputs_per_request=per_request), ROWS)
    check_account(server, tmp_path, bank)
    assert bank.manifest.missing == {}
    assert failures(tmp_path / "bank") == ({counted: 3} if counted else {})


def test_the_bank_has_the_bytes_of_an_undisturbed_build(server: FaultServer, tmp_path: Path) -> None:
    plain = Bank.build(tmp_path / "plain", teacher_of(server, tmp_path), ROWS, shard_size=10)
    server.fault("status", status=500, times=4)
    other = tmp_path / "other"
    Bank.build(tmp_path / "bank", teacher_of(server, other), ROWS, shard_size=10)
    names = [name for name in os.listdir(tmp_path / "plain") if name not in (".lock", "build.jsonl")]
    for name in names:
        assert (tmp_path / "bank" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes(), name
    assert len(plain) == 24


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_honoured(server: FaultServer, tmp_path: Path, as_date: bool) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    server.fault("status", status=429, headers={"Retry-After": date if as_date else "1"}, match="text 010")
    bank = Bank.build(tmp_path / "bank", teacher_of(server, tmp_path), ROWS)
    check_account(server, tmp_path, bank)
    first, again = [r["time"] for r in server.requests() if r["inputs"] == ["text 010"]]
    assert again - first > (0.5 if as_date else 0.95)  # a date counts whole seconds


@pytest.mark.parametrize("do", ["silence", "drip"])
def test_a_request_that_takes_too_long_is_repeated(server: FaultServer, tmp_path: Path, do: str) -> None:
    server.fault(do, times=2)
    bank = Bank.build(tmp_path / "bank", teacher_of(server, tmp_path, {"timeout": 0.8}), ROWS)
    check_account(server, tmp_path, bank)
    assert failures(tmp_path / "bank") == {"time-out": 2}


def test_a_wrong_width_is_an_error_that_names_the_rows(server: FaultServer, tmp_path: Path) -> None:
    server.fault("width", match="text 007", times=100)
    teacher = teacher_of(server, tmp_path, probe=1, inputs_per_request=4)
    with pytest.raises(
        InconsistentOutputError, match=r"width 5 instead of 8 for 1 keys: 'k7'; the other answers"
    ):
        Bank.build(tmp_path / "bank", teacher, ROWS)
    check_account(server, tmp_path, None)
    with AnswerStore(tmp_path / "answers.sqlite") as store:
        assert store.count() == 23
    with FaultServer(tmp_path) as mended:  # another one in its place; a new port is another endpoint
        mended.port = server.port
        server.stop()
        mended.stop()
        mended.start()
        bank = Bank.build(tmp_path / "bank", teacher, ROWS)
    check_account(mended, tmp_path, bank)


def test_what_is_refused_or_empty_is_left_out_and_named(server: FaultServer, tmp_path: Path) -> None:
    refusal = {"error": {"code": "content_policy_violation", "message": "I must not say"}}
    server.fault("status", status=400, body=refusal, match="text 003", times=100)
    server.fault("empty", match="text 005", times=100)
    server.fault(
        "status", status=400, body={"error": {"code": "context_length_exceeded"}}, match="text 009", times=9
    )
    teacher = teacher_of(server, tmp_path)
    with pytest.warns(UserWarning, match=r"lacks rows: 1 \(no embeddings\)"):
        bank = Bank.build(tmp_path / "bank", teacher, ROWS)
    check_account(server, tmp_path, bank)
    assert bank.manifest.missing == {
        "no embeddings": ["k5"],
        "refused by the server (content_policy_violation)": ["k3"],
        "refused by the server (context_length_exceeded)": ["k9"],
    }
    assert bank_info(tmp_path / "bank")["missing"]["no embeddings"] == 1
    with pytest.raises(KeyError, match=r"no answer for 'k3' \(refused by the server \(content_policy"):
        bank.lookup(["k1", "k3"])
    assert server.asked()["text 003"] == 1
    assert server.asked()["text 005"] == 5


def test_a_finished_bank_asks_nothing_and_overwrite_asks_about_the_missing(
    server: FaultServer, tmp_path: Path
) -> None:
    server.fault("empty", match="text 005", times=5)
    teacher = teacher_of(server, tmp_path)
    with pytest.warns(UserWarning, match="lacks rows"):
        Bank.build(tmp_path / "bank", teacher, ROWS)
    n = len(server.requests())
    with pytest.warns(UserWarning, match="lacks rows"):
        Bank.build(tmp_path / "bank", teacher, ROWS)
    assert len(server.requests()) == n
    bank = Bank.build(tmp_path / "bank", teacher, ROWS, overwrite=True)
    assert len(server.requests()) == n + 1
    check_account(server, tmp_path, bank)
    assert len(bank) == 24


def test_a_bank_of_which_no_row_was_answered(server: FaultServer, tmp_path: Path) -> None:
    server.fault("status", status=400, body={"error": {"code": "content_filter"}}, times=100)
    with pytest.raises(ValueError, match=r"answered no row of the bank .*: 3 \(refused by the server"):
        Bank.build(tmp_path / "bank", teacher_of(server, tmp_path), ROWS[:3])


def test_a_wrong_key_is_one_sentence_and_shown_nowhere(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    secret = "sk-wrong-9f8e7d6c"
    monkeypatch.setenv("OPENAI_API_KEY", secret)
    with FaultServer(tmp_path, key=KEY) as server:
        teacher = teacher_of(server, tmp_path)
        with pytest.raises(ConfigError) as caught:
            Bank.build(tmp_path / "bank", teacher, ROWS)
        assert len(server.requests()) <= 4  # those in flight
    expected = f"The server {server.url} refuses the key in OPENAI_API_KEY (401); put a valid one there and run again."
    assert str(caught.value) == expected
    error: BaseException | None = caught.value
    shown = [
        repr(teacher),
        "".join(traceback.format_exception(caught.value)),
        caplog.text,
        *capsys.readouterr(),
    ]
    while error is not None:
        shown += [str(error), repr(error), repr(vars(error))]
        error = error.__cause__ or error.__context__
    assert not any(secret in text for text in shown)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 3
    assert not any(secret.encode() in path.read_bytes() for path in files)


def test_a_right_key_reaches_the_server_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    with FaultServer(tmp_path, key=KEY) as server:
        teacher = teacher_of(server, tmp_path, api_key_env="MY_KEY")
        bank = Bank.build(tmp_path / "bank", teacher, ROWS)
        check_account(server, tmp_path, bank)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(KEY.encode() in path.read_bytes() for path in files)


def test_a_key_with_a_line_break_is_used_and_one_that_no_header_can_carry_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultServer(tmp_path, key=KEY) as server:
        teacher = teacher_of(server, tmp_path)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-né")
        with pytest.raises(ConfigError, match="variable OPENAI_API_KEY holds no key") as caught:
            teacher({"text": ["a"]})
        assert "sk-n" not in str(caught.value)
        monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\n")
        assert teacher({"text": ["a"]}).features is not None


def test_user_and_password_of_an_address_are_sent_and_not_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    with FaultServer(tmp_path) as server:
        address = server.url.replace("127.0.0.1", "me:my-secret@127.0.0.1")
        teacher = APITeacher("small", base_url=address, licence="unknown", store=tmp_path / "a.sqlite")
        assert teacher({"text": ["a"]}).features is not None
    assert "my-secret" not in caplog.text


def test_a_key_that_the_server_repeats_is_cut_out_before_its_words_are_cut(
    server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-long-secret-key")
    body = {"error": {"message": "x" * 192 + "sk-long-secret-key"}}
    server.fault("status", status=400, body=body, times=100)
    with pytest.raises(UnansweredError, match=r"x{100}") as caught:
        Bank.build(tmp_path / "bank", teacher_of(server, tmp_path), ROWS)
    assert "sk-long" not in str(caught.value)


def test_calls_of_the_teacher_itself_share_one_budget(server: FaultServer, tmp_path: Path) -> None:
    teacher = teacher_of(server, tmp_path, {"max_requests": 5})
    teacher({"text": ["a", "b", "c"]})
    with pytest.raises(UnansweredError, match="budget of 5 requests is spent"):
        teacher({"text": ["d", "e", "f"]})
    with pytest.raises(UnansweredError, match="budget of 5 requests is spent"):
        teacher({"text": ["g"]})
    assert len(server.requests()) == 5


def test_a_server_that_was_silent_may_be_asked_again(server: FaultServer, tmp_path: Path) -> None:
    teacher = teacher_of(server, tmp_path, {"retries": 0})
    server.fault("status", status=500)
    with pytest.raises(UnansweredError, match="no answer in 1 tries"):
        teacher({"text": ["a"]})
    assert teacher({"text": ["a"]}).features is not None


def test_answers_of_two_widths_in_the_store_are_told(server: FaultServer, tmp_path: Path) -> None:
    teacher = teacher_of(server, tmp_path)
    Bank.build(tmp_path / "one", teacher, ROWS[1:3])
    server.fault("width", times=100)
    with pytest.raises(InconsistentOutputError, match="holds embeddings of widths 5 and 8 from one model"):
        Bank.build(tmp_path / "two", teacher_of(server, tmp_path), ROWS[:4])


def test_what_was_paid_stays_in_the_log_of_a_bank_that_is_built_anew(
    server: FaultServer, tmp_path: Path
) -> None:
    server.fault("empty", match="text 005", times=5)
    teacher = teacher_of(server, tmp_path)
    with pytest.warns(UserWarning, match="lacks rows"):
        Bank.build(tmp_path / "bank", teacher, ROWS)
    Bank.build(tmp_path / "bank", teacher, ROWS, overwrite=True)
    lines = (tmp_path / "bank" / "build.jsonl").read_text().splitlines()
    asked = [line for line in map(json.loads, lines) if line["event"] == "asked"]
    assert [line["answers"] for line in asked] == [23, 1]


def test_openai_itself_is_not_asked_without_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    teacher = APITeacher("small", licence="unknown", store=tmp_path / "answers.sqlite")
    with pytest.raises(ConfigError, match="into the variable OPENAI_API_KEY"):
        Bank.build(tmp_path / "bank", teacher, ROWS)


def test_an_unknown_model_names_the_nearest(server: FaultServer, tmp_path: Path) -> None:
    server.fault("status", status=404, times=100)
    teacher = APITeacher(
        "smal",
        base_url=server.url,
        licence="unknown",
        limits=Limits(**QUICK),
        store=tmp_path / "answers.sqlite",
    )
    with pytest.raises(UnknownNameError, match="has no model 'smal'; did you mean 'small'"):
        Bank.build(tmp_path / "bank", teacher, ROWS)


def test_a_server_dies_at_half_and_comes_back(server: FaultServer, tmp_path: Path) -> None:
    server.fault("die", match="text 012")
    teacher = teacher_of(server, tmp_path)
    with pytest.raises(UnansweredError) as caught:
        Bank.build(tmp_path / "bank", teacher, ROWS)
    kept = len(server.answered())
    assert 8 <= kept <= 16
    message = str(caught.value)
    silent = f"The server {server.url} gave no answer in 5 tries (connection lost)"
    assert message.startswith(f"{silent}: {kept} answers are kept")
    assert f"{24 - kept} of 24 rows still lack one" in message
    check_account(server, tmp_path, None)
    server.stop()
    server.start()
    bank = Bank.build(tmp_path / "bank", teacher, ROWS)
    check_account(server, tmp_path, bank)


def test_a_budget_stops_says_what_is_left_and_the_next_run_goes_on(
    server: FaultServer, tmp_path: Path
) -> None:
    teacher = teacher_of(server, tmp_path, {"max_requests": 10}, probe=3)
    words = r"budget of 10 requests is spent: 8 answers .* 16 of 24 rows still lack one .*0 requests are left"
    with pytest.raises(UnansweredError, match=words):
        Bank.build(tmp_path / "bank", teacher, ROWS)
    with pytest.raises(UnansweredError, match="6 of 24 rows"):
        Bank.build(tmp_path / "bank", teacher, ROWS)
    bank = Bank.build(tmp_path / "bank", teacher, iter(ROWS))
    assert len(server.requests()) == 26  # two of them only for the probe
    assert len(bank) == 24


def test_a_budget_that_ends_in_the_probe_is_told_with_the_rows(server: FaultServer, tmp_path: Path) -> None:
    with pytest.raises(UnansweredError, match=r"budget of 2 requests is spent: 1 answers .* 23 of 24 rows"):
        Bank.build(tmp_path / "bank", teacher_of(server, tmp_path, {"max_requests": 2}, probe=3), ROWS)


def test_a_budget_of_money(server: FaultServer, tmp_path: Path) -> None:
    prices = Prices(input=1e5)  # the server counts 10 tokens a text: 1 each; estimated are 3, 0.3 each
    with pytest.raises(ConfigError, match="needs prices="):
        teacher_of(server, tmp_path, {"max_cost": 5.0})
    with pytest.raises(UnansweredError, match="budget of 5 is spent"):
        Bank.build(tmp_path / "bank", teacher_of(server, tmp_path, {"max_cost": 5.0}, prices=prices), ROWS)
    assert 5 <= len(server.requests()) <= 8  # at most those in flight more, whose price was underestimated


def test_two_banks_ask_once(server: FaultServer, tmp_path: Path) -> None:
    Bank.build(tmp_path / "one", teacher_of(server, tmp_path), ROWS[:16])
    bank = Bank.build(tmp_path / "two", teacher_of(server, tmp_path, inputs_per_request=7), ROWS)
    check_account(server, tmp_path, bank)


def test_a_plan_says_what_would_be_asked(server: FaultServer, tmp_path: Path) -> None:
    prices = Prices(input=1.0, request=0.01)
    teacher = teacher_of(server, tmp_path, prices=prices, inputs_per_request=10)
    plan = teacher.plan(RowBatches(ROWS, Columns()))
    assert (plan.questions, plan.already, plan.requests, plan.tokens) == (24, 0, 3, 72)
    assert plan.cost == pytest.approx(24 * (3e-6 + 0.001))
    assert not (tmp_path / "answers.sqlite").exists()
    Bank.build(tmp_path / "bank", teacher, ROWS[:9])
    plan = teacher.plan(RowBatches([*ROWS, {"id": "twin", "text": "text 000"}], Columns()))
    assert (plan.questions, plan.already, plan.requests) == (24, 9, 2)


def test_a_teacher_that_changes_its_mind_is_warned_about(server: FaultServer, tmp_path: Path) -> None:
    other = {"data": [{"index": 0, "embedding": embedding("something else")}]}
    server.fault("reply", body=other, match="text 000")
    with pytest.warns(
        UserWarning, match=r"answers one question differently each time \(spread 0\.\d+ over 3"
    ):
        Bank.build(tmp_path / "bank", teacher_of(server, tmp_path, probe=3), ROWS[:2])


def test_what_a_teacher_must_be_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="terms of 'small' say about training on its outputs"):
        APITeacher("small", licence=" ")
    with pytest.raises(UnknownNameError, match="no kind 'embedings'; did you mean 'embeddings'"):
        APITeacher("small", kind="embedings", licence="unknown")
    with pytest.raises(UnknownNameError, match="no option 'dimension'; did you mean 'dimensions'"):
        APITeacher("small", licence="unknown", dimension=3)
    with pytest.raises(ConfigError, match="base_url"):
        APITeacher("small", licence="unknown", base_url="localhost")
    shown = repr(APITeacher("small", licence="unknown", base_url="http://me:secret@host/v1"))
    assert shown == "APITeacher('small', kind='embeddings', endpoint='http://host/v1')"


def test_an_empty_text_is_refused_before_anything_is_asked(server: FaultServer, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="empty text"):
        Bank.build(tmp_path / "bank", teacher_of(server, tmp_path), [{"id": "a", "text": " "}])
    assert server.requests() == []


BUILD = """
import sys
from pathlib import Path
from limbeck.signals import Bank
from limbeck.teachers.api import APITeacher
from limbeck.teachers.limits import Limits
folder, url = Path(sys.argv[1]), sys.argv[2]
rows = [{"id": f"k{n}", "text": f"text {n:03d}"} for n in range(int(sys.argv[3]))]
teacher = APITeacher("small", base_url=url, licence="unknown", probe=0, inputs_per_request=1,
                     limits=Limits(concurrency=4), store=folder / "answers.sqlite")
Bank.build(folder / "bank", teacher, rows, shard_size=50)
"""


def start_build(folder: Path, server: FaultServer, n: int) -> subprocess.Popen[bytes]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", BUILD, str(folder), server.url, str(n)], env=environment)


@pytest.mark.slow
def test_a_killed_build_loses_at_most_what_was_in_flight(tmp_path: Path) -> None:
    """kill -9 at random moments, again and again: at most the 4 requests in flight are asked again each time."""
    n, kills, draw = 400, 0, random.Random(0)
    rows = [{"id": f"k{i}", "text": f"text {i:03d}"} for i in range(n)]
    with FaultServer(tmp_path, latency=0.03) as server:
        while True:
            before = len(server.requests())
            build = start_build(tmp_path, server, n)
            until = draw.randint(1, 80)
            while len(server.requests()) - before < until and build.poll() is None:
                time.sleep(0.003)
            if build.poll() is not None:
                assert build.returncode == 0
                break
            time.sleep(draw.uniform(0, 0.05))
            os.kill(build.pid, signal.SIGKILL)
            build.wait()
            kills += 1
        assert kills >= 4
        assert len(server.requests()) <= n + 4 * kills
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            bank = Bank.open(tmp_path / "bank")
        expected = torch.tensor([embedding(row["text"]) for row in rows])
        assert torch.equal(bank.lookup([row["id"] for row in rows]).features, expected)


@pytest.mark.slow
def test_two_processes_ask_each_question_once(tmp_path: Path) -> None:
    with FaultServer(tmp_path, latency=0.02) as server:
        teacher = teacher_of(server, tmp_path)
        other = start_build(tmp_path, server, len(ROWS))
        Bank.build(tmp_path / "mine", teacher, ROWS)
        assert other.wait() == 0
        check_account(server, tmp_path, Bank.open(tmp_path / "bank"))
        check_account(server, tmp_path, Bank.open(tmp_path / "mine"))
