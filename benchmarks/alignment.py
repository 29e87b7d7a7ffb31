"""Alignment losses against POT and geomloss: speed, memory and accuracy, all methods interleaved in one process.

    python benchmarks/alignment.py [--sizes 128,512,2048] [--parts table,memory,accuracy,more,bags,vocabulary]
        [--json FILE]

CPU, one thread, float32. A time is CPU milliseconds of one forward and backward pass (``process_time``, so that other
work on the machine counts little), the median over rounds in which every method runs once; a figure in the tables is
a ratio of two medians, peer over ours, beside its target. Peers: pip install "limbeck[bench]"
(bags and vocabulary need none).
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import math
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from alignment_methods import (
    REG,
    Method,
    Vocabulary,
    clouds,
    divergences,
    entropic,
    graded,
    in_bags,
    naive_jsd,
    naive_kl,
    others,
    peers,
    reference,
)

from limbeck import functional as L

PARTS = ("table", "memory", "accuracy", "more", "bags", "vocabulary")
WIDTH = 256
# row: (peer, ours, {size: target ratio})
ROWS: tuple[tuple[str, str, dict[int, float]], ...] = (
    ("POT sinkhorn2", "ours sharp", {128: 7, 512: 12, 2048: 25}),
    ("POT envelope", "ours dual", {128: 9, 512: 13, 2048: 20}),
    ("POT envelope 1e-4", "ours dual", {128: 3, 512: 4.5, 2048: 5}),
    ("geomloss .99", "ours dual", {128: 40, 512: 40}),
    ("geomloss div .5", "ours divergence", {128: 2, 512: 3}),
    ("POT sliced", "ours sliced", {128: 2.8, 512: 3.5, 2048: 5}),
    ("geomloss energy", "ours energy", {512: 1.4, 2048: 1.7}),
)
MEMORY_TARGETS = {512: 2.5, 2048: 3.7}


def rounds_for(n: int) -> int:
    return max(3, min(41, 8192 // n))


def interleaved(methods: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median CPU milliseconds of each method; one untimed round first."""
    times: dict[str, list[float]] = {name: [] for name in methods}
    for k in range(rounds + 1):
        for name, method in methods.items():
            start = time.process_time()
            method()
            if k:
                times[name].append(1e3 * (time.process_time() - start))
    return {name: statistics.median(t) for name, t in times.items()}


def limits() -> dict[str, float]:
    """What the machine gives one thread: GEMM in GFLOP/s, reading in GiB/s from memory and from cache."""
    a, b = torch.randn(1024, WIDTH), torch.randn(1024, WIDTH)
    large, small = torch.randn(64 * 2**20), torch.randn(2**18)

    def best(action: Callable[[], object], repeats: int) -> float:
        def timed() -> float:
            start = time.perf_counter()
            action()
            return time.perf_counter() - start

        return min(timed() for _ in range(repeats))

    return {
        "gemm_gflops": 2e-9 * 1024 * 1024 * WIDTH / best(lambda: a @ b.T, 20),
        "read_gib_per_s_256mb": 0.25 / best(large.sum, 8),
        "read_gib_per_s_1mb": 2**-10 / best(small.sum, 200),
    }


def table(sizes: list[int]) -> dict[str, dict[str, float]]:
    """CPU milliseconds by size and method."""
    found = {}
    for n in sizes:
        c = clouds(n, n, WIDTH)
        methods = entropic(c, with_geomloss=n <= 512) | divergences(c) | others(c)
        found[str(n)] = interleaved(methods, rounds_for(n))
    return found


def print_table(times: Mapping[str, Mapping[str, float]]) -> None:
    sizes = list(times)
    print("| peer / ours | " + " | ".join(f"n = m = {n}" for n in sizes) + " |")
    print("|---" * (len(sizes) + 1) + "|")
    for peer, ours, targets in ROWS:
        cells = []
        for n in sizes:
            if peer not in times[n]:
                cells.append("")
                continue
            own, other = times[n][ours], times[n][peer]
            cells.append(f"{verdict(other / own, targets.get(int(n)))} ({other:.4g} / {own:.3g} ms)")
        print(f"| {peer} / {ours} | " + " | ".join(cells) + " |")


