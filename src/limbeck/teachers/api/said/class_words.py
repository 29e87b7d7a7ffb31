"""The words that stand for classes in what a model says: their names and marks, found at a place or anywhere."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache

# Scripts that put no spaces between words, so that a name may stand inside a run of letters.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
)
LETTER = rf"[^\W{_UNSPACED}]"  # a letter, digit or underscore of a script with spaces
# One form of what is the same to a reader; what cannot be seen is nothing.
_SAME = {
    **dict.fromkeys(map(ord, "“”„‟«»‹›「」『』《》〈〉【】❝❞❮❯＂"), '"'),
    **dict.fromkeys(map(ord, "‘’‚‛′´｀ʼ❛❜"), "'"),
    **dict.fromkeys(map(ord, "‐‑‒–—―−﹣➖"), "-"),
    **dict.fromkeys(map(ord, "。｡"), "."),
    ord("、"): ",",
    **dict.fromkeys(
        [0xAD, 0x2060, 0xFEFF, 0xFE0E, 0xFE0F, *range(0x200B, 0x2010), *range(0x202A, 0x202F)], None
    ),
}
_SEPARATOR = re.compile(r"(?<=[^\W\d_])[\s_\-]+(?=[^\W_])|(?<=[^\W_])[\s_\-]+(?=[^\W\d_])")
_STOP = re.compile(r"\s*(?:$|[.)\]}:;!\"'|>=,]|-(?:\s|$)|->|→|\n)")
_HARD_STOP = re.compile(r"\s*(?:[.)\]}:|>=]|\n)")
_JOINED = r"\s*(?:\bor\b|\band\b|\bnor\b|/|&|,)\s*[(\"']?([A-Z])\b(?!')"
# What follows "A" where it is a mark and no article, "I" where it is no pronoun.
_AFTER_A = re.compile(
    r"\s*(?:$|[.)\]}:;!\"'|>=,]|-\s|->|→)|[^\S\n]*\n|"
    rf"\s+(?:because|since|is|was|would|seems|fits|for|due|best|\()\b|{_JOINED}"
)
_AFTER_I = re.compile(
    rf"\s*(?:$|[.)\]}}:;!\"'|>=]|-\s|->|→)|[^\S\n]*\n|\s+(?:because|since|is|fits)\b|{_JOINED}"
)
_CAPITAL = re.compile(rf"(?<!{LETTER})(?<!['&])(?<!{LETTER}-)[A-Z](?!{LETTER}|['+#&]|-{LETTER})")
_JOINED_TO = re.compile(_JOINED)
_BEFORE_JOINED = re.compile(r"\b([A-Z])\s*(?:\bor|\band|\bnor|/|&|,)\s*[(\"']?\Z")


def folded(text: str) -> str:
    """One form of equal texts: Unicode's (NFKC), straight quotes, plain dashes, nothing invisible; case stays."""
    text = unicodedata.normalize("NFKC", text.translate(_SAME)).translate(_SAME)
    return (
        "".join(c if len(c.casefold()) == 1 else c.casefold() for c in text) if not text.isascii() else text
    )


def squeezed(name: str) -> str:
    """A name without case and without what separates its words."""
    return _SEPARATOR.sub("", folded(name)).casefold()


