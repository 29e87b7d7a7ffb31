"""Where a text says what something is not, asks, or says that it cannot say: a class named there is not named."""

from __future__ import annotations

import re

_FARTHEST = 300  # characters that a denial reaches
_STOP = re.compile(r"[.!?\n]")
# Two denials that make none.
_IDIOMS = re.compile(
    r"\bno (?:doubt|question)s?\b(?: about it)?|\bwithout (?:an?y? )?(?:doubt|question)\b|\bnot (?:only|just|merely)\b|"
    r"\b(?:nothing|none) (?:but|other than|less than)\b|(?:\bcannot|\bcan not|n't) be anything (?:but|other than)\b|"
    r"\bwhy not\b|\bnot surprisingly\b|\bno wonder\b",
    re.IGNORECASE,
)
# Says nothing, and is no answer "no" either.
_NO_ANSWER = re.compile(
    r"\bno (?:idea|clue|comment|opinion|preference|way (?:to|of) (?:tell|know|say|be)\w*)\b", re.IGNORECASE
)
_DENIAL = re.compile(
    r"\bnot\b|n't\b|\b(?:is|are|was|does|do|ca|wo|could|would|must)nt\b|\bnever\b|\bno\b|\bcannot\b|\bneither\b|\bnor\b|"
    r"\bwithout\b|\bunlike\b|\bexcept(?:ing)?\b|\bexclud\w+\b|\brather than\b|\binstead of\b|\bother than\b|"
    r"\bas opposed to\b|\brul(?:es?|ed|ing) out\b|\beliminat\w+\b|\banything but\b|\bfar from\b|\black(?:s|ing)?\b|"
    r"\bfails? to\b|\bhardly\b|\bnon-|\bnicht\b|\bkein\w*\b|\bpas\b|\bniet\b|\bgeen\b|\bnão\b|\bnao\b|\bnon\b|\binte\b|"
    r"\bне\b|\bнет\b|不是|并非|不属于|不屬於",
    re.IGNORECASE,
)
# Where what is denied ends.
_TURN = re.compile(
    r"[.;:!?\n,]|\bbut\b|\brather\b(?! than)|\binstead\b(?! of)|\bso\b|\btherefore\b|\bthus\b|\bhence\b|\bhowever\b|"
    r"\bbecause\b|\bsince\b|\bwhile\b|\bwhereas\b|\bsondern\b|\bmais\b|\bsino\b|\bma\b|\bit(?:'s| is| must| has)\b|"
    r"\b(?:this|that) is\b|\s-\s|而是",
    re.IGNORECASE,
)
_TURN_OF_NEITHER = re.compile(
    r"[.;!?\n]|\b(?:but|so|therefore|thus|hence|however|rather|instead|it(?:'s| is))\b", re.IGNORECASE
)
# Nothing is said here, until the sentence turns.
_UNSURE = re.compile(
    r"(?:\bnot|n't|\bun)\s*(?:sure|certain|clear|able|possible|enough|the case|true|likely|probable|that)\b|"
    r"\bno (?:evidence|sign|indication|reason|proof|hint|way)\b|\bdoubt(?:s|ful)?\b|\bden(?:y|ies)\b|"
    r"(?:\bcannot|\bnot|n't|\bunable to|\bimpossible to|\b(?:hard|difficult) to)\s+(?:\w+ly\s+)?"
    r"(?:say|tell|know|determine|decide|identify|confirm|conclude|classify|see|think|believe|suppose|suspect|feel|"
    r"expect|find|consider)\b",
    re.IGNORECASE,
)
_UNTIL = re.compile(r"[.;!?\n]|,?\s*\b(?:but|however|though)\b", re.IGNORECASE)
# Behind a name: it is not the one.
_FITTING = (
    r"(?:correct|right|true|it\b|possible|likely|applicable|suitable|appropriate|an? (?:\w+ )?(?:fit|match|option)|"
    r"the (?:\w+ )?(?:answer|one|fit|match|case|class|option))"
)
_REJECTED = re.compile(
    r"[\"')\]*]*\s*(?:"
    r"(?:is|are|was|would be|can be|seems|looks)(?: \w+ly)?\s+(?:wrong|incorrect|false|unlikely|impossible|excluded|"
    rf"implausible|(?:ruled |left )?out\b|not (?:\w+ )?{_FITTING})|"
    rf"(?:isn't|aren't|wasn't) (?:\w+ )?{_FITTING}|"
    r"(?:does not|doesn't|do not|don't|cannot|can't) (?:\w+ )?(?:fit|match|apply|work|be)\b|"
    r"[がは가이을]?\s*(?:ではな|じゃな|でな|아니|아닙))",
    re.IGNORECASE,
)


def without_idioms(text: str) -> str:
    """Without the turns of phrase that look like a denial, or like the answer "no", and are none (``no doubt``,
    ``no idea``)."""
    return _NO_ANSWER.sub("not sure", _IDIOMS.sub(" ", text))


def denied(text: str, start: int, end: int) -> bool:
    """Whether a class that is named at ``text[start:end]`` is denied, doubted or asked about there."""
    return rejected(text, end) or _asked(text, end) or in_denial(text, start)


def rejected(text: str, end: int) -> bool:
    """Whether what is named up to ``end`` is said to be wrong behind it (``B is wrong``)."""
    return _REJECTED.match(text, end) is not None


def _asked(text: str, end: int) -> bool:
    """Whether the sentence ends in a question mark before anything else ends it."""
    found = _STOP.search(text, end, end + _FARTHEST)
    return found is not None and found[0] == "?"


def in_denial(text: str, start: int) -> bool:
    """Whether a denial or a doubt reaches as far as ``start``."""
    before = text[max(0, start - _FARTHEST) : start]
    for found in _UNSURE.finditer(before):
        if _UNTIL.search(before, found.end()) is None:
            return True
    for found in _DENIAL.finditer(before):
        turn = _TURN_OF_NEITHER if found[0].casefold() in ("neither", "nor") else _TURN
        if turn.search(before, found.end() + before.startswith(":", found.end())) is None:
            return True
    return False
