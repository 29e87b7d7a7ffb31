"""An illustrator that needs no model and no network: a sentence as a strip of the emoji whose names occur in it.

It stands in for a generator of pictures (ARMADA's teacher draws the sentence), so that a teacher which has only seen
pictures can be asked about texts, offline and the same way every time.
"""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from limbeck.data.base import Examples, View
from limbeck.data.benchmarks.emoji import EMOJI_ROLES, emoji_pictures, emoji_rows
from limbeck.data.files.views import GridView
from limbeck.errors import DataError
from limbeck.seeding import keyed_seed
from limbeck.signals.classes import UNLABELLED

if TYPE_CHECKING:
    from PIL.Image import Image

SLOTS = 4
NAME_WEIGHT = 2.0  # an emoji's own name says more of it than a keyword that it shares

# Words that are some emoji's keyword and say nothing of what a sentence shows.
_STOP_WORDS = """a about after all also an and any are as at back be because been before being but button by
can do down end first flag for from get had has have he her him his how i if in into is it
its just left mark me more my new next no not now of off ok on one or other our out over own
part right she sign so some soon symbol than that the their them there they this to top two
under up us very was we were what when which who will with without would yes you your"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
_WORD = re.compile(r"[^\W\d_]+(?:'[a-z])?")


def stem(word: str) -> str:
    """A word without the endings of plurals and verbs: ``cities`` and ``city`` are one, so are ``running`` and ``run``.

    Examples:
        >>> [stem(word) for word in ("Houses", "cities", "running", "boxes", "glass", "pope")]
        ['house', 'city', 'run', 'box', 'glass', 'pope']
    """
    word = word.lower().replace("’", "'").removesuffix("'s")
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("xes", "ches", "shes", "sses")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us")):
        return word[:-1]
    for ending in ("ing", "ed"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            short = word[: -len(ending)]
            return short[:-1] if short[-1] == short[-2] and short[-1] not in "lsz" else short
    return word


def stems(text: str) -> tuple[str, ...]:
    """The stems of a text's words in order; a stop word leaves a gap (an empty stem), which no phrase spans."""
    words = (word.lower() for word in _WORD.findall(text.replace("’", "'")))
    return tuple("" if word in STOP_WORDS else stem(word) for word in words)


