"""Keys and addresses of a server: used, and shown nowhere."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest
from teachers.asked import ROWS, check_account, teacher_of
from teachers.fault_server import KEY, FaultServer

from limbeck.banks import Bank
from limbeck.errors import ConfigError, UnansweredError
from limbeck.teachers.api.teacher import APITeacher


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
    said = "refuses the key in OPENAI_API_KEY (401: Incorrect API key: Bearer ***)"
    assert str(caught.value) == f"The server {server.url} {said}; put a valid one there and run again."
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


def test_openai_itself_is_not_asked_without_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    teacher = APITeacher("small", licence="unknown", store=tmp_path / "answers.sqlite")
    with pytest.raises(ConfigError, match="into the variable OPENAI_API_KEY"):
        Bank.build(tmp_path / "bank", teacher, ROWS)