class ClassWords:
    """Finds names (whatever their case) and marks of classes in :func:`folded` texts.

    A name counts as whole words only, the longest where one is inside another (``cat``, ``cat food``), and with any
    separator between its words. A mark is a letter, a number, or a number behind ``#``; a class whose name is one
    letter has that for a mark too.
    """

    def __init__(self, names: Sequence[str], marks: Sequence[str]) -> None:
        self.number_of_mark = {mark.upper(): i for i, mark in enumerate(marks)}
        whole = {squeezed(name): i for i, name in enumerate(names)}
        free = len(whole) == len(names)  # else two names differ in their separators alone
        self._number_of = whole if free else {folded(name).casefold(): i for i, name in enumerate(names)}
        self._key = squeezed if free else (lambda name: folded(name).casefold())
        for i, name in enumerate(names):
            if len(name) == 1 and name.isascii() and name.isalpha():
                self.number_of_mark[name.upper()] = i
        long = [folded(n) for n in names if not (len(n) == 1 and n.isascii() and n.isalpha())]
        patterns = [_pattern(name, free) for name in sorted(long, key=len, reverse=True) if name.strip()]
        self._names = re.compile("|".join(patterns) or r"(?!)", re.IGNORECASE)
        by_length = sorted(self.number_of_mark, key=len, reverse=True)
        self._marks = re.compile("|".join(map(re.escape, by_length)), re.IGNORECASE)
        self.n_classes = len(names)
        self.is_numeric = any(name.strip().isdigit() for name in long)
        self._all = [*(folded(n).casefold() for n in names), *map(str.casefold, self.number_of_mark)]

    def name_at(self, text: str, start: int) -> tuple[int, int] | None:
        """Number of the class that is named at ``start``, and where its name ends."""
        found = self._names.match(text, start)
        return None if found is None or (number := self._number(found[0])) is None else (number, found.end())

    def names_in(self, text: str) -> Iterator[tuple[int, int, int]]:
        """Number, start and end of every name in a text."""
        for found in self._names.finditer(text):
            if (number := self._number(found[0])) is not None:
                yield number, found.start(), found.end()

    def _number(self, name: str) -> int | None:
        if (number := self._number_of.get(self._key(name))) is None and name[:1].isdigit():
            number = self._number_of.get(self._key(name.partition(".")[0]))
        return number

    def mark_at(self, text: str, start: int, *, alone: bool = False) -> tuple[int, int] | None:
        """As :meth:`name_at`, of a mark: a capital letter, or a small one before a stop; never a word of its own.

        Args:
            alone: the text is nothing but an answer, so that ``a`` and ``i`` at its end are marks.
        """
        found = self._marks.match(text, start)
        if found is None or re.match(rf"{LETTER}|&", text[max(start - 1, 0) : start]):
            return None
        mark, end = found[0], found.end()
        if re.match(rf"{LETTER}|'{LETTER}|[.,]\d|-{LETTER}|[+#&%]", text[end : end + 2]):
            return None
        if mark.isalpha() and not self._is_letter_mark(text, mark, end, alone):
            return None
        return self.number_of_mark[mark.upper()], end

    def _is_letter_mark(self, text: str, mark: str, end: int, alone: bool) -> bool:
        if mark in ("A", "I"):
            return (_AFTER_A if mark == "A" else _AFTER_I).match(text, end) is not None
        if mark in ("a", "i"):
            return _HARD_STOP.match(text, end) is not None or (alone and not text[end:].strip(" \"'.)]"))
        return mark.isupper() or _STOP.match(text, end) is not None

    def letters_in(self, text: str) -> Iterator[tuple[int, int, int]]:
        """Number, start and end of every capital that stands for itself, and is no article or pronoun."""
        for found in _CAPITAL.finditer(text):
            number, start, end = self.number_of_mark.get(found[0]), found.start(), found.end()
            if number is not None and (found[0] not in "AI" or self._is_set_apart(text, start, end)):
                yield number, start, end

    def _is_set_apart(self, text: str, start: int, end: int) -> bool:
        """Whether an ``A`` or ``I`` is neither article nor pronoun: in brackets, beside another mark, an ``A`` within a
        sentence."""
        before = text[max(0, start - 10) : start]
        beside = _BEFORE_JOINED.search(before) or _JOINED_TO.match(text, end)
        if before.endswith(("(", "[", '"')) or (beside and beside[1] in self.number_of_mark):
            return True
        within = text[start] == "A" and re.search(r"[^\W\d_]\s+\Z", before) is not None
        return within and re.match(r"\s+[A-Z]", text[end : end + 5]) is None

    def may_go_on(self, end: str) -> bool:
        """Whether a text that was cut at its ``end`` may have been about to name another class (cat, catfish)."""
        said = end.casefold()
        return any(word != said and word.startswith(said) for word in self._all)


@lru_cache(maxsize=8)
def class_words(names: tuple[str, ...], marks: tuple[str, ...]) -> ClassWords:
    """The words of some classes, made once."""
    return ClassWords(names, marks)


def _pattern(name: str, free: bool) -> str:
    """A name as whole words, with any separator where it has one."""
    parts, start = [], 0
    for found in _SEPARATOR.finditer(name) if free else ():
        parts += [re.escape(name[start : found.start()]), r"[\s_\-]*"]
        start = found.end()
    body = "".join([*parts, re.escape(name[start:])])
    before, after = "", ""
    if re.match(LETTER, name[0]):
        before = rf"(?<!{LETTER})(?<!{LETTER}-)"
    if name[0].isdigit():
        before += r"(?<!\d[.,])(?<!\s-)(?<!^-)"
    if re.match(LETTER, name[-1]):
        after = rf"(?!{LETTER})(?!-{LETTER})" + (r"(?![+#])" if len(name) < 3 and name[-1].isalpha() else "")
    if name[-1].isdigit():
        after = rf"(?:\.0+)?{after}(?![.,]\d)"
    elif not after and not re.match(r"\w", name[-1]):
        after = rf"(?!{re.escape(name[-1])})"
    return before + body + after
