"""Which one class a model's answer names, in the forms in which models answer."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from limbeck.teachers.api.said.class_words import LETTER, ClassWords, class_words
from limbeck.teachers.api.said.denials import denied, in_denial, rejected
from limbeck.teachers.api.said.markup import boxes, fields, is_object, plain
from limbeck.teachers.api.said.messages import without_thinking

# Nouns after which an answer stands, in the languages that models slip into.
_NOUN = (
    "answer|label|class|classification|category|choice|option|response|prediction|verdict|result|selection|decision|"
    "conclusion|letter|guess|output|antwort|klasse|kategorie|réponse|respuesta|clase|risposta|resposta|antwoord|svar|"
    "ответ|класс|категория"
)
_NOUN_UNSPACED = "答案|答え|回答|正解|选项|選項|类别|類別|分类|分類|정답|답변|답"
_IS = (
    r"(?:\bis\b|\bwould be\b|\bshould be\b|\bmust be\b|\bist\b|\best\b|\bes\b|\bè\b|\bé\b|:|=>?|->|→|\s-\s|"
    r"是|为|為|は|은|는)"
)
_CUE = re.compile(
    rf"(?P<final>\b(?:final|correct|best|right|my)\s+)?"
    rf"(?:(?<!{LETTER})(?:{_NOUN})(?!{LETTER})|{_NOUN_UNSPACED})"
    rf"(?:(?:[^\S\n]+[^\W\d_]+){{0,6}}?[^\S\n]*{_IS}\s*(?:{_IS}\s*)*|[^\S\n]+(?=[(\[\"']?[A-Z#\d]))",
    re.IGNORECASE,
)
_CHOSEN = re.compile(
    r"\b(?:I(?:'d| would| will|'ll)?|we) (?:choose|pick|select|go with|answer|vote for|opt for|say)\s+|"
    r"\b(?:classif(?:y|ied)|label(?:l?ed)?|categori[sz]ed?)(?: (?:this|it))?(?: \w+)? as\s+|\bbelongs to\s+",
    re.IGNORECASE,
)
_FILLERS = {
    "a", "an", "the", "is", "most", "likely", "probably", "possibly", "definitely", "clearly", "certainly", "simply",
    "just", "indeed", "option", "class", "category", "letter", "choice", "label", "answer", "number", "un", "une",
    "le", "la", "der", "die", "das", "ein", "eine", "el", "o",
}  # fmt: skip
_OR = re.compile(
    r"[\s\"')\]]*(?:,?\s*(?:but\s+)?\b(?:maybe|perhaps|possibly|alternatively|(?:could|might)(?: also)? be)\b|"
    r",|/|&|\||\b(?:or|and|vs\.?|versus|oder|und|ou|et|e|y)\b|和|或|と|か|또는)\s*",
    re.IGNORECASE,
)
_QUESTION = re.compile(r"[\s\"')\]]*\?")
_SENTENCE_END = re.compile(r"\n|[.;!?](?=\s+[^\W\d_]{2}|\s*$)")
_ENTRY = re.compile(r"(?:^|(?<=[\s(\[]))[(\[]?", re.MULTILINE)
_BEHIND_ENTRY_MARK = re.compile(r"[\s.):\]=-]+")
_BEHIND_MARK = re.compile(r"[^\w\n]*\n?[^\w\n]*")
_BEHIND_NAME = re.compile(r"[^\w\n]*[(\[:=-]\s*")
_SCORE = re.compile(r"[\s\"')\]]*[(:=-]?\s*\d")
_NAME_STOP = re.compile(r"[\s\"')\]]*(?:$|[.:;,!(\[/|-])|\s*\n|\s+(?:because|since|as|or|and)\b")
_WORD = re.compile(r"[^\W\d_]+(?!-\w)")
_MOST_FILLERS = 5
_MOST = 20  # cues, boxes and mentions that are looked at
_DEEPEST = 3  # classes that an answer joins with "or"
_MOST_LINES = 200
_LONGEST_REST = 400  # characters behind a cue
_HEAD, _TAIL = (
    4_000,
    12_000,
)  # characters of a long answer that are read: it stands at the beginning or the end


def class_in(text: str, names: Sequence[str], marks: Sequence[str], *, is_cut: bool = False) -> int | None:
    """Number of the one class that an answer names by its name or mark; ``None`` if it names none, or several.

    Thinking and the tokens of a turn do not count, nor does what is denied, doubted or asked. Read in this order, and
    the first that says anything decides: fields of JSON, boxes, tags; the words after ``answer:`` and its like
    (``final answer`` first); the beginning, and a last line that is nothing else; names anywhere; capitals anywhere.
    A mark before the name of another class is ambiguous.

    Args:
        is_cut: the answer was cut at its longest length, so that a name on the way is no answer yet.
    """
    bare = text.strip()
    if (raw := [i for i, name in enumerate(names) if name == bare]) and not is_cut:
        return raw[0]
    words = class_words(tuple(names), tuple(marks))
    said = without_thinking(text)
    said = said if len(said) <= _HEAD + _TAIL else f"{said[:_HEAD]}\n{said[-_TAIL:]}"
    answer = _Answer(plain(said, numeric=words.is_numeric), words, is_cut)
    if is_object(answer.text) and not fields(answer.text):
        return None
    for found in answer.readings():
        if found:
            return found.pop() if len(found) == 1 else None
    return None


@dataclass(frozen=True)
class _Lead:
    """What a piece of text begins with: class numbers, several where it goes on with ``or``; where that ends."""

    numbers: frozenset[int] = frozenset()
    end: int = 0
    is_mark: bool = False


class _Answer:
    def __init__(self, text: str, words: ClassWords, is_cut: bool) -> None:
        self.text, self.words, self.is_cut = _without_listing(text, words), words, is_cut

    def readings(self) -> Iterator[set[int]]:
        """What each way of reading finds; one after the other, as long as nothing was found."""
        yield self._of(fields(self.text), are_values=True)
        yield self._of(boxes(self.text), are_values=True)
        cues = self._behind(_CUE)
        yield self._of([rest for is_final, rest in cues if is_final])
        told = self._of([rest for _, rest in [*cues, *self._behind(_CHOSEN)]])
        ends = self._ends()
        yield told | ends if told and ends and self._first_is_bare() else told
        yield ends
        if not self.is_cut:
            yield self._undenied(self.words.names_in(self.text))
            yield self._undenied(self.words.letters_in(self.text))

    def _behind(self, cue: re.Pattern[str]) -> list[tuple[bool, str]]:
        """The rests of the sentences behind words that announce an answer, and whether it is called the final one."""
        inside = [(a, b) for _, a, b in self.words.names_in(self.text)]  # "class 1" may be a name
        pieces = []
        for found in deque(cue.finditer(self.text), _MOST):
            start, is_final = found.end(), bool(found.groupdict().get("final"))
            if in_denial(self.text, found.start()) or any(a <= found.start() < b for a, b in inside):
                continue
            end = _SENTENCE_END.search(self.text, start + 1, start + _LONGEST_REST)
            pieces.append((is_final, self.text[start : end.end() if end else start + _LONGEST_REST]))
        return pieces

    def _of(self, pieces: Sequence[str], *, are_values: bool = False) -> set[int]:
        """The classes that pieces name: what they begin with, else the one that they mention."""
        numbers: set[int] = set()
        for piece in pieces:
            lead = self._lead(piece, alone=True)
            if lead.numbers and not self._may_go_on(piece, lead.end):
                numbers |= lead.numbers
            elif are_values or not (lead.numbers or self.is_cut):
                found = self._undenied(self.words.names_in(piece), piece)
                numbers |= found if len(found) == 1 else set()
        return numbers

    def _undenied(self, places: Iterator[tuple[int, int, int]], text: str | None = None) -> set[int]:
        """Class numbers of names that are not denied where they stand."""
        said = self.text if text is None else text
        checked: Counter[int] = Counter()
        numbers: set[int] = set()
        for number, start, end in places:
            checked[number] += 1
            if number not in numbers and checked[number] <= _MOST and not denied(said, start, end):
                numbers.add(number)
        return numbers

    def _may_go_on(self, text: str, end: int) -> bool:
        """Whether a name at the cut end of an answer may be the beginning of another."""
        if not self.is_cut or text[end:].strip():
            return False
        last = re.search(rf"{LETTER}+\Z", text[:end])
        return last is not None and self.words.may_go_on(last[0])

    # ---- the beginning of a piece ----------------------------------------------------------------------------

    def _lead(self, text: str, start: int = 0, *, alone: bool = False, depth: int = 0) -> _Lead:
        """The class that a piece begins with, behind quotes, brackets, articles and the like."""
        at, fillers = start, 0
        while at < len(text):
            named = self.words.name_at(text, at)
            found = named or self.words.mark_at(text, at, alone=alone)
            if found is not None:
                lead = self._joined(text, *found, named is None, depth)
                is_none = rejected(text, lead.end) or (not depth and _QUESTION.match(text, lead.end))
                return _Lead() if is_none else lead
            word = _WORD.match(text, at)
            if word is None and not text[at].isalnum():
                at += 1
            elif word and word[0].casefold() in _FILLERS and fillers < _MOST_FILLERS:
                at, fillers = word.end(), fillers + 1
            else:
                break
        return _Lead()

    def _joined(self, text: str, number: int, end: int, is_mark: bool, depth: int) -> _Lead:
        """With a name or mark behind the mark (or a mark behind the name), and what follows an ``or``."""
        numbers = {number}
        gap = (_BEHIND_MARK if is_mark else _BEHIND_NAME).match(text, end)
        beside = None
        if gap is not None:
            beside = (is_mark and self.words.name_at(text, gap.end())) or self.words.mark_at(text, gap.end())
        if gap is not None and beside and not denied(text, gap.end(), beside[1]):
            numbers.add(beside[0])
            end = beside[1] if beside[0] == number else end
        if depth < _DEEPEST and (other := _OR.match(text, end)) is not None:
            lead = self._lead(text, other.end(), depth=depth + 1)
            numbers |= lead.numbers
            end = lead.end if lead.numbers else end
        return _Lead(frozenset(numbers), end, is_mark)

    # ---- first and last line ---------------------------------------------------------------------------------

    def _ends(self) -> set[int]:
        """What the answer begins with, and a last line that names a class and says nothing else.

        Where the first line says more than a class, so may others (``cat: 0.2``, ``dog: 0.8``).
        """
        scored = {n for n, _, end in self.words.names_in(self.text) if _SCORE.match(self.text, end)}
        if len(scored) > 1 and not self.words.is_numeric:
            return scored
        lines = [line for line in self.text.splitlines() if line.strip()][-_MOST_LINES:]
        if not self._is_strong(self.text, first := self._lead(self.text)):
            numbers: set[int] = set()
        elif self._first_is_bare():
            numbers = set(first.numbers)
        else:
            leads = ((line, self._lead(line)) for line in lines)
            numbers = set(first.numbers).union(
                *(lead.numbers for line, lead in leads if self._is_strong(line, lead))
            )
        if len(lines) > 1 and (last := self._bare(lines[-1])):
            numbers |= last
        return numbers

    def _first_is_bare(self) -> bool:
        return bool(self._bare(next((line for line in self.text.splitlines() if line.strip()), "")))

    def _bare(self, line: str) -> frozenset[int]:
        """The class that a line names if it says nothing else."""
        lead = self._lead(line)
        return frozenset() if line[lead.end :].strip(" \t\"'.)]}!*_") else lead.numbers

    def _is_strong(self, text: str, lead: _Lead) -> bool:
        """A mark, or a name that is followed by a stop: not the subject of a sentence."""
        if not lead.numbers or self._may_go_on(text, lead.end):
            return False
        return lead.is_mark or _NAME_STOP.match(text, lead.end) is not None


def _without_listing(text: str, words: ClassWords) -> str:
    """Without the list of the classes, where the answer repeats it: line by line, or all of them in a row."""
    lines: list[str] = []
    numbers: set[int] = set()
    for line in text.splitlines():
        if (entry := _entry(line, 0, words)) and entry[1] == len(line.rstrip()):
            numbers.add(entry[0])
        else:
            lines.append(line)
    if len(numbers) > 1:
        return "\n".join(lines).strip()
    kept, start, listed = "", 0, set[int]()
    for place in _ENTRY.finditer(text):
        if (entry := _entry(text, place.end(), words)) and place.start() >= start:
            kept, start = kept + text[start : place.start()], entry[1]
            listed.add(entry[0])
    return f"{kept} {text[start:]}".strip() if len(listed) == words.n_classes else text


def _entry(text: str, start: int, words: ClassWords) -> tuple[int, int] | None:
    """A mark with its own name at a place: the number, and where the name ends."""
    mark = words.mark_at(text, start)
    gap = _BEHIND_ENTRY_MARK.match(text, mark[1]) if mark else None
    name = words.name_at(text, gap.end()) if gap else None
    return name if mark and name and mark[0] == name[0] else None
