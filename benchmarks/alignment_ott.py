"""Transport against OTT-JAX, which lives in an environment of its own: forward and gradient, in turn with ours.

    python -m venv ott && ott/bin/pip install "ott-jax==0.6.*"
    python benchmarks/alignment_ott.py ott/bin/python [--sizes 128,512,2048]

Cosine cost, reg 0.1, d = 256, float32, each side on one thread; JAX's function is compiled beforehand (``jit``) and
given arrays of its own, ours is called as a loss is. Both stop at a marginal error of 1e-2. The two processes take
turns of a few runs on one core, in changing order; figures are ratios of medians of processor time, and of the lowest
tenth, which other work on the machine touches least, beside the accuracy against the converged float64 solution.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from alignment_methods import REG, Clouds, clouds, graded, reference

from limbeck import functional as L

ONE_THREAD = {
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
}
TARGETS = {128: 1.3, 512: 3.0, 2048: 6.0}
THRESHOLD = 1e-2
WIDTH = 256


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("python", help="of the environment that has ott-jax")
    parser.add_argument("--sizes", default="128,512,2048", help="n = m, comma-separated")
    parser.add_argument("--rounds", type=int, default=15)
    values = parser.parse_args()
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):  # both on one core, as far as others leave it
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    peer = subprocess.Popen(
        [values.python, str(Path(__file__).with_name("alignment_ott_peer.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | ONE_THREAD,
    )
    head = ("n = m", "OTT-JAX / ours dual", "of the lowest tenths", "wanted", "OTT-JAX, ms", "ours, ms")
    print(f"| {' | '.join((*head, '1 - cosine, OTT-JAX', 'ours'))} |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for n in map(int, values.sizes.split(",")):
            print(row(peer, clouds(n, n, WIDTH), Path(folder) / f"{n}.npz", values.rounds), flush=True)
    assert peer.stdin is not None
    peer.stdin.close()
    peer.wait()


def row(peer: subprocess.Popen[str], c: Clouds, path: Path, rounds: int) -> str:
    """The line of one size."""
    n = len(c.x)
    np.savez(path, x=c.x.numpy(), y=c.y.numpy(), reg=REG, threshold=THRESHOLD)
    ours = graded(c.x, lambda x: L.transport_cost(x, c.y, value="dual", tol=THRESHOLD))
    runs = max(1, 2048 // n)
    spent: dict[str, list[float]] = {"ott": [], "ours": []}
    said: dict[str, Any] = {}
    for turn in range(rounds + 1):
        for name in ("ott", "ours") if turn % 2 else ("ours", "ott"):
            if name == "ott":
                said = asked(peer, path, runs)
                times = said["ms"]
            else:
                times = [timed(ours) for _ in range(runs)]
            spent[name] += times if turn else []  # the first turn warms both
    gradient = reference(c, "dual")[1].flatten()
    found = {"ott": torch.from_numpy(np.load(said["gradient"])), "ours": ours()[1]}
    off = {k: 1 - float(torch.cosine_similarity(g.double().flatten(), gradient, 0)) for k, g in found.items()}
    ott, own = (statistics.median(spent[name]) for name in ("ott", "ours"))
    low_ott, low_own = (sorted(spent[name])[len(spent[name]) // 10] for name in ("ott", "ours"))
    met = f"{ott / own:.2f}" if ott / own >= TARGETS.get(n, 0) else f"**{ott / own:.2f}**"
    cells = [f"{n}", met, f"{low_ott / low_own:.2f}", f"{TARGETS.get(n, '')}", f"{ott:.3g}", f"{own:.3g}"]
    return f"| {' | '.join([*cells, *(f'{off[name]:.1e}' for name in ('ott', 'ours'))])} |"


def asked(peer: subprocess.Popen[str], path: Path, runs: int) -> dict[str, Any]:
    assert peer.stdin is not None
    assert peer.stdout is not None
    peer.stdin.write(f"{path} {runs}\n")
    peer.stdin.flush()
    return json.loads(peer.stdout.readline())


def timed(action: Any) -> float:
    start = time.process_time_ns()
    action()
    return (time.process_time_ns() - start) / 1e6


if __name__ == "__main__":
    main()
