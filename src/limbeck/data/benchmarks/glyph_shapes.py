"""Characters of a font as drawings, and what can be counted on a drawing: holes, parts, mirror symmetry, ink.

Axis legend: n drawings, h = w = ``SIDE`` pixels.
"""

from __future__ import annotations

import functools
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.errors import ConfigError

SIDE = 96  # pixels of a drawing's side
_MARGIN = 6  # pixels left free on each side
_FONT_SIZE = 120  # larger than a drawing, so that most characters are scaled down
_SPECK = 5  # pixels; a smaller part or hole is an accident of drawing
_SAME = 0.9  # two drawings that share so much of their ink are one shape
_SYMMETRIC = 0.99  # share of the mirrored ink that falls on ink, from which on a drawing counts as symmetric
_SCRIPTS = ("LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "GEORGIAN", "HEBREW")
# Series that are drawn by rule from their names, so that there is nothing to see that was not said.
_SERIES = ("BRAILLE", "HEXAGRAM", "TETRAGRAM", "DOMINO", "PLAYING", "BOX")


@dataclass(frozen=True)
class Glyphs:
    """Characters and their drawings.

    Args:
        characters: n of them, in the order of their code points.
        grey: ``[n, h, w]`` uint8, 0 = paper, 255 = ink; the longer side of the shape fills the drawing up to a
            margin, and the shape is centred.
    """

    characters: tuple[str, ...]
    grey: np.ndarray

    @property
    def ink(self) -> np.ndarray:
        """Where there is ink, ``[n, h, w]`` bool."""
        return self.grey >= 128


@functools.lru_cache(maxsize=1)
def glyphs_of_font() -> Glyphs:
    """Letters of six scripts, numbers, punctuation and symbols of DejaVu Sans, each shape once.

    Of characters whose drawings share 90% of their ink (LATIN A, GREEK ALPHA, CYRILLIC A) only the first is kept,
    or the same picture would be on both sides of a split.

    Raises: ConfigError without matplotlib (which carries the font, Pillow and fontTools).
    """
    try:
        import matplotlib
        from fontTools.ttLib import TTFont
        from PIL import ImageFont
    except ImportError as error:
        raise ConfigError(
            "The glyphs are drawn with a font of matplotlib; install it with: pip install 'limbeck[text]'."
        ) from error
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    with TTFont(path, lazy=True) as tables:
        characters = [chr(code) for code in sorted(tables.getBestCmap()) if _is_wanted(chr(code))]
    font = ImageFont.truetype(str(path), _FONT_SIZE, layout_engine=ImageFont.Layout.BASIC)
    drawn = {character: grey for character in characters if (grey := _drawing(font, character)) is not None}
    glyphs = Glyphs(tuple(drawn), np.stack(list(drawn.values())))
    kept = first_of_each_shape(glyphs.ink)
    return Glyphs(tuple(glyphs.characters[row] for row in kept), glyphs.grey[kept])


def _is_wanted(character: str) -> bool:
    name, category = unicodedata.name(character, ""), unicodedata.category(character)
    if category[0] == "L":
        return name.startswith(_SCRIPTS)
    return bool(name) and category[0] in "NPS" and not name.startswith(_SERIES)


def _drawing(font: Any, character: str) -> np.ndarray | None:
    """One character, scaled to the drawing's size and centred, ``[h, w]`` uint8; None if it has no ink."""
    from PIL import Image

    mask = font.getmask(character, mode="L")
    image = Image.frombytes("L", mask.size, bytes(mask)) if all(mask.size) else None
    box = image.getbbox() if image else None
    if image is None or box is None:
        return None
    image = image.crop(box)
    scale = (SIDE - 2 * _MARGIN) / max(image.size)
    # Even sizes lie exactly in the middle, so that a mirror does not shift them.
    width, height = (max(2, 2 * round(side * scale / 2)) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    paper = Image.new("L", (SIDE, SIDE))
    paper.paste(image, ((SIDE - width) // 2, (SIDE - height) // 2))
    return np.asarray(paper)


def first_of_each_shape(ink: np.ndarray) -> np.ndarray:
    """Rows of ``ink`` (``[n, h, w]`` bool) that share less than 90% of their ink with every earlier one kept.

    Shared ink: area of the intersection over that of the union, on a third of the resolution.
    """
    n, h, w = ink.shape
    coarse = ink.reshape(n, h // 3, 3, w // 3, 3).mean((2, 4)).reshape(n, -1) >= 0.5
    flat = coarse.astype(np.float32)
    area = flat.sum(1)
    kept: list[int] = []
    alive = np.ones(n, dtype=bool)
    for row in range(n):
        if not alive[row]:
            continue
        kept.append(row)
        # Only shapes of like area can share that much: a tenth of the work.
        like = (area >= _SAME * area[row]) & (_SAME * area <= area[row]) & alive
        like[:row] = False
        rows = np.flatnonzero(like)
        both = flat[rows] @ flat[row]
        alive[rows] = both < _SAME * (area[rows] + area[row] - both)
    return np.array(kept)


def count_parts(ink: np.ndarray) -> int:
    """Connected pieces of ink in ``[h, w]`` bool; pixels that touch at a corner are connected."""
    return _count(ink, corners=True)


def count_holes(ink: np.ndarray) -> int:
    """Pieces of paper that ink encloses in ``[h, w]`` bool; pixels that touch at a corner are not connected."""
    return _count(~np.pad(ink, 1), corners=False) - 1  # the paper around is one piece


def _count(pixels: np.ndarray, *, corners: bool) -> int:
    from scipy import ndimage

    pieces, n = ndimage.label(pixels, np.ones((3, 3)) if corners else None)
    return int((np.bincount(pieces.ravel(), minlength=n + 1)[1:] >= _SPECK).sum())


def mirror_symmetries(ink: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which drawings of ``[n, h, w]`` bool look the same when left and right, and when up and down, are exchanged.

    Returns: two arrays ``[n]`` bool. Same: of the mirror image's ink at least 99% lies on the drawing's ink or at most
        one pixel beside it (an X leans by a pixel where nobody sees it; a grave accent moves 2%, and so is an H not the
        same upside down, since its bar sits above the middle).
    """
    area, around = ink.sum((1, 2)), _thickened(ink)
    left_right, up_down = ((np.flip(ink, axis) & around).sum((1, 2)) >= _SYMMETRIC * area for axis in (2, 1))
    return left_right, up_down


def _thickened(ink: np.ndarray) -> np.ndarray:
    """Every pixel of ``[n, h, w]`` bool that is ink or touches ink."""
    wide = ink.copy()
    wide[:, :, 1:] |= ink[:, :, :-1]
    wide[:, :, :-1] |= ink[:, :, 1:]
    thick = wide.copy()
    thick[:, 1:] |= wide[:, :-1]
    thick[:, :-1] |= wide[:, 1:]
    return thick
