"""What the tests of paid teachers share: rows, a teacher of a local server, and the account each test closes with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from teachers.chat_server import Server
from teachers.fault_server import FaultServer, embedding

from limbeck.banks import Bank
from limbeck.banks.answers import AnswerStore
from limbeck.teachers.api.limits import Limits
from limbeck.teachers.api.teacher import APITeacher

ROWS = [{"id": f"k{n}", "text": f"text {n:03d}"} for n in range(24)]


QUICK: dict[str, Any] = {"concurrency": 4, "retries": 4, "backoff": 0.01, "timeout": 5.0}


def teacher_of(
    server: FaultServer, folder: Path, limits: dict[str, Any] | None = None, **options: Any
) -> APITeacher:
    given: dict[str, Any] = {"licence": "unknown", "probe": 0, "inputs_per_request": 1} | options
    given |= {"limits": Limits(**(QUICK | (limits or {}))), "store": folder / "answers.sqlite"}
    return APITeacher("small", base_url=server.url, **given)


def build_from(
    respond: Callable[[str, dict[str, Any]], tuple[Any, ...]],
    folder: Path,
    kind: str,
    rows: list[dict[str, Any]],
    *,
    retries: int = 1,
    name: str = "b",
    **options: Any,
) -> tuple[Bank, Server]:
    """A bank asked of a server that answers as ``respond`` says, and the server, which is gone again."""
    server = Server(respond)
    given: dict[str, Any] = {"class_names": ["cat", "dog"]} if kind == "chat" else {}
    given |= {"limits": Limits(concurrency=4, retries=retries, backoff=0.001), "store": folder / "a.sqlite"}
    try:
        teacher = APITeacher("tiny-chat", kind=kind, base_url=server.url, licence="own", **(given | options))
        return Bank.build(folder / name, teacher, rows), server
    finally:
        server.close()


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
