"""What came of asking."""

from __future__ import annotations

from dataclasses import dataclass, field

from limbeck.errors import LimbeckError
from limbeck.teachers.api.limits import Spent


@dataclass
class Outcome:
    """What came of asking; the answers themselves are in the store.

    Args:
        answered: questions answered now.    already: questions whose answer was in the store.
        missing: identity to the reason why there will be no answer (refused, nothing usable).
        wrong: identity to what was wrong with its answers, which were not kept.
        unanswered: identity to the failure after which it was set aside; asking again may help.
        words: reason to what the server said of the first question that is missing for it.
        stopped: why asking ended before the last question, a sentence without its full stop; "" if it did not.
        spoke: the server answers, so that other questions may fare better than the one that ended the asking.
        error: the error to raise where nothing can be asked at all (wrong key, unknown model).
        spent: requests, tokens, cost, seconds, failures, latencies.    left: what the budget left.
    """

    answered: int = 0
    already: int = 0
    missing: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)
    unanswered: dict[str, str] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    stopped: str = ""
    spoke: bool = False
    error: LimbeckError | None = None
    spent: Spent = field(default_factory=Spent)
    left: dict[str, float] = field(default_factory=dict)
