"""Keys and addresses of a server: used, and shown nowhere."""

from __future__ import annotations

import asyncio
import pickle
import traceback
import warnings
from pathlib import Path

import pytest
from teachers.asked import ROWS, check_account, teacher_of
from teachers.chat_server import Server, picture, said, vectors
from teachers.fault_server import KEY, FaultServer

from limbeck.banks import Bank
from limbeck.errors import ConfigError, LimbeckError, UnansweredError, UnknownNameError
from limbeck.teachers.api.limits import Limits
from limbeck.teachers.api.questions import Stop, Transient
from limbeck.teachers.api.server import Server as HTTPServer
from limbeck.teachers.api.server import _proxy_of
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


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("kind", ["embeddings", "chat"])
def test_no_redirect_is_followed(tmp_path, monkeypatch, status, kind):
    """Neither questions nor key reach the address that a server leads on to."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    other = Server(lambda path, body: vectors(body) if "input" in body else said("dog"))
    path = "/embeddings" if kind == "embeddings" else "/chat/completions"
    address = {"Location": f"{other.url}{path}?key={KEY}"}
    server = Server(lambda path, body: (status, b"", address))
    options = {"class_names": ["cat", "dog"]} if kind == "chat" else {}
    try:
        teacher = APITeacher(
            "m", kind=kind, base_url=server.url, licence="own", store=tmp_path / "a.sqlite", **options
        )
        with pytest.raises(ConfigError) as caught:
            Bank.build(tmp_path / "bank", teacher, ROWS)
    finally:
        server.close()
        other.close()
    words = f"leads on to another address ({status}), {other.url}; nothing was sent there: give base_url={other.url!r}"
    assert words in str(caught.value)
    assert KEY not in str(caught.value)
    assert (len(server.asked), other.asked) == (1, [])


def test_a_redirect_within_the_server_names_its_address(tmp_path):
    server = Server(lambda path, body: (308, b"", {"Location": "/api/v1/embeddings"}))
    try:
        teacher = APITeacher("m", base_url=server.url, licence="own", store=tmp_path / "a.sqlite")
        with pytest.raises(ConfigError, match=rf"give base_url='{server.url[:-3]}/api/v1' if"):
            teacher({"text": ["a"]})
    finally:
        server.close()


def test_a_list_of_models_that_leads_on_is_not_followed(tmp_path, monkeypatch):
    """Also the questions that are asked about the server itself."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with FaultServer(tmp_path) as other:
        server = Server(lambda path, body: (404, {"error": "no"}))
        server.listing = (302, b"", {"Location": f"{other.url}/models"})
        try:
            teacher = APITeacher("m", base_url=server.url, licence="own", store=tmp_path / "a.sqlite")
            with pytest.raises(UnknownNameError, match=r"no such endpoint \(404\)"):
                teacher({"text": ["a"]})
        finally:
            server.close()
        assert other.requests() == []


def test_a_picture_whose_address_leads_on_is_not_fetched(tmp_path):
    other = Server(lambda path, body: (200, b""))
    server = Server(lambda path, body: (200, {"data": [{"url": f"{server.url}/picture"}]}))
    server.listing = (302, b"", {"Location": f"{other.url}/picture"})
    other.listing = (200, picture((255, 0, 0))[1], {})
    try:
        teacher = APITeacher(
            "m", kind="images", base_url=server.url, licence="own", store=tmp_path / "a.sqlite", fetch=True,
            limits=Limits(retries=1, backoff=0.01),
        )  # fmt: skip
        with pytest.raises(UnansweredError, match="a picture whose address leads on to another"):
            teacher.answers({"text": ["red"]})
    finally:
        server.close()
        other.close()


ECHOES = [
    (401, {"error": {"message": KEY}}),
    (403, {"error": {"message": f"Invalid API key {KEY}", "code": KEY, "type": KEY, "param": KEY}}),
    (400, {"error": {"message": f"headers: Authorization: Bearer {KEY}", "code": KEY}}),
    (422, {"detail": [{"loc": ["header", KEY], "msg": f"bad {KEY}"}]}),
    (404, {"error": f"{KEY} not found"}),
    (500, f"Traceback ... {KEY}".encode()),
    (429, {"error": {"message": f"slow down {KEY}"}}),
    (403, f"<html><title>Blocked {KEY}</title></html>".encode()),
    (302, b""),
    (200, {"error": {"message": KEY, "code": KEY}}),
    (200, {"choices": [{"message": {"content": f"The key is {KEY}: dog"}, "finish_reason": KEY}]}),
]


@pytest.mark.parametrize(("status", "body"), ECHOES)
def test_a_key_that_the_server_repeats_anywhere_is_seen_nowhere(
    tmp_path, monkeypatch, caplog, capsys, status, body
):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    caplog.set_level("DEBUG")
    echo = {"X-Echo": KEY, "WWW-Authenticate": f"Bearer {KEY}", "Location": f"http://127.0.0.1:9/{KEY}"}
    server = Server(lambda path, asked: (status, body, echo))
    server.listing = (200, {"data": [{"id": f"{KEY}-model"}]}, echo)
    teacher = APITeacher(
        "tiny", kind="text", base_url=server.url, licence="own", store=tmp_path / "a.sqlite",
        limits=Limits(retries=1, backoff=0.01),
    )  # fmt: skip
    error: BaseException | None = None
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            Bank.build(tmp_path / "bank", teacher, ROWS[:3])
        except LimbeckError as failure:
            error = failure
        finally:
            server.close()
            teacher.store.close()
    shown = [
        caplog.text,
        *capsys.readouterr(),
        repr(teacher),
        repr(vars(teacher)),
        *(str(w.message) for w in told),
    ]
    if error is not None:
        shown.append("".join(traceback.format_exception(error)))
    while error is not None:
        shown += [str(error), repr(error), repr(vars(error))]
        error = error.__cause__ or error.__context__
    assert not [text for text in shown if KEY in text]
    kept = pickle.dumps(teacher)
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(KEY.encode() in content for content in [*files, kept])


@pytest.mark.parametrize("proxy", ["http://me:secret-of-mine@127.0.0.1:9", "127.0.0.1:9"])
def test_a_proxy_of_the_environment_is_used_and_not_pickled(monkeypatch, proxy):
    monkeypatch.setenv("HTTP_PROXY", "")
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    server = HTTPServer("small", "http://models.example/v1", "MY_KEY")

    async def ask() -> bytes:
        with pytest.raises(Transient, match="connection lost"):
            await server.post("/embeddings", {"model": "small", "input": "a"})
        pickled = pickle.dumps(server)
        await server.close()
        return pickled

    assert b"secret-of-mine" not in asyncio.run(ask())
    monkeypatch.setenv("no_proxy", "models.example")
    assert _proxy_of("http://models.example/v1") is None
    assert _proxy_of("http://other.example/v1") == (proxy if "://" in proxy else f"http://{proxy}")


def test_a_proxy_of_another_kind_is_told(monkeypatch):
    monkeypatch.setenv("all_proxy", "socks5://127.0.0.1:9")
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(Stop, match="kind socks5, and only http proxies are used; name one in http_proxy"):
        _proxy_of("http://models.example/v1")
