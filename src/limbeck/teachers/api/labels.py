"""From what a chat model says to class probabilities: label marks, the class that a text names, log-probabilities."""

from __future__ import annotations

import math
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from limbeck.errors import ConfigError

SMALLEST = 1e-6  # probability of a class that the server's list does not show and has no room for
_SINGLE_DIGITS = 9
_WRAPPING = " \t\r\n*_`'\"“”‘’([{<>}])."


@dataclass(frozen=True)
class Labels:
    """Class names and the marks that stand for them in a question.

    Args:
        class_names: at least two, unique.    marks: one for each, unique.
        is_one_token: the marks differ in their first token for any tokenizer (letters, single digits), so
            that the log-probabilities of one position tell the classes apart.

    Example:
        >>> labels_of(["cat", "dog"]).listing()
        'A. cat\\nB. dog'
    """

    class_names: tuple[str, ...]
    marks: tuple[str, ...]
    is_one_token: bool

    def listing(self) -> str:
        """One line for each class, ``A. cat``."""
        return "\n".join(f"{mark}. {name}" for mark, name in zip(self.marks, self.class_names))


def labels_of(class_names: Sequence[str]) -> Labels:
    """Marks for classes: letters up to 26, numbers beyond and where a letter is itself the name of a class.

    Raises: ConfigError without class names, with only one, or with one that comes twice.
    """
    names = tuple(str(name).strip() for name in class_names)
    if len(names) < 2:
        raise ConfigError(
            "A chat teacher gives class probabilities and needs the names of at least two classes; give "
            "class_names=['cat', 'dog'], or ask for free text with kind='text'."
        )
    folded = [name.casefold() for name in names]
    if "" in folded or len(set(folded)) < len(folded):
        raise ConfigError("Class names must be different texts that are not empty, whatever their case.")
    numbers = tuple(str(i + 1) for i in range(len(names)))
    schemes = [tuple(string.ascii_uppercase[: len(names)])] if len(names) <= 26 else []
    for marks in [*schemes, numbers]:
        if not {mark.casefold() for mark in marks} & set(folded):
            return Labels(names, marks, marks is not numbers or len(names) <= _SINGLE_DIGITS)
    wrapped = tuple(f"#{number}" for number in numbers)
    return Labels(names, wrapped, is_one_token=False)


def named_class(text: str, labels: Labels) -> int | None:
    """Number of the one class that ``text`` names by mark or name; ``None`` if it names none or several.

    Read in this order: the whole text is a mark or a name; it starts with a mark and a stop (``B) dog``) or
    says ``answer: B``; exactly one name occurs in it as words. A mark beside another class's name is nothing.
    """
    bare = text.strip(_WRAPPING)
    exact = {mark: i for i, mark in enumerate(labels.marks)}
    if bare in exact:
        return exact[bare]
    for number, name in enumerate(labels.class_names):
        if bare.casefold() == name.strip(_WRAPPING).casefold():
            return number
    named = _mentioned(text, labels)
    marks = "|".join(map(re.escape, sorted(labels.marks, key=len, reverse=True)))
    start = re.match(rf"({marks})[*_`\"')\]]*\s*(?:[.):;]|-\s|\n)", bare)
    said = re.search(rf"(?i:answer(?:\s+is)?|label|class)\W{{1,6}}({marks})(?![\w'])(?!\s+[a-z])", text)
    marked = {exact[match.group(1)] for match in (start, said) if match}
    found = marked | named if len(named) <= 1 else marked
    return found.pop() if len(found) == 1 else None


def _mentioned(text: str, labels: Labels) -> set[int]:
    """Classes whose names occur as words; a name inside a longer name that occurs does not count."""
    left, found = text.casefold(), set[int]()
    for number, name in sorted(enumerate(labels.class_names), key=lambda item: -len(item[1])):
        pattern = rf"(?<!\w){re.escape(name.casefold())}(?!\w)"
        if re.search(pattern, left):
            found.add(number)
            left = re.sub(pattern, " ", left)
    return found


def is_mark(token: str, marks: Sequence[str]) -> bool:
    """Whether a token is a mark, whatever surrounds it (`` A``, ``A.``)."""
    return token.strip(_WRAPPING) in marks


