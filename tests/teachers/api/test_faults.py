"""A teacher behind a real server that misbehaves: what it answered is kept, asked once, and the bank says the rest.

Every test ends with the same account, see :func:`teachers.asked.check_account`.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from teachers.asked import QUICK, ROWS, check_account, failures, teacher_of
from teachers.fault_server import FaultServer

from limbeck.banks import Bank, bank_info
from limbeck.banks.answers import AnswerStore
from limbeck.errors import InconsistentOutputError, UnansweredError, UnknownNameError
from limbeck.teachers.api.limits import Limits
from limbeck.teachers.api.teacher import APITeacher


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
    then = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=3)
    headers = {"Retry-After": format_datetime(then, usegmt=True) if as_date else "1"}
    server.fault("status", status=429, headers=headers, match="text 010")
    bank = Bank.build(tmp_path / "bank", teacher_of(server, tmp_path), ROWS)
    check_account(server, tmp_path, bank)
    first, again = [r["time"] for r in server.requests() if r["inputs"] == ["text 010"]]
    assert again > (then.timestamp() - 0.05 if as_date else first + 0.95)


@pytest.mark.parametrize("do", ["silence", "drip"])
def test_a_request_that_takes_too_long_is_repeated(server: FaultServer, tmp_path: Path, do: str) -> None:
    server.fault(do, times=2)
    bank = Bank.build(tmp_path / "bank", teacher_of(server, tmp_path, {"timeout": 0.8}), ROWS)
    check_account(server, tmp_path, bank)
    assert failures(tmp_path / "bank") == {"time-out": 2}


@pytest.mark.parametrize(
    ("do", "reason", "per_request"),
    [
        ("silence", "time-out", 1),
        ("reset", "connection lost", 1),
        ("reset", "connection lost", 6),
        ("malformed", "malformed answer", 6),
    ],
)
@pytest.mark.full
def test_a_row_that_a_living_server_never_answers_is_left_out(
    server: FaultServer, tmp_path: Path, do: str, reason: str, per_request: int
) -> None:
    server.fault(do, match="text 010", times=1000)
    teacher = teacher_of(server, tmp_path, {"timeout": 1.0, "retries": 1}, inputs_per_request=per_request)
    for name in ("bank", "again"):  # also where nothing else is left to ask
        with pytest.warns(UserWarning, match="lacks rows: 1 "):
            bank = Bank.build(tmp_path / name, teacher, ROWS)
        assert bank.manifest.missing == {f"failed in every try ({reason})": ["k10"]}
        check_account(server, tmp_path, bank)


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


def test_a_bank_of_which_no_row_was_answered(server: FaultServer, tmp_path: Path) -> None:
    server.fault("status", status=400, body={"error": {"code": "content_filter"}}, times=100)
    with pytest.raises(ValueError, match=r"answered no row of the bank .*: 3 \(refused by the server"):
        Bank.build(tmp_path / "bank", teacher_of(server, tmp_path), ROWS[:3])


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