def verdict(ratio: float, target: float | None) -> str:
    """The ratio beside its target; a missed one stands out."""
    if target is None:
        return f"{ratio:.1f}x"
    return (
        f"{ratio:.1f}x, target {target:g}"
        if ratio >= target
        else f"**{ratio:.1f}x, target {target:g} missed**"
    )


def accuracy(sizes: list[int]) -> dict[str, dict[str, float]]:
    """Relative value error and 1 - gradient cosine against the converged float64 solution of the same objective."""
    found = {}
    for n in (n for n in sizes if n <= 512):
        c = clouds(n, n, WIDTH)
        limits = {value: reference(c, value) for value in ("sharp", "dual")}
        for name, method in entropic(c).items():
            value, gradient = method()
            expected, direction = limits["sharp" if name in ("ours sharp", "POT sinkhorn2") else "dual"]
            cosine = torch.cosine_similarity(gradient.double().flatten(), direction.flatten(), 0)
            found[f"{name} @ {n}"] = {
                "value": abs(float(value) / float(expected) - 1),
                "gradient": 1 - float(cosine),
            }
    return found


def peak_megabytes(action: Callable[[], object]) -> float:
    """Peak resident memory above what was live before; NaN where the system does not let a process reset its peak."""
    action()
    gc.collect()
    if platform.system() == "Linux":
        ctypes.CDLL(None).malloc_trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return math.nan
    before = _status("VmRSS")
    action()
    return (_status("VmHWM") - before) / 1e3


def _status(key: str) -> float:
    line = next(s for s in Path("/proc/self/status").read_text().splitlines() if s.startswith(key))
    return float(line.split()[1])


def memory(sizes: list[int]) -> dict[str, dict[str, float]]:
    found = {}
    for n in (n for n in sizes if n in MEMORY_TARGETS):
        methods = entropic(clouds(n, n, WIDTH), with_geomloss=False)
        found[str(n)] = {name: peak_megabytes(methods[name]) for name in ("ours sharp", "POT sinkhorn2")}
    return found


def more() -> dict[str, tuple[float, float | None]]:
    """Figure and target of each of the single lines; targets marked by sign (negative: at most)."""
    found: dict[str, tuple[float, float | None]] = {}
    c = clouds(128, 16384, WIDTH)
    methods = entropic(c, with_geomloss=False)
    t = interleaved({k: methods[k] for k in ("ours sharp", "ours dual", "POT sinkhorn2")}, 5)
    found["bank 128 x 16384: POT sinkhorn2 / ours sharp"] = t["POT sinkhorn2"] / t["ours sharp"], 12.0
    found["bank 128 x 16384: POT sinkhorn2 / ours dual"] = t["POT sinkhorn2"] / t["ours dual"], None

    c = clouds(2048, 2048, WIDTH)
    labels: dict[str, Any] = {"labels_s": c.labels_x, "labels_t": c.labels_y}

    def full(x: torch.Tensor) -> torch.Tensor:
        return L.transport_cost(x, c.y, value="dual")

    def blocks(x: torch.Tensor) -> torch.Tensor:
        return L.transport_cost(x, c.y, value="dual", within_class=True, **labels)

    t = interleaved({"full": graded(c.x, full), "blocks": graded(c.x, blocks)}, 7)
    found["classes, n = 2048, C = 10: ours full / ours in class blocks"] = t["full"] / t["blocks"], 2.5

    c = clouds(256, 256, WIDTH)
    info = L.transport_cost(c.x, c.y, reg=0.02, labels_s=c.labels_x, labels_t=c.labels_y, return_info=True)[1]
    found["sweeps at reg 0.02 with labels, n = 256"] = float(info.iterations), -12.0

    scaling: dict[str, Method] = {}
    for n in (512, 4096):
        big = clouds(n, n, WIDTH)
        scaling[str(n)] = graded(big.x, lambda x, y=big.y: L.transport_cost(x, y, value="dual"))  # type: ignore[misc]
    t = interleaved(scaling, 5)
    found["exponent of n from 512 to 4096 (dual)"] = math.log(t["4096"] / t["512"]) / math.log(8), -2.1
    return found


def bags() -> dict[str, tuple[float, float | None]]:
    """Bags of 16 rows a side: a loop of ``transport_cost`` over one solve of them all."""
    found: dict[str, tuple[float, float | None]] = {}
    for n in (4, 16, 64):
        t = interleaved(in_bags(clouds(16 * n, 16 * n, WIDTH), 16), 41)
        name = f"{n} bags of 16: loop / together, {t['loop']:.1f} / {t['together']:.1f} ms"
        found[name] = t["loop"] / t["together"], 3.0
    return found