@dataclass(frozen=True)
class Illustrator:
    """Draws texts with the emoji of one folder; make it with :func:`emoji_illustrator`.

    Args:
        pictures: ``[E, 3, size, size]`` float32, 0 to 1.    keys, names, groups: of each emoji.    roles: its split.
        phrases: a phrase (stems of a name or keyword) to the emoji that bear it, each with a weight.
    """

    pictures: Tensor
    keys: tuple[str, ...]
    names: tuple[str, ...]
    groups: tuple[str, ...]
    roles: tuple[str, ...]
    phrases: Mapping[tuple[str, ...], Mapping[int, float]] = field(repr=False)

    def choose(self, text: str, n: int = SLOTS) -> list[int]:
        """Up to ``n`` emoji whose names or keywords occur in ``text``, in the order in which they occur.

        The weight of an emoji is the TF-IDF of its phrases found there; each one drawn says a phrase that those
        drawn before did not, so that "man" does not become four men.
        """
        found = self._found(stems(text))
        scores: dict[int, float] = {}
        bearers: dict[int, list[tuple[str, ...]]] = {}
        for phrase, (count, _) in found.items():
            for emoji, weight in self.phrases[phrase].items():
                scores[emoji] = scores.get(emoji, 0.0) + weight * (1 + math.log(count))
                bearers.setdefault(emoji, []).append(phrase)
        chosen: list[tuple[int, int]] = []
        told: set[str] = set()
        for emoji, _ in sorted(scores.items(), key=lambda item: (-item[1], item[0])):
            words = {word for phrase in bearers[emoji] for word in phrase}
            if len(chosen) < n and not words <= told:
                told |= words
                chosen.append((min(found[phrase][1] for phrase in bearers[emoji]), emoji))
        return [emoji for _, emoji in sorted(chosen)]

    def _found(self, words: Sequence[str]) -> dict[tuple[str, ...], tuple[int, int]]:
        """Phrases in a text: how often, and where first."""
        longest = max(map(len, self.phrases), default=0)
        found: dict[tuple[str, ...], tuple[int, int]] = {}
        for at in range(len(words)):
            for length in range(1, min(longest, len(words) - at) + 1):
                phrase = tuple(words[at : at + length])
                if phrase in self.phrases:
                    count, first = found.get(phrase, (0, at))
                    found[phrase] = (count + 1, first)
        return found

    def strip(self, emoji: Sequence[int], slots: int = SLOTS) -> Tensor:
        """Emoji side by side on white, ``[3, size, slots * size]``, 0 to 1."""
        size = self.pictures.shape[-1]
        picture = torch.ones(3, size, slots * size)
        for slot, number in enumerate(emoji[:slots]):
            picture[:, :, slot * size : (slot + 1) * size] = self.pictures[number]
        return picture

    def row(self, parts: Sequence[str]) -> Tensor:
        """The strip of a row of several texts (premise and hypothesis, say), which share the slots equally."""
        each = max(1, SLOTS // len(parts))
        strips = [self.strip(self.choose(part, each), each) for part in parts[:SLOTS]]
        rest = SLOTS - each * len(strips)
        return torch.cat([*strips, self.strip([], rest)] if rest else strips, dim=2)

    def draw(self, text: str) -> Image:
        """The picture of a text as a Pillow image, for a generative teacher.

        Which emoji and size drew it is no part of a function's source: tell two illustrators of one teacher apart by
        ``FunctionDraw(illustrator.draw, version="...")``.
        """
        from PIL import Image

        pixels = self.strip(self.choose(text)).permute(1, 2, 0).mul(255).round().byte().numpy()
        return Image.fromarray(pixels)


def emoji_illustrator(folder: str | Path, size: int = 72) -> Illustrator:
    """The illustrator of a folder of the ``emoji`` data set, its pictures scaled to ``size`` pixels; a folder is read
    once a process.

    Raises: DataError naming a missing or unreadable file; ConfigError without Pillow.
    """
    root = Path(folder).expanduser()
    rows = emoji_rows(root / "emoji.csv")
    return _illustrator(
        root, size, (root / "emoji.csv").stat().st_mtime_ns, tuple(row["file"] for row in rows)
    )


@functools.lru_cache(maxsize=2)
def _illustrator(root: Path, size: int, changed: int, files: tuple[str, ...]) -> Illustrator:
    rows = emoji_rows(root / "emoji.csv")
    return Illustrator(
        pictures=emoji_pictures(root, files, size, changed),
        keys=tuple(row["codepoints"] for row in rows),
        names=tuple(row["name"] for row in rows),
        groups=tuple(row["group"] for row in rows),
        roles=tuple(EMOJI_ROLES[row["split"]] for row in rows),
        phrases=_phrases(rows),
    )


def _phrases(rows: Sequence[Mapping[str, str]]) -> dict[tuple[str, ...], dict[int, float]]:
    """Phrase to emoji to weight: inverse document frequency, more for a name, per root of the emoji's phrases."""
    own: list[dict[tuple[str, ...], float]] = []
    for row in rows:
        name = row["name"].rpartition(": ")[2]  # "flag: Iraq" is called Iraq
        weights = {stems(keyword): 1.0 for keyword in row["keywords"].split("|")}
        weights[stems(name)] = NAME_WEIGHT
        own.append({phrase: weight for phrase, weight in weights.items() if phrase and all(phrase)})
    frequency = Counter(phrase for weights in own for phrase in weights)
    phrases: dict[tuple[str, ...], dict[int, float]] = {}
    for number, weights in enumerate(own):
        for phrase, weight in weights.items():
            idf = 1 + math.log(len(rows) / frequency[phrase])
            phrases.setdefault(phrase, {})[number] = weight * idf * len(phrase) / math.sqrt(len(weights))
    return phrases


# -- a teacher of pictures for a task of texts -----------------------------------------------------------------


def picture_splits(texts: Examples, *, folder: str | Path, size: int = 32) -> dict[str, Examples]:
    """What a teacher of pictures learns from, and is asked: ``train``, ``validation`` and ``test`` are strips of one
    emoji each, labelled by its group, and ``link`` is the strip of every row of ``texts``, without labels.

    A labelled strip repeats its emoji one to four times and leaves the rest white, as drawings do. Pictures are
    ``x`` ``[3, size, 4 * size]`` float32, -1 to 1.
    """
    illustrator = emoji_illustrator(folder, size)
    groups = tuple(sorted(set(illustrator.groups)))
    splits = {
        role: _labelled(illustrator, [n for n, own in enumerate(illustrator.roles) if own == role], groups)
        for role in EMOJI_ROLES.values()
    }
    pictures = torch.stack([illustrator.row(parts) for parts in _parts(texts)]).mul_(2).sub_(1)
    labels = torch.full((len(texts),), UNLABELLED)
    return splits | {"link": Examples.classified({"x": pictures}, texts.keys, labels, groups)}


def strip_views() -> dict[str, View]:
    """Views of strips for the teacher that is trained on them."""
    return {"weak": GridView(shift=(2, 2), noise=0.1), "strong": GridView(shift=(3, 3), noise=0.3)}


def _parts(texts: Examples) -> list[list[str]]:
    """Each row's texts: text, text_pair, and the choices."""
    inputs = texts.all_rows()
    columns = [inputs[name] for name in texts.text_columns]
    return [
        [part for value in row for part in ((value,) if isinstance(value, str) else value)]
        for row in zip(*columns)
    ]


def _labelled(illustrator: Illustrator, numbers: Sequence[int], groups: Sequence[str]) -> Examples:
    if not numbers:
        raise DataError(f"emoji.csv must give some emoji to each split of {', '.join(EMOJI_ROLES)}.")
    strips = []
    for number in numbers:
        rng = np.random.default_rng(keyed_seed("strip", illustrator.keys[number]))
        slots = rng.permutation(SLOTS)[: rng.integers(1, SLOTS + 1)]
        strip = illustrator.strip([]).clone()
        width = illustrator.pictures.shape[-1]
        for slot in slots:
            strip[:, :, slot * width : (slot + 1) * width] = illustrator.pictures[number]
        strips.append(strip)
    labels = torch.tensor([groups.index(illustrator.groups[number]) for number in numbers])
    keys = tuple(illustrator.keys[number] for number in numbers)
    return Examples.classified({"x": torch.stack(strips).mul_(2).sub_(1)}, keys, labels, tuple(groups))


def coverage(illustrator: Illustrator, texts: Sequence[str]) -> dict[str, Any]:
    """How much of a list of texts can be drawn: ``texts``, ``drawn`` (at least one emoji), ``mean`` emoji a text."""
    counts = [len(illustrator.choose(text)) for text in texts]
    return {
        "texts": len(counts),
        "drawn": sum(n > 0 for n in counts),
        "mean": sum(counts) / max(1, len(counts)),
    }
