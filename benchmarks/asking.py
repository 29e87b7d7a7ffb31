"""What a bank costs over the encoder's own loop: python benchmarks/asking.py

``Bank.build`` with MiniLM (extra ``text``) against ``SentenceTransformer.encode`` on the same texts, in one process and
thread, in turn. Processor time, since a bank also writes to the disk; ratios are of medians.
"""

from __future__ import annotations

import argparse
import inspect
import logging
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer

from limbeck.banks import Bank
from limbeck.students.text import text_model_path
from limbeck.teachers import HFTeacher


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--texts", type=int, default=3000)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--turns", type=int, default=3)
    values = parser.parse_args()
    torch.set_num_threads(1)
    path = text_model_path("minilm")
    encoder, teacher = SentenceTransformer(str(path), device="cpu"), HFTeacher(str(path))
    mixed = english(values.texts)
    equal = [" ".join((mixed[i] + " word" * 40).split()[:40]) for i in range(len(mixed))]
    print("| texts | encode, s | bank, s | ratio | largest difference |")
    print("|---|---|---|---|---|")
    for name, texts in (("mixed lengths", mixed), ("40 words each", equal)):
        report(name, texts, encoder, teacher, values.batch_size, values.turns)


def english(n: int) -> list[str]:
    """Texts of mixed length that every machine has: paragraphs of the standard library's documentation."""
    found: list[str] = []
    for name in sorted(sys.stdlib_module_names):
        try:
            source = inspect.getsource(sys.modules[name]) if name in sys.modules else ""
        except (OSError, TypeError):
            continue
        for paragraph in source.split('"""')[1::2]:
            found += [" ".join(part.split()) for part in paragraph.split("\n\n") if len(part.split()) > 3]
    return [found[i * 7919 % len(found)] for i in range(n)]


def report(
    name: str, texts: list[str], encoder: SentenceTransformer, teacher: HFTeacher, size: int, turns: int
) -> None:
    root = Path(tempfile.mkdtemp())
    rows = {"id": [str(i) for i in range(len(texts))], "text": texts}

    def build() -> Bank:
        shutil.rmtree(root / "bank", ignore_errors=True)
        return Bank.build(root / "bank", teacher, rows, key="id", batch_size=size)

    def encode() -> torch.Tensor:
        return encoder.encode(texts, batch_size=size, convert_to_tensor=True)

    spent: dict[str, list[float]] = {"bank": [], "encode": []}
    for turn in range(turns):
        jobs: list[tuple[str, Callable[[], object]]] = [("bank", build), ("encode", encode)]
        for what, job in jobs if turn % 2 else reversed(jobs):
            start = time.process_time()
            job()
            spent[what].append(time.process_time() - start)
    found = build().lookup(rows["id"]).features
    assert isinstance(found, torch.Tensor)
    gap = (found - encode()).abs().max().item()
    bank, own = (statistics.median(spent[what]) for what in ("bank", "encode"))
    print(f"| {name} | {own:.1f} | {bank:.1f} | {bank / own:.2f} | {gap:.1e} |", flush=True)
    shutil.rmtree(root)


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    main()
