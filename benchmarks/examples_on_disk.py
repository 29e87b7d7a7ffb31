"""Memory and time of a task whose rows stay on disk, by their number: open, plan the streams, train some steps.

    python benchmarks/examples_on_disk.py [ROWS ...]

Prints a line for each size: seconds to open and to the first step, seconds a step, and the peak of resident memory over
that of the imports. Each size runs in a process of its own.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WIDTH, STEPS = 64, 50


def write(folder: Path, n: int) -> None:
    import datasets
    import numpy as np

    datasets.disable_progress_bars()

    def rows():
        rng = np.random.default_rng(0)
        for start in range(0, n, 1000):
            labels = np.arange(start, min(start + 1000, n)) % 10
            points = np.eye(10, WIDTH)[labels] + 0.5 * rng.normal(size=(len(labels), WIDTH))
            for c, x in zip(labels.tolist(), points.astype(np.float32).tolist()):
                yield {"x": x, "y": str(c)}

    features = datasets.Features(
        {"x": datasets.Sequence(datasets.Value("float32")), "y": datasets.Value("string")}
    )
    datasets.Dataset.from_generator(rows, features=features, cache_dir=str(folder / "cache")).save_to_disk(
        str(folder / "data")
    )


def measure(folder: Path) -> dict[str, float]:
    import torch

    from limbeck.data import Splits, Task, arrow_examples
    from limbeck.recipes import MethodSpec, Recipe, StudentSpec
    from limbeck.runner import run

    torch.set_num_threads(1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    rows = arrow_examples(folder / "data", inputs=["x"], label="y")
    opened = time.perf_counter() - start
    few = rows.subset(range(512))
    recipe = Recipe(
        student=StudentSpec("table_encoder", {"n_columns": WIDTH}),
        method=MethodSpec("supervised"),
        training={"max_steps": STEPS, "n_labelled": 64, "eval_strategy": "no", "use_cpu": True},
        output_dir=str(folder / "run"),
    )
    start = time.perf_counter()
    result = run(recipe, task=Task("on disk", Splits(train=rows, test=few)), show_progress=False)
    return {
        "rows": len(rows),
        "open_s": round(opened, 2),
        "train_s": round(time.perf_counter() - start, 2),
        "ms_a_step": round(1000 * result.seconds / STEPS, 1),
        "peak_mib_over_imports": round(
            (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, 0
        ),
        "data_mib": round(sum(f.stat().st_size for f in (folder / "data").iterdir()) / 2**20, 0),
    }


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(Path(sys.argv[2]))))
    else:
        for size in [int(value) for value in sys.argv[1:]] or [10_000, 100_000, 1_000_000]:
            with tempfile.TemporaryDirectory() as folder:
                write(Path(folder), size)
                command = [sys.executable, __file__, "--measure", folder]
                out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                print(out.splitlines()[-1], flush=True)
