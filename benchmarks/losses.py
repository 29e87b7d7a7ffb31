"""Losses beside those of other libraries: forward and backward, one process, one thread, turns in changing order.

    python benchmarks/losses.py [--turns 15] [--out losses.json]

Peers that are not installed are left out (``torchdistill``, ``pytorch-metric-learning``, ``sentence-transformers``).
Batch 256, 1,000 classes, widths 512 and 1,024; maps of 64 channels on 14 x 14. Times are medians of the processor time
of the process, which other work on the machine lengthens less than it does the time on the wall.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from alignment import peak_megabytes
from torch import Tensor
from torch.nn import functional as F

from limbeck import functional as L

B, C, WIDTHS, MAP = 256, 1000, (512, 1024), (64, 14, 14)
Loss = Callable[[Tensor, Tensor], Tensor]


def inputs(*shape: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    s, t = (torch.randn(B, *shape, generator=generator) for _ in range(2))
    return s.requires_grad_(), t


def seconds(loss: Loss, s: Tensor, t: Tensor) -> float:
    start = time.process_time()
    value = loss(s, t)
    torch.autograd.grad(value, s)
    return time.process_time() - start


def interleaved(losses: Mapping[str, Loss], s: Tensor, t: Tensor, turns: int) -> dict[str, float]:
    """Median milliseconds of each."""
    found: dict[str, list[float]] = {name: [] for name in losses}
    names = list(losses)
    for turn in range(-2, turns):
        for name in names if turn % 2 else names[::-1]:
            took = seconds(losses[name], s, t)
            if turn >= 0:
                found[name].append(took)
        gc.collect()
    return {name: 1e3 * statistics.median(times) for name, times in found.items()}


# ---- peers ---------------------------------------------------------------------------------------------------


def torchdistill(name: str, *given: Any, **settings: Any) -> Loss:
    """A loss of torchdistill on outputs that its hooks would have caught."""
    made = getattr(importlib.import_module("torchdistill.losses.mid_level"), name)(*given, **settings)

    def loss(s: Tensor, t: Tensor) -> Tensor:
        return made({"m": {"output": s}, "e": {"output": s}}, {"m": {"output": t}, "e": {"output": t}})

    return loss


def sentence_transformers(name: str, **settings: Any) -> Any:
    module = importlib.import_module("sentence_transformers.sentence_transformer.losses")
    return getattr(module, name)(model=torch.nn.Identity(), **settings)


def ntxent(s: Tensor, t: Tensor) -> Tensor:
    """Positives are the rows of one number, one of each side."""
    made = importlib.import_module("pytorch_metric_learning.losses").NTXentLoss(temperature=0.07)
    number = torch.arange(len(s))
    return made(
        s, number, ref_emb=t, ref_labels=number.clone()
    )  # of the same tensor it leaves the diagonal out


AT = {"student": {"path": "m", "io": "output"}, "teacher": {"path": "m", "io": "output"}}
PATHS = ("m", "output", "m", "output")
KERNEL = {"type": "gaussian", "gamma": 0.4, "max_p": 2}


def pairs() -> Iterator[tuple[str, tuple[int, ...], Loss, Callable[[], Loss]]]:
    """Name of the loss and its peer, shape of a row, ours, and what makes the peer."""
    logits, td = (C,), torchdistill
    yield (
        "kd / torchdistill",
        logits,
        lambda s, t: L.distillation_kl(s, t, temperature=4.0),
        lambda: td("KDLoss", *PATHS, temperature=4.0, alpha=0.0, beta=1.0),
    )
    yield (
        "logit standardisation / torchdistill",
        logits,
        lambda s, t: L.divergence(L.standardised_logits(s), L.standardised_logits(t), temperature=2.0),
        lambda: td("LogitStdKDLoss", *PATHS, temperature=2.0, alpha=0.0, beta=1.0, eps=1e-7),
    )
    yield (
        "dist / torchdistill",
        logits,
        lambda s, t: L.prediction_correlation(s, t) + L.prediction_correlation(s, t, over="rows"),
        lambda: td("DISTLoss", *PATHS),
    )
    yield (
        "streamlined kd, directions / torchdistill",
        logits,
        L.direction_gap,
        lambda: td("SKDDirectionLoss", *PATHS),
    )
    for d in WIDTHS:
        yield (
            f"rkd, distances d={d} / torchdistill",
            (d,),
            L.rkd_distance,
            lambda: td("RKDLoss", "m", "m", 1.0, 0.0, "mean"),
        )
        yield (
            f"sp d={d} / torchdistill",
            (d,),
            L.similarity_preserving,
            lambda: td("SPKDLoss", "m", "m", "mean"),
        )
        yield (
            f"cc d={d} / torchdistill",
            (d,),
            L.correlation_congruence,
            lambda: td("CCKDLoss", "m", "m", KERNEL, "batchmean"),
        )
        yield (
            f"pkt d={d} / torchdistill",
            (d,),
            lambda s, t: L.pkt(s, t, variant="official"),
            lambda: td("PKTLoss", *PATHS),
        )
        yield f"info_nce d={d} / pytorch-metric-learning", (d,), L.info_nce, lambda: ntxent
        yield (
            f"info_nce d={d} / sentence-transformers",
            (d,),
            lambda s, t: L.info_nce(s, t, temperature=0.05),
            _mnr,
        )
        yield (
            f"hint distance d={d} / sentence-transformers",
            (d,),
            lambda s, t: L.hint_gap(s, t, kind="distance"),
            _embed,
        )
    yield "margin_mse, 32 candidates / sentence-transformers", (32,), L.margin_mse, _margins
    yield "at / torchdistill", MAP, L.attention_transfer, lambda: td("ATLoss", {"a": AT}, mode="paper")
    yield "channel similarity / torchdistill", MAP, L.channel_similarity, lambda: td("ChSimLoss", {"a": AT})
    yield (
        "factor transfer / torchdistill",
        MAP,
        lambda s, t: L.normalised_gap(s, t, variant="torchdistill"),
        lambda: td("FTLoss", paraphraser_path="m", translator_path="m"),
    )
    yield "reviewkd, one stage / torchdistill", MAP, L.pyramid_mse, _context
    yield "fsp, 64 tokens d=64 / torchdistill", (64, 64), lambda s, t: L.flow_gap((s, s), (t, t)), _fsp


def _mnr() -> Loss:
    made = sentence_transformers("MultipleNegativesRankingLoss", scale=20.0)
    return lambda s, t: made.compute_loss_from_embeddings([s, t], None)


def _embed() -> Loss:
    made = sentence_transformers("EmbedDistillLoss", distance_metric="l2")
    return lambda s, t: made.compute_loss_from_embeddings([s], t)


def _margins() -> Loss:
    """Scores as products of vectors of width 1."""
    loss = sentence_transformers("MarginMSELoss")
    one = torch.ones(B, 1)

    def compared(s: Tensor, t: Tensor) -> Tensor:
        candidates = [one, *(s[:, j : j + 1] for j in range(s.shape[1]))]
        return loss.compute_loss_from_embeddings(candidates, t[:, :1] - t[:, 1:])

    return compared


def _context() -> Loss:
    made = importlib.import_module("torchdistill.losses.mid_level").HierarchicalContextLoss(*PATHS)
    return lambda s, t: made({"m": {"output": (s.clone(), None)}}, {"m": {"output": t}})


def _fsp() -> Loss:
    place = {"path": "m", "io": "output"}
    pair = dict.fromkeys(("student_first", "student_second", "teacher_first", "teacher_second"), place)
    made = torchdistill("FSPLoss", {"a": pair})
    return lambda s, t: made(s.mT[:, :, :, None], t.mT[:, :, :, None])  # tokens as the positions of a map


# ---- parts ---------------------------------------------------------------------------------------------------


def peers(turns: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, shape, ours, make in pairs():
        try:
            peer = make()
            s, t = inputs(*shape)
            peer(s, t)
        except (ImportError, ModuleNotFoundError) as error:
            found[name] = f"left out: {error}"
            continue
        times = interleaved({"ours": ours, "peer": peer}, s, t, turns)
        found[name] = times | {"ratio": times["peer"] / times["ours"]}
        print(
            f"| {name} | {times['ours']:.2f} ms | {times['peer']:.2f} ms | {found[name]['ratio']:.2f} x |",
            flush=True,
        )
    return found


def ranks(turns: int) -> dict[str, Any]:
    """Kendall's correlation of a batch against a loop over SciPy's."""
    from scipy.stats import kendalltau

    found = {}
    for c in (8, 10, 50, 100, 309, C):
        s, t = torch.randn(B, c), torch.randn(B, c)
        times: dict[str, list[float]] = {"ours": [], "scipy": []}
        L.kendall_tau(s, t)
        for _ in range(max(3, turns // 3)):
            for _ in range(3):
                start = time.process_time()
                L.kendall_tau(s, t)
                times["ours"].append(time.process_time() - start)
            start = time.process_time()
            for a, b in zip(s.numpy(), t.numpy()):
                kendalltau(a, b)
            times["scipy"].append(time.process_time() - start)
        ours, theirs = (1e3 * statistics.median(times[name]) for name in ("ours", "scipy"))
        found[str(c)] = {"ours": ours, "scipy": theirs, "ratio": theirs / ours}
        print(
            f"| kendall_tau, {c} classes / SciPy | {ours:.2f} ms | {theirs:.1f} ms | {theirs / ours:.0f} x |",
            flush=True,
        )
    return found


def queues(turns: int) -> dict[str, float]:
    """CRD and InfoNCE against 100,000 rows, width 128 of CRD and 512 of InfoNCE."""
    found = {}
    for name, d, loss in (
        ("crd, one side", 128, lambda s, t, q: L.noise_contrast_all(s, t, q)),
        ("info_nce", 512, lambda s, t, q: L.info_nce(s, t, queue=q)),
    ):
        s, t = (F.normalize(x.detach(), dim=1) for x in inputs(d))
        s.requires_grad_()
        queue = F.normalize(torch.randn(100_000, d), dim=1)
        product = statistics.median(_product(s, queue) for _ in range(max(3, turns // 3)))
        times = [
            seconds(lambda a, b, loss=loss, queue=queue: loss(a, b, queue), s, t)
            for _ in range(max(3, turns // 3))
        ]
        took = 1e3 * statistics.median(times)
        found[name] = took
        print(
            f"| {name}, queue of 100,000, d={d} | {took:.0f} ms | its two products alone: {1e3 * product:.0f} ms |",
            flush=True,
        )
    return found


def angles() -> dict[str, dict[str, float]]:
    """Peak memory of RKD's angles, forward and backward, against all triples in one tensor."""
    found = {}
    for d in WIDTHS:
        s, t = inputs(d)
        mb = {
            name: peak_megabytes(lambda loss=loss, s=s, t=t: torch.autograd.grad(loss(s, t), s))
            for name, loss in (("ours", L.rkd_angle), ("naive", _all_triples))
        }
        found[str(d)] = mb
        print(
            f"| rkd, angles d={d}, memory | {mb['ours']:.0f} MB | {mb['naive']:.0f} MB | "
            f"{mb['naive'] / mb['ours']:.0f} x |",
            flush=True,
        )
    return found


def _all_triples(s: Tensor, t: Tensor) -> Tensor:
    """As public code computes it: differences ``[n, n, d]``, cosines ``[n, n, n]``."""

    def cosines(x: Tensor) -> Tensor:
        edges = F.normalize(x[None] - x[:, None], dim=2)
        return edges @ edges.mT

    with torch.no_grad():
        taught = cosines(t)
    return F.smooth_l1_loss(cosines(s), taught)


def _product(s: Tensor, queue: Tensor) -> float:
    start = time.process_time()
    with torch.no_grad():
        (s @ queue.T) @ queue
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    print(f"torch {torch.__version__}, one thread, load {os.getloadavg()[0]:.1f}")
    found = {"angles": angles(), "peers": peers(options.turns)}
    found |= {"ranks": ranks(options.turns), "queues": queues(options.turns)}
    print(json.dumps({k: v for k, v in found["peers"].items() if isinstance(v, str)}, indent=1))
    if options.out:
        options.out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