def vocabulary(
    tokens: int = 2048, width: int = 512, words: int = 32768
) -> dict[str, tuple[float, float | None]]:
    """Three rounds each, after a small one that warms the threads and the allocator."""
    found: dict[str, tuple[float, float | None]] = {}
    v = Vocabulary.make(tokens, width, words)
    pairs = (("KL", "forward_kl", naive_kl, 1.8, 9.0), ("JSD", "jsd", naive_jsd, 3.0, 12.0))
    for name, kind, naive, faster, less in pairs:

        def fused(*args: torch.Tensor, kind: str = kind) -> torch.Tensor:
            return L.fused_linear_divergence(*args, kind=kind)  # type: ignore[arg-type]

        Vocabulary.make(64, 64, 512).run(fused)
        t = interleaved({"ours": lambda f=fused: v.run(f), "naive": lambda f=naive: v.run(f)}, 3)  # type: ignore[misc]
        found[f"fused {name}: naive / ours, time"] = t["naive"] / t["ours"], faster
        mb = {
            "ours": peak_megabytes(lambda f=fused: v.run(f)),
            "naive": peak_megabytes(lambda f=naive: v.run(f)),
        }  # type: ignore[misc]
        found[f"fused {name}: naive / ours, memory"] = mb["naive"] / mb["ours"], less
    return found


def print_lines(lines: Mapping[str, tuple[float, float | None]]) -> None:
    for name, (figure, target) in lines.items():
        if target is not None and target < 0:
            met = figure <= -target
            print(f"- {name}: {figure:.3g} (at most {-target:g}{'' if met else ', **missed**'})")
        else:
            print(f"- {name}: {verdict(figure, target)}")


def report(parts: list[str], sizes: list[int], result: dict[str, Any]) -> None:
    """Run the parts in turn; print each as it comes and note its numbers in ``result``."""
    if "table" in parts:
        result["table"] = table(sizes)
        print_table(result["table"])
    if "memory" in parts:
        result["memory_mb"] = memory(sizes)
        for n, mb in result["memory_mb"].items():
            ratio = mb["POT sinkhorn2"] / mb["ours sharp"]
            print(
                f"- peak memory over the inputs, n = {n}: POT sinkhorn2 {mb['POT sinkhorn2']:.0f} MB, ours sharp "
                f"{mb['ours sharp']:.0f} MB, {verdict(ratio, MEMORY_TARGETS[int(n)])}"
            )
    if "accuracy" in parts:
        result["accuracy"] = accuracy(sizes)
        for name, e in result["accuracy"].items():
            fine = e["value"] < 1e-3 and e["gradient"] < 1e-3
            print(
                f"- {name}: value {e['value']:.1e}, 1 - cosine {e['gradient']:.1e}{'' if fine else ' (not equal)'}"
            )
    for name, lines in (("more", more), ("bags", bags), ("vocabulary", vocabulary)):
        if name in parts:
            result[name] = lines()
            print_lines(result[name])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="128,512,2048", help="n = m, comma-separated")
    parser.add_argument("--parts", default=",".join(PARTS), help="any of " + ", ".join(PARTS))
    parser.add_argument("--json", type=Path, help="also write every number here")
    args = parser.parse_args()
    sizes, parts = [int(n) for n in args.sizes.split(",")], args.parts.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"unknown part {unknown.pop()!r}; choose from {', '.join(PARTS)}")
    compared = not set(parts) <= {"bags", "vocabulary"}
    if compared:
        peers()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    warnings.filterwarnings("ignore", module="ot")

    versions = {
        name: version(name) for name in ("torch", "numpy", *(("POT", "geomloss") if compared else ()))
    }
    result: dict[str, Any] = {"versions": versions, "limits": limits()}
    print(", ".join(f"{k} {v}" for k, v in versions.items()) + f"; d = {WIDTH}, reg {REG}, one thread")
    print("machine: " + ", ".join(f"{k} {v:.3g}" for k, v in result["limits"].items()) + "\n")
    report(parts, sizes, result)
    if args.json:
        args.json.write_text(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
