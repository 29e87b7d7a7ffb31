"""How fast, how long and for how much money a paid teacher may be asked."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields

from limbeck.errors import ConfigError


@dataclass(frozen=True)
class Limits:
    """Bounds on asking a server.

    Args:
        concurrency: requests in flight, >= 1.
        requests_per_minute: ``None`` = as many as the concurrency gives.
        tokens_per_minute: of estimated tokens; ``None`` = no bound.
        max_requests: of one run, repeated ones included; ``None`` = no bound.
        max_cost: of one run, in the currency of the prices; ``None`` = no bound.
        timeout: seconds for one whole request, however slowly it drips.
        retries: further tries of a request that failed, >= 0.
        backoff: seconds before a failed request is repeated, doubled each time, with jitter.
        longest_wait: seconds, the longest ``Retry-After`` that is waited for; beyond it asking stops.

    Raises: ConfigError for a value outside its range, a budget of zero included.
    """

    concurrency: int = 16
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    max_requests: int | None = None
    max_cost: float | None = None
    timeout: float = 60.0
    retries: int = 6
    backoff: float = 0.5
    longest_wait: float = 300.0

    def __post_init__(self) -> None:
        for name in ("max_requests", "max_cost"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(
                    f"{name} is {value}, so nothing could be asked; give more, or leave it out for no bound."
                )
        if self.retries < 0:
            raise ConfigError(f"retries must be at least 0; it is {self.retries}.")
        for entry in fields(self):
            value = getattr(self, entry.name)
            if entry.name != "retries" and value is not None and not value > 0:
                raise ConfigError(f"{entry.name} must be above 0; it is {value}.")
        if self.concurrency != int(self.concurrency):
            raise ConfigError(f"concurrency is a whole number; it is {self.concurrency}.")


@dataclass(frozen=True)
class Prices:
    """What a provider takes: per million tokens of questions and of answers, and per request.

    Raises: ConfigError for a price that is negative or not finite.
    """

    input: float = 0.0
    output: float = 0.0
    request: float = 0.0

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if not 0 <= value < math.inf:
                raise ConfigError(f"The price of {entry.name} must be at least 0 and finite; it is {value}.")

    def cost(self, tokens_in: int, tokens_out: int, requests: float = 1.0) -> float:
        return (self.input * tokens_in + self.output * tokens_out) / 1e6 + self.request * requests


@dataclass
class Spent:
    """What a run has used so far; one of these goes through all the asking of a run.

    Args:
        requests: sent, repeated ones included.    answers: kept.
        tokens, cost: as the server counted them, else as estimated.
        reserved: cost of the requests in flight, estimated.
        failures: kind of failure to how often it came.
        latencies: seconds of every request that was answered.
        stopped: why nothing more is sent in this run; "" while it goes on.
    """

    requests: int = 0
    answers: int = 0
    tokens: int = 0
    cost: float = 0.0
    reserved: float = 0.0
    seconds: float = 0.0
    failures: dict[str, int] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)
    stopped: str = ""

    def fail(self, kind: str) -> None:
        self.failures[kind] = self.failures.get(kind, 0) + 1

    def exhausted(self, limits: Limits, cost: float) -> str | None:
        """Why a further request of estimated ``cost`` may not be sent; ``None`` if it may."""
        if limits.max_requests is not None and self.requests >= limits.max_requests:
            return f"The budget of {limits.max_requests:,} requests is spent"
        if limits.max_cost is not None and self.cost + self.reserved + cost > limits.max_cost * (1 + 1e-9):
            return f"The budget of {limits.max_cost:g} is spent ({self.cost:.4g} used)"
        return None

    def left(self, limits: Limits) -> dict[str, float]:
        """What the budget still allows, by bound; empty without a budget."""
        left: dict[str, float] = {}
        if limits.max_requests is not None:
            left["requests"] = limits.max_requests - self.requests
        if limits.max_cost is not None:
            left["cost"] = max(limits.max_cost - self.cost, 0.0)
        return left

    def facts(self) -> dict[str, object]:
        """For ``build.jsonl``: counts, cost, failures, and latency at the median, 95% and the longest."""
        times = sorted(self.latencies)
        quantiles = {
            name: round(times[min(int(share * len(times)), len(times) - 1)], 4)
            for name, share in (("p50", 0.5), ("p95", 0.95), ("max", 1.0))
            if times
        }
        return {
            "requests": self.requests,
            "answers": self.answers,
            "tokens": self.tokens,
            "cost": round(self.cost, 6),
            "seconds": round(self.seconds, 3),
            "failures": dict(self.failures),
            "latency": quantiles,
        }