def mark_log_probs(
    positions: Sequence[Mapping[str, Any]], labels: Labels, smallest: float = SMALLEST
) -> list[float] | None:
    """Log-probabilities ``[C]`` of the classes from those of the answer's tokens; ``None`` if no token is a mark.

    Read at the first position whose chosen token is a mark. Spellings of one mark (`` A``, ``A.``) are added
    up. A class that the list does not show has at most the smallest probability shown and shares at most the
    mass that the list leaves with the other absent ones: it gets the smaller of the two, but at least
    ``smallest``. The result is renormalised over the classes.

    Args:
        positions: tokens of the answer in order, each with ``token`` and ``top_logprobs``, a list of
            ``token`` and ``logprob`` (natural logarithm), as in a chat completion's ``logprobs.content``.
    """
    exact = {mark: i for i, mark in enumerate(labels.marks)}
    for position in positions:
        if not is_mark(str(position.get("token", "")), labels.marks):
            continue
        shown, total, least = [0.0] * len(labels.marks), 0.0, 1.0
        for entry in [*(position.get("top_logprobs") or ()), *_chosen(position)]:
            probability = _probability(entry)
            total, least = total + probability, min(least, probability)
            number = exact.get(str(entry.get("token", "")).strip(_WRAPPING))
            if number is not None:
                shown[number] += probability
        return _filled(shown, total, least, smallest)
    return None


def _chosen(position: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The chosen token, where the list of the top ones does not hold it."""
    listed = {entry.get("token") for entry in position.get("top_logprobs") or ()}
    return [] if position.get("token") in listed else [position]


def _probability(entry: Mapping[str, Any]) -> float:
    value = entry.get("logprob")
    return math.exp(min(value, 0.0)) if isinstance(value, (int, float)) and not math.isnan(value) else 0.0


def _filled(shown: list[float], total: float, least: float, smallest: float) -> list[float] | None:
    if not sum(shown) > 0:
        return None
    n_absent = sum(value == 0 for value in shown)
    floor = max(smallest, min(least, max(0.0, 1 - total) / n_absent)) if n_absent else 0.0
    filled = [max(value, smallest) if value > 0 else floor for value in shown]
    return [math.log(value / sum(filled)) for value in filled]


def counted_log_probs(classes: Sequence[int], n_classes: int, smoothing: float = 1.0) -> list[float]:
    """Log-probabilities ``[C]`` from the classes that ``k`` samples named, with Laplace smoothing.

    .. math:: p_c = \\frac{n_c + s / C}{k + s}

    Args:
        classes: class numbers, k of them.    smoothing: ``s`` > 0, samples' worth of doubt, spread evenly.
    """
    shares = [
        (classes.count(c) + smoothing / n_classes) / (len(classes) + smoothing) for c in range(n_classes)
    ]
    return [math.log(share) for share in shares]


def named_log_probs(number: int, n_classes: int, doubt: float = 0.1) -> list[float]:
    """Log-probabilities ``[C]`` of one named class: ``1 - doubt`` for it, and ``doubt`` spread over all."""
    rest = doubt / n_classes
    return [math.log(rest + (1 - doubt) * (c == number)) for c in range(n_classes)]


def listed_positions(choice: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The tokens of an answer that come with a list of the likeliest ones."""
    listed = choice.get("logprobs")
    content = listed.get("content") if isinstance(listed, Mapping) else None
    return [p for p in content or () if isinstance(p, Mapping) and p.get("top_logprobs")]


def label_position(
    positions: Sequence[Mapping[str, Any]], labels: Labels, number: int
) -> list[dict[str, Any]]:
    """The first token that is the mark of the named class, with its list, cut to what is kept; else empty."""
    for position in positions:
        if is_mark(str(position.get("token", "")), labels.marks[number : number + 1]):
            kept = [
                _tokens_of(position) | {"top_logprobs": [_tokens_of(e) for e in position["top_logprobs"]]}
            ]
            return kept if mark_log_probs(kept, labels) is not None else []
    return []


def _tokens_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {"token": entry.get("token"), "logprob": entry.get("logprob")}
