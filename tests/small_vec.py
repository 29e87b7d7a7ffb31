"""A small stand-in for VEC: words of one token, in one order of size."""

from __future__ import annotations

import json
from pathlib import Path

_NAMES = (
    "ant coin egg bird cup shoe cat dog goose chair sofa bed horse car truck bus house ship tower mountain"
)
SIZES = tuple(_NAMES.split())  # by size
RANK = {name: rank for rank, name in enumerate(SIZES)}
COLORS = {
    "snow": ("white", "red"),
    "milk": ("white", "blue"),
    "coal": ("black", "white"),
    "blood": ("red", "white"),
}


def vec_folder(folder: Path, names=SIZES) -> Path:
    """``size.json`` with every pair in both orders, and ``color.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    pairs = [{"obj1": a, "obj2": b, "label": int(RANK[a] > RANK[b])} for a in names for b in names if a != b]
    colors = [{"sub": sub, "obj": obj, "alt": alt} for sub, (obj, alt) in COLORS.items()]
    for name, rows in (("size", pairs), ("color", colors)):
        (folder / f"{name}.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def word_tokenizer(*, bos: bool):
    """Words as tokens over all that the probes ask; with ``[CLS]``, ``[SEP]`` and ``[MASK]``, or with ``<s>``."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "<s>"]
    colors = sorted({color for pair in COLORS.values() for color in pair})
    asked = ["a", "an", "is", "larger", "than", "the", "color", "of", "something", "small", "large", "."]
    words = [*special, *SIZES, *COLORS, *colors, *asked]
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if bos:
        return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", unk_token="[UNK]")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, mask_token="[MASK]", **names)
