"""Fused divergences of big vocabularies beside the four matrix products that any exact method makes.

    python benchmarks/vocabulary_floor.py [--tokens 512 1024] [--rounds 5]

CPU, one thread, float32, width 512, 32,768 words; forward and backward. Ratios of medians of processor time, the
products and every divergence in turn in one process; at most 1.15 wanted.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from alignment import interleaved
from alignment_methods import Vocabulary

from limbeck import functional as L

KINDS = ("forward_kl", "reverse_kl", "jsd")
WIDTH, WORDS = 512, 32_768


def products(v: Vocabulary) -> None:
    """Both sides' logits, and the student's gradients from a matrix of their shape."""
    hidden, weight = v.hidden_s.detach(), v.weight_s.detach()
    logits = hidden @ weight.T
    v.hidden_t @ v.weight_t.T
    logits @ weight
    logits.T @ hidden


def fused(v: Vocabulary, kind: str) -> None:
    v.run(lambda *x: L.fused_linear_divergence(*x, kind=kind))  # type: ignore[arg-type]


def line(tokens: int, rounds: int) -> str:
    v = Vocabulary.make(tokens, WIDTH, WORDS)
    methods = {kind: (lambda kind=kind: fused(v, kind)) for kind in KINDS}
    t = interleaved({"products": lambda: products(v), **methods}, rounds)
    cells = [f"{t[kind] / t['products']:.2f} ({t[kind]:.0f} ms)" for kind in KINDS]
    return f"| {tokens} | {t['products']:.0f} ms | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokens", type=int, nargs="+", default=[512, 1024])
    parser.add_argument("--rounds", type=int, default=5)
    values = parser.parse_args()
    torch.set_num_threads(1)
    print(f"| T | four products | {' | '.join(KINDS)} |")
    print("|---|---|---|---|---|")
    for tokens in values.tokens:
        print(line(tokens, values.rounds), flush=True)


if __name__ == "__main__":
    main()
