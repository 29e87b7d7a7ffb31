"""The asking engine with servers that are functions: what is sent, repeated, kept, and when it stops."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest

from limbeck.banks.answers import Answer, AnswerStore
from limbeck.errors import ConfigError, DataError
from limbeck.teachers.api import asking
from limbeck.teachers.api.asking import Outcome, ask_all
from limbeck.teachers.api.limits import Limits, Prices, Spent
from limbeck.teachers.api.questions import BadAnswer, Question, Refused, Reply, Stop, Transient, WrongAnswer
from limbeck.teachers.api.said.complaints import retry_after
from limbeck.teachers.api.server import clean_url

QUICK = Limits(concurrency=4, retries=3, backoff=0.001)


class Server:
    """Notes what it is asked; ``fault(payload, n)`` raises at the n-th request that holds the payload."""

    def __init__(self, fault: Callable[[int, int], None] = lambda payload, n: None, pause: float = 0) -> None:
        self.fault, self.pause = fault, pause
        self.asked: Counter[int] = Counter()
        self.in_flight = self.most = 0
        self.times: list[float] = []

    async def __call__(self, questions: Sequence[Question]) -> Reply:
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        self.times.append(time.monotonic())
        try:
            await asyncio.sleep(self.pause)
            for question in questions:
                self.asked[question.payload] += 1
                self.fault(question.payload, self.asked[question.payload])
            return Reply([Answer({"n": question.payload}) for question in questions])
        finally:
            self.in_flight -= 1


def questions(numbers: Iterable[int], **estimates: float) -> list[Question]:
    return [Question(f"q{n}", n, **estimates) for n in numbers]  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> AnswerStore:
    return AnswerStore(tmp_path / "answers.sqlite")


def test_everything_is_asked_once_and_kept(store: AnswerStore) -> None:
    server = Server()
    outcome = ask_all(questions([*range(50), *range(10)]), server, store, QUICK)
    assert (outcome.answered, outcome.already, outcome.missing) == (50, 0, {})
    assert server.asked == Counter(range(50))
    assert store.get("q7") == Answer({"n": 7})
    again = ask_all(questions(range(60)), server, store, QUICK)
    assert (again.answered, again.already) == (10, 50)
    assert server.asked == Counter(range(60))


def test_requests_run_side_by_side_up_to_the_concurrency(store: AnswerStore) -> None:
    server = Server(pause=0.01)
    ask_all(questions(range(30)), server, store, Limits(concurrency=5))
    assert server.most == 5


def test_several_questions_a_request(store: AnswerStore) -> None:
    server = Server()
    outcome = ask_all(questions(range(50)), server, store, QUICK, per_request=8)
    assert outcome.spent.requests == 7
    assert store.count() == 50


def test_answers_that_arrive_together_are_kept_together_before_the_next_questions(
    store: AnswerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    put_many = AnswerStore.put_many

    def counted(self: AnswerStore, answers: dict[str, Answer], *about: str) -> None:
        written.append(len(answers))
        put_many(self, answers, *about)

    monkeypatch.setattr(AnswerStore, "put_many", counted)
    together, asked = asyncio.Barrier(4), list[str]()

    async def server(questions: Sequence[Question]) -> Reply:
        asked.extend(question.identity for question in questions)
        assert len(asked) - store.count() <= 4, "a kill here would lose more than is in flight"
        await together.wait()
        return Reply([Answer({"n": question.payload}) for question in questions])

    assert ask_all(questions(range(20)), server, store, QUICK).answered == 20
    assert sum(written) == 20
    assert len(written) <= 10  # of 20 answers in fours; who answers first may stand alone
    assert store.count() == 20


def test_an_answer_is_kept_before_its_worker_sends_the_next_question(store: AnswerStore) -> None:
    there: list[int] = []

    async def server(questions: Sequence[Question]) -> Reply:
        there.append(store.count())
        time.sleep(0.02)  # a client that blocks
        return Reply([Answer({"n": question.payload}) for question in questions])

    assert ask_all(questions(range(6)), server, store, QUICK).answered == 6
    assert all(asked - kept < 4 for asked, kept in enumerate(there))  # no more than was in flight
    assert store.count() == 6


def test_refusals_beside_answers_do_not_end_it(store: AnswerStore) -> None:
    async def server(questions: Sequence[Question]) -> Reply:
        said = [Answer({}) if q.payload < 27 else Refused("no", keep=True, of_row=True) for q in questions]
        return Reply(said)

    outcome = ask_all(questions(range(128)), server, store, QUICK, per_request=128)
    assert (outcome.answered, outcome.stopped) == (27, "")


def test_failures_are_repeated(store: AnswerStore) -> None:
    def fault(payload: int, n: int) -> None:
        if n <= 2:
            raise Transient("500") if payload % 2 else BadAnswer("nothing in it")

    server = Server(fault)
    outcome = ask_all(questions(range(10)), server, store, QUICK)
    assert outcome.answered == 10
    assert outcome.spent.failures == {"500": 10, "nothing in it": 10}
    assert server.asked == Counter(dict.fromkeys(range(10), 3))


def test_a_server_asks_to_wait_and_all_requests_do(store: AnswerStore) -> None:
    def fault(payload: int, n: int) -> None:
        if payload == 0 and n == 1:
            raise Transient("429", retry_after=0.4)

    server = Server(fault, pause=0.05)
    outcome = ask_all(questions(range(12)), server, store, QUICK)
    assert outcome.answered == 12
    gap = max(b - a for a, b in zip(server.times, server.times[1:]))
    assert gap > 0.3  # no other request went out in between


def test_too_long_a_wait_ends_the_asking(store: AnswerStore) -> None:
    def fault(payload: int, n: int) -> None:
        raise Transient("429", retry_after=7200)

    outcome = ask_all(questions(range(5)), Server(fault), store, QUICK, endpoint="http://here")
    assert outcome.stopped == "The server http://here asks to wait 7,200 seconds (429)"


def test_a_silent_server_ends_the_asking_with_what_is_kept(store: AnswerStore) -> None:
    sent = Counter[str]()

    def fault(payload: int, n: int) -> None:
        sent["all"] += 1
        if sent["all"] > 20:
            raise Transient("connection lost")

    outcome = ask_all(questions(range(100)), Server(fault), store, QUICK)
    assert outcome.stopped == "The server gave no answer in 4 tries (connection lost)"
    assert store.count() == outcome.answered == 20
    assert outcome.error is None
    assert ask_all(questions(range(100)), Server(), store, QUICK).answered == 80


def test_one_question_that_fails_among_answers_does_not_end_it(store: AnswerStore) -> None:
    def fault(payload: int, n: int) -> None:
        if payload == 3:
            raise Transient("500")

    outcome = ask_all(questions(range(60)), Server(fault, pause=0.002), store, QUICK)
    assert outcome.missing == {"q3": "failed in every try (500)"}  # it is the question, not the server
    assert (outcome.answered, outcome.unanswered, outcome.stopped) == (59, {}, "")


def test_a_bad_and_a_refused_question_are_left_out_with_the_reason(store: AnswerStore) -> None:
    def fault(payload: int, n: int) -> None:
        if payload == 3:
            raise BadAnswer("empty choices")
        if payload == 5:
            raise Refused("refused by the server (content_filter)")

    server = Server(fault)
    expected = {"q3": "empty choices", "q5": "refused by the server (content_filter)"}
    for per_request in (1, 4):
        outcome = ask_all(questions(range(10)), server, store, QUICK, per_request=per_request)
        assert outcome.missing == expected
        assert outcome.stopped == ""
    assert server.asked[5] == 1  # a refusal is kept
    assert store.count() == 9


def test_in_a_batch_the_one_to_blame_is_found(store: AnswerStore) -> None:
    def fault(payload: int, n: int) -> None:
        if payload == 13:
            raise Refused("content_filter")

    outcome = ask_all(questions(range(32)), Server(fault), store, QUICK, per_request=32)
    assert outcome.missing == {"q13": "content_filter"}
    assert store.count() == 32
    assert outcome.answered == 31


def test_wrong_answers_are_named_and_not_kept(store: AnswerStore) -> None:
    async def send(asked: Sequence[Question]) -> Reply:
        return Reply([WrongAnswer("width 3") if q.payload == 2 else Answer({}) for q in asked])

    outcome = ask_all(questions(range(8)), send, store, QUICK, per_request=4)
    assert outcome.wrong == {"q2": "width 3"}
    assert store.get("q2") is None
    assert store.count() == 7


def test_a_server_that_refuses_everything_is_not_asked_to_the_end(store: AnswerStore) -> None:
    def fault(payload: int, n: int) -> None:
        raise Refused("refused by the server (400)", keep=False, detail="no such parameter")

    server = Server(fault)
    outcome = ask_all(questions(range(500)), server, store, QUICK)
    assert outcome.stopped.endswith("(refused by the server (400): no such parameter)")
    assert sum(server.asked.values()) < 20
    assert store.count() == 0


def test_stop_ends_it_at_once_and_keeps_what_is_in_flight(store: AnswerStore) -> None:
    async def send(asked: Sequence[Question]) -> Reply:
        (question,) = asked
        if question.payload == 0:
            await asyncio.sleep(0.01)
            raise Stop(ConfigError("The key is wrong."))
        await asyncio.sleep(0.05)
        return Reply([Answer({})])

    outcome = ask_all(questions(range(100)), send, store, QUICK)
    assert str(outcome.error) == "The key is wrong."
    assert store.count() == outcome.answered == 3
    assert outcome.spent.requests == 4


def test_a_budget_of_requests_counts_the_repeated_ones_and_is_kept_exactly(store: AnswerStore) -> None:
    def fault(payload: int, n: int) -> None:
        if payload % 3 == 0 and n == 1:
            raise Transient("500")

    server = Server(fault, pause=0.002)
    limits = Limits(concurrency=8, max_requests=20, backoff=0.001)
    outcome = ask_all(questions(range(100)), server, store, limits)
    assert sum(server.asked.values()) == outcome.spent.requests == 20
    assert outcome.stopped == "The budget of 20 requests is spent"
    assert outcome.left == {"requests": 0}
    assert store.count() == outcome.answered > 0


def test_a_budget_of_money_is_not_overrun_by_what_is_in_flight(store: AnswerStore) -> None:
    limits = Limits(concurrency=8, max_cost=1.0)
    outcome = ask_all(questions(range(100), cost=0.1), Server(pause=0.01), store, limits)
    assert outcome.answered == 10
    assert outcome.spent.cost == pytest.approx(1.0)
    assert "budget of 1 is spent" in outcome.stopped


def test_a_run_shares_its_budget(store: AnswerStore) -> None:
    spent, limits = Spent(), Limits(max_requests=5)
    ask_all(questions(range(3)), Server(), store, limits, spent=spent)
    ask_all(questions(range(10)), Server(), store, limits, spent=spent)
    assert store.count() == 5
    assert ask_all(questions(range(20)), Server(), store, limits, spent=spent).spent.requests == 5


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"max_requests": 0}, "nothing could be asked"),
        ({"max_cost": 0.0}, "nothing could be asked"),
        ({"concurrency": 0}, "above 0"),
        ({"timeout": 0}, "above 0"),
        ({"retries": -1}, "at least 0"),
        ({"requests_per_minute": 0}, "above 0"),
    ],
)
def test_limits_out_of_range_are_refused(wrong: dict[str, float], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Limits(**wrong)  # type: ignore[arg-type]


def test_requests_and_tokens_a_minute_are_not_exceeded(store: AnswerStore) -> None:
    server = Server()
    ask_all(questions(range(10)), server, store, Limits(requests_per_minute=1200))
    assert server.times[-1] - server.times[0] > 0.35  # ten at 20 a second, two of them at once
    server = Server()
    ask_all(questions(range(100, 110), tokens=650), server, store, Limits(tokens_per_minute=60_000))
    assert server.times[-1] - server.times[0] > 0.4  # 6,000 at once, then 1,000 a second


def test_a_request_that_never_ends_is_a_time_out(store: AnswerStore) -> None:
    def fault(payload: int, n: int) -> None:
        raise AssertionError

    server = Server(fault, pause=30)
    limits = Limits(timeout=0.05, retries=1, backoff=0.001)
    outcome = ask_all(questions(range(3)), server, store, limits)
    assert outcome.stopped == "The server gave no answer in 2 tries (time-out)"
    assert set(outcome.spent.failures) == {"time-out"}


def test_rates_hold_nobody_back_who_has_nothing_to_send(store: AnswerStore) -> None:
    async def send(asked: Sequence[Question]) -> Reply:
        await asyncio.sleep(0.01)
        raise Stop(ConfigError("The key is wrong."))

    start = time.monotonic()
    outcome = ask_all(questions(range(20)), send, store, Limits(concurrency=8, requests_per_minute=2))
    assert outcome.spent.requests == 1
    assert time.monotonic() - start < 20  # the other seven would wait for 30 seconds each


def test_a_request_of_many_tokens_is_not_taken_for_a_small_one(store: AnswerStore) -> None:
    server, start = Server(), time.monotonic()
    ask_all(questions([0], tokens=90_000), server, store, Limits(tokens_per_minute=600_000))
    assert server.times[0] - start > 2.5  # 60,000 at once, then 10,000 a second


@pytest.mark.parametrize("error", [DataError("an empty text"), FileNotFoundError("gone")])
def test_what_is_in_flight_when_the_data_end_in_an_error_is_kept(
    store: AnswerStore, error: Exception
) -> None:
    def rows() -> Iterable[Question]:
        yield from questions(range(256))  # as many as are looked up at once
        raise error

    server = Server()

    async def send(asked: Sequence[Question]) -> Reply:
        await asyncio.sleep(0.002 * (1 + asked[0].payload % 7))
        return await server(asked)

    with pytest.raises(type(error), match=str(error)):  # itself, not in a group of errors
        ask_all(rows(), send, store, Limits(concurrency=8))
    assert store.count() == sum(server.asked.values()) == 256


def test_an_interrupt_inside_an_event_loop_does_not_wait_for_the_servers_pause(store: AnswerStore) -> None:
    main = threading.get_ident()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it

    def fault(payload: int, n: int) -> None:
        threading.Timer(0.2, signal.pthread_kill, (main, signal.SIGINT)).start()
        raise Transient("429", retry_after=250)

    async def notebook() -> None:
        ask_all(questions(range(1)), Server(fault), store, Limits(concurrency=1))

    loop, start = asyncio.new_event_loop(), time.monotonic()  # asyncio.run would catch the interrupt
    try:
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(notebook())
    finally:
        signal.signal(signal.SIGINT, before)
        loop.close()
    assert time.monotonic() - start < 200


def test_an_interrupt_awaits_the_answers_that_are_on_their_way(store: AnswerStore) -> None:
    main = threading.get_ident()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    server = Server(pause=0.5)
    threading.Timer(0.3, signal.pthread_kill, (main, signal.SIGINT)).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            ask_all(questions(range(100)), server, store, Limits(concurrency=4))
    finally:
        signal.signal(signal.SIGINT, before)
    assert store.count() == sum(server.asked.values()) == 4, "those in flight, and no others"


def test_an_interrupt_does_not_await_a_server_that_is_silent(store: AnswerStore, monkeypatch) -> None:
    main = threading.get_ident()
    monkeypatch.setattr(asking, "GRACE", 0.2)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    start = time.monotonic()
    threading.Timer(0.3, signal.pthread_kill, (main, signal.SIGINT)).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            ask_all(questions(range(3)), Server(pause=300), store, Limits(concurrency=4, timeout=300))
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - start < 200
    assert store.count() == 0


def test_it_works_inside_a_running_event_loop(store: AnswerStore) -> None:
    async def notebook() -> Outcome:
        return ask_all(questions(range(5)), Server(), store, QUICK)

    assert asyncio.run(notebook()).answered == 5


def test_progress_counts_every_question(store: AnswerStore) -> None:
    store.put("q1", Answer({}))
    seen: list[int] = []

    def fault(payload: int, n: int) -> None:
        if payload == 4:
            raise Refused("no")

    ask_all(
        questions([0, 1, 2, 2, 3, 4]), Server(fault), store, QUICK, on_progress=lambda n, _: seen.append(n)
    )
    assert sum(seen) == 6


def test_an_error_of_the_store_comes_out_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "answers.sqlite").write_text("something else " * 100)
    with pytest.raises(Exception, match="cannot be used"):
        ask_all(questions(range(5)), Server(), AnswerStore(tmp_path / "answers.sqlite"), QUICK)


def test_facts_for_the_log() -> None:
    spent = Spent(requests=3, latencies=[0.3, 0.1, 0.2])
    spent.fail("500")
    facts = spent.facts()
    assert facts["latency"] == {"p50": 0.2, "p95": 0.3, "max": 0.3}
    assert facts["failures"] == {"500": 1}
    assert Prices(input=2, output=8, request=0.5).cost(1_000_000, 500_000, 2) == pytest.approx(7.0)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
    ],
)
def test_retry_after_is_read(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


def test_retry_after_as_a_date_is_the_time_until_then() -> None:
    from datetime import UTC, datetime, timedelta
    from email.utils import format_datetime

    then = datetime.now(UTC) + timedelta(seconds=100)
    assert retry_after({"retry-after": format_datetime(then, usegmt=True)}) == pytest.approx(99.5, abs=1.5)


def test_addresses_are_shown_without_credentials() -> None:
    assert clean_url("https://me:secret@host:8000/v1/#x") == "https://host:8000/v1"
    with pytest.raises(ConfigError, match="before its"):
        clean_url("https://host/v1?key=secret")
    assert clean_url("http://[::1]:80/v1") == "http://[::1]:80/v1"
    for wrong in ("host:8000", "ftp://host", "http://", "http://host:port"):
        with pytest.raises(ConfigError, match="base_url"):
            clean_url(wrong)
