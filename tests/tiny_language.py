"""A tokenizer of single characters whose padding is its end, and tables of words to write backwards."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

LETTERS = "abcdefghijklmnopqrstuvwxyz>:! ?"
SPECIAL = ("</s>", "<unk>", "<s>", "<turn>")
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ m.role[0] }}:{{ m.content }}<turn>{% endfor %}"
    "{% if add_generation_prompt %}a:{% endif %}"
)


def tokenizer(*, begins: bool = False, chat: bool = False) -> Any:
    """32 and more tokens: letters, and what is special; ``begins``: texts begin with a token of their own."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: i for i, token in enumerate((*SPECIAL, *LETTERS))}
    letters = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    letters.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    letters.decoder = decoders.Fuse()
    if begins:
        letters.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", vocabulary["<s>"])]
        )
    made = PreTrainedTokenizerFast(
        tokenizer_object=letters,
        eos_token="</s>",
        pad_token="</s>",
        unk_token="<unk>",
        bos_token="<s>",
        additional_special_tokens=["<turn>"],
    )
    if chat:
        made.chat_template = TEMPLATE
    return made


def folder(place: Path, **options: Any) -> Path:
    """A folder that holds the tokenizer alone."""
    tokenizer(**options).save_pretrained(place)
    return place


def table(path: Path, n: int = 40, *, seed: int = 0, **columns: Any) -> Path:
    """Words of 1 to 5 letters and the same backwards, as JSON Lines; further columns by functions of the row number."""
    draw = random.Random(seed)
    rows = []
    for i in range(n):
        word = "".join(draw.choice("abcd") for _ in range(draw.randint(1, 5)))
        row = {"id": f"r{i}", "prompt": f"{word}>", "completion": word[::-1]}
        rows.append(row | {name: make(i) for name, make in columns.items()})
    path.write_text("\n".join(map(json.dumps, rows)))
    return path
