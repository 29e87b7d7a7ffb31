"""Who stands beside the student, and who of them is scored."""

from __future__ import annotations

from collections.abc import Collection

from limbeck.errors import ConfigError, UnknownNameError, nearest
from limbeck.methods.declared import Declared


def check_peers(declared: Declared, peers: Collection[str], scores: str | None) -> str:
    """Who is scored: ``student`` or a peer's name.

    Raises: ConfigError for a peer that the method speaks of and that is not there; UnknownNameError for one that is
    to be scored and does not exist.
    """
    for name in sorted(declared.peers):
        if name not in peers:
            raise ConfigError(
                f"The method speaks of the peer {name!r}, and there is none; name it in the recipe: "
                f"peers: {{{name}: {{model: ...}}}}, or {{follows: 0.99}} for an average of the student."
            )
    if scores is None:
        return "ema" if "ema" in peers else "student"
    check_scored(scores, peers)
    return scores


def check_scored(scores: str, peers: Collection[str], *, ema: bool = False) -> None:
    """Refuse to score who is not there; UnknownNameError.

    Args:
        ema: there is an average of the student, ``ema``, beside ``peers``.
    """
    known = ("student", *peers, *(("ema",) if ema else ()))
    if scores not in known:
        raise UnknownNameError(f"training.scores has no network {scores!r}; {nearest(scores, known)}")
