"""From what a chat model says to class probabilities: label marks, the class that a text names, log-probabilities."""

from __future__ import annotations

import math
import string
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from limbeck.errors import ConfigError
from limbeck.teachers.api.said.classes import class_in

SMALLEST = 1e-6  # probability of a class that the server's list does not show and has no room for
_SINGLE_DIGITS = 9
_SPACE_MARKS = {ord("Ġ"): " ", ord("▁"): " ", ord("Ċ"): "\n"}  # of tokens as some tokenizers spell them
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


def named_class(text: str, labels: Labels, *, is_cut: bool = False) -> int | None:
    """Number of the one class that ``text`` names by mark or name; ``None`` if it names none or several.

    Args:
        is_cut: it ends where its longest length did.
    """
    return class_in(text, labels.class_names, labels.marks, is_cut=is_cut)


def mark_number(token: object, labels: Labels) -> int | None:
    """Number of the class whose mark a token is, whatever surrounds it (`` A``, ``A.``, ``▁b``); ``None`` if none."""
    bare = unicodedata.normalize("NFKC", str(token)).translate(_SPACE_MARKS).strip(_WRAPPING)
    if bare in labels.marks:
        return labels.marks.index(bare)
    is_word = bare in ("a", "i")  # an article, a beginning
    return labels.marks.index(bare.upper()) if bare.upper() in labels.marks and not is_word else None


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
    for position in positions:
        if mark_number(position.get("token", ""), labels) is None:
            continue
        shown, total, least = [0.0] * len(labels.marks), 0.0, 1.0
        for entry in [*_listed(position), *_chosen(position)]:
            probability = _probability(entry)
            total, least = total + probability, min(least, probability)
            number = mark_number(entry.get("token", ""), labels)
            if number is not None:
                shown[number] += probability
        return _filled(shown, total, least, smallest)
    return None


def _listed(position: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    listed = position.get("top_logprobs")
    return [e for e in listed if isinstance(e, Mapping)] if isinstance(listed, list) else []


def _chosen(position: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The chosen token, where the list of the top ones does not hold it."""
    return [] if any(e.get("token") == position.get("token") for e in _listed(position)) else [position]


def _probability(entry: Mapping[str, Any]) -> float:
    value = entry.get("logprob")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
        return 0.0
    return math.exp(max(min(value, 0.0), -1e4))


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


def positions_of(choice: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The tokens of an answer with the likeliest ones at their place, also in the form of older servers (one list of
    tokens, one of tables)."""
    listed = choice.get("logprobs")
    if not isinstance(listed, Mapping):
        return []
    content = listed.get("content")
    tokens, tables = listed.get("tokens"), listed.get("top_logprobs")
    if content is None and isinstance(tokens, list) and isinstance(tables, list):
        content = [
            {"token": token, "top_logprobs": [{"token": t, "logprob": p} for t, p in table.items()]}
            for token, table in zip(tokens, tables)
            if isinstance(table, Mapping)
        ]
    return [dict(p) for p in content if isinstance(p, Mapping)] if isinstance(content, list) else []


def positions_said(
    positions: Sequence[Mapping[str, Any]], text: str, whole: str
) -> Sequence[Mapping[str, Any]]:
    """Those of the positions that make up ``text``, the answer without what was thought before.

    Args:
        whole: all that the message holds; where it is the answer alone, tokens in another spelling are its too.
    """
    tokens = [str(position.get("token", "")).translate(_SPACE_MARKS) for position in positions]
    start = "".join(tokens).rfind(text)
    if start < 0:
        return positions if text.strip() == whole.strip() else []
    ends = accumulate(map(len, tokens))
    return [position for position, end in zip(positions, ends) if end > start]


def label_position(
    positions: Sequence[Mapping[str, Any]], labels: Labels, number: int
) -> list[dict[str, Any]]:
    """The first token that is the mark of the named class, with its list, cut to what is kept; else empty."""
    for position in positions:
        if _listed(position) and mark_number(position.get("token", ""), labels) == number:
            kept = [_tokens_of(position) | {"top_logprobs": [_tokens_of(e) for e in _listed(position)]}]
            return kept if mark_log_probs(kept, labels) is not None else []
    return []


def _tokens_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {"token": entry.get("token"), "logprob": entry.get("logprob")}
