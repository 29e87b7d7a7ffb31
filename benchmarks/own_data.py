"""What a user's own data cost in memory and time: python benchmarks/own_data.py

A table of texts, a table of numbers (both CSV) and a folder of pictures of several sizes, each opened as the data set
``own`` and read for some training steps in a process of its own.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--pictures", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--one", nargs=3, metavar=("KIND", "N", "FOLDER"), help=argparse.SUPPRESS)
    values = parser.parse_args()
    if values.one:
        measure(values.one[0], int(values.one[1]), Path(values.one[2]), values.workers)
        return
    print("| data | rows | on disk | inputs as tensors | open | a step's rows | peak over the imports |")
    print("|---|---|---|---|---|---|---|")
    for kind, sizes in (("texts", values.rows), ("numbers", values.rows), ("pictures", values.pictures)):
        for n in sizes:
            with tempfile.TemporaryDirectory() as folder:
                write(kind, n, Path(folder))
                command = [
                    sys.executable,
                    __file__,
                    "--workers",
                    str(values.workers),
                    "--one",
                    kind,
                    str(n),
                    folder,
                ]
                subprocess.run(command, check=True)


def write(kind: str, n: int, folder: Path) -> None:
    import numpy as np

    if kind == "texts":
        with (folder / "t.csv").open("w") as file:
            file.write("id,text,label\n")
            file.writelines(
                f"{i},{'a product of some kind ' * 12}number {i},{'ab'[i % 2]}\n" for i in range(n)
            )
    elif kind == "numbers":
        block = np.random.default_rng(0).normal(size=(n, 64)).round(4)
        with (folder / "t.csv").open("w") as file:
            file.write("id," + ",".join(f"x{i}" for i in range(64)) + ",label\n")
            for i, row in enumerate(block):
                file.write(f"{i},{','.join(map(str, row))},{'ab'[i % 2]}\n")
    else:
        from PIL import Image

        noise = np.random.default_rng(0).integers(0, 255, (64, 64, 64, 3), dtype=np.uint8)
        for name in "ab":
            (folder / name).mkdir()
        for i in range(n):
            Image.fromarray(noise[i % 64]).save(folder / "ab"[i % 2] / f"{i}.jpg")


def measure(kind: str, n: int, folder: Path, workers: int) -> None:
    import datasets  # noqa: F401  # its import is no part of what is measured
    import torch
    from torch.utils.data import DataLoader

    from limbeck.data.own.own_data import own_data
    from limbeck.training.sampler import TwoStreamSampler  # noqa: F401  # with transformers

    pages = Path("/proc/self/statm").read_text().split()[1]
    start = int(pages) * resource.getpagesize() // 1024  # resident now; the imports had a peak of their own
    side = {
        "texts": {"source": str(folder / "t.csv"), "modality": "text"},
        "numbers": {"source": str(folder / "t.csv"), "modality": "table"},
        "pictures": {"source": str(folder), "modality": "image", "size": [64, 64], "channels": 3},
    }[kind]
    began = time.perf_counter()
    train = own_data(student=side).splits["train"]
    opened = time.perf_counter() - began
    index = torch.randint(len(train), (50, 64), generator=torch.Generator().manual_seed(0))
    loader = DataLoader(index, batch_size=None, num_workers=workers, collate_fn=train.rows)
    began = time.perf_counter()
    for _ in loader:
        pass
    step = (time.perf_counter() - began) / len(index)
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    disk = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    one = train.rows([0])
    held = sum(v.numel() * 4 if isinstance(v, torch.Tensor) else len(v[0]) for v in one.values()) * n
    print(
        f"| {kind} | {n:,} | {disk / MIB:,.0f} MiB | {held / MIB:,.0f} MiB | {opened:.1f} s | {1000 * step:.0f} ms | "
        f"{(peak - start) / 1024:,.0f} MiB |"
    )


if __name__ == "__main__":
    main()
