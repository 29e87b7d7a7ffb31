"""How near a written text is to the true one."""

from __future__ import annotations

import functools
import importlib.util
from typing import Any

from limbeck.errors import ConfigError


def check_rouge() -> None:
    """Raises ConfigError where the package that measures it is missing."""
    if importlib.util.find_spec("rouge_score") is None:
        raise ConfigError(
            "The metric rouge_l needs the package rouge-score; install it with: pip install 'limbeck[generation]'."
        )


@functools.cache
def _scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], use_stemmer=False)


def exact_match(written: str, true: str) -> float:
    """1 where the texts are the same but for the space around them and how much of it stands between words."""
    return float(written.split() == true.split())


def rouge_l(written: str, true: str) -> float:
    """F of the longest common subsequence of words, in [0, 1], as rouge-score has it (lower case, without stemming)."""
    return float(_scorer().score(true, written)["rougeL"].fmeasure)
