"""What is asked, paid and left to ask: budgets, plans, probes, finished banks, killed and parallel builds."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
import torch
from teachers.asked import ROWS, check_account, teacher_of
from teachers.fault_server import FaultServer, embedding

from limbeck.banks import Bank
from limbeck.banks.left_out import RowBatches
from limbeck.banks.rows import RowColumns
from limbeck.errors import ConfigError, UnansweredError, UnknownNameError
from limbeck.teachers.api.limits import Prices
from limbeck.teachers.api.teacher import APITeacher


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


def test_calls_of_the_teacher_itself_share_one_budget(server: FaultServer, tmp_path: Path) -> None:
    teacher = teacher_of(server, tmp_path, {"max_requests": 5})
    teacher({"text": ["a", "b", "c"]})
    with pytest.raises(UnansweredError, match="budget of 5 requests is spent"):
        teacher({"text": ["d", "e", "f"]})
    with pytest.raises(UnansweredError, match="budget of 5 requests is spent"):
        teacher({"text": ["g"]})
    assert len(server.requests()) == 5


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
    plan = teacher.plan(RowBatches(ROWS, RowColumns()))
    assert (plan.questions, plan.already, plan.requests, plan.tokens) == (24, 0, 3, 72)
    assert plan.cost == pytest.approx(24 * (3e-6 + 0.001))
    assert not (tmp_path / "answers.sqlite").exists()
    Bank.build(tmp_path / "bank", teacher, ROWS[:9])
    plan = teacher.plan(RowBatches([*ROWS, {"id": "twin", "text": "text 000"}], RowColumns()))
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
from limbeck.banks import Bank
from limbeck.teachers.api.teacher import APITeacher
from limbeck.teachers.api.limits import Limits
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
