"""Reading tables, pictures and sounds, and building banks of them: CPU seconds of each, in one process.

    python benchmarks/reading.py [--rows 200000] [--repeats 5]

To compare two checkouts, run it with ``PYTHONPATH`` set to the one and the other in turn. A result is the median and
the least of the repeats, in CPU time, because other work on the machine only adds; every build reads a file that was
never read before, since ``datasets`` keeps what it has read.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

TEACHER = "import torch\ndef ask(i):\n    return {'features': torch.zeros(len(i['text']), 2)}\n"


def make_files(root: Path, n: int) -> None:
    """Texts and vectors as CSV, JSON Lines and Parquet, a table for folders, pictures and sounds."""
    import json

    import pyarrow as pa
    import pyarrow.parquet as pq
    import soundfile
    from PIL import Image

    rng = np.random.default_rng(0)
    words = np.array(
        [
            "a",
            "red",
            "dog",
            "runs",
            "over",
            "the",
            "green",
            "hill",
            "while",
            "it",
            "rains",
            "on",
            "all",
            "of",
            "us",
        ]
    )
    texts = [" ".join(rng.choice(words, 20)) for _ in range(n)]
    labels = [("good", "bad")[i % 2] for i in range(n)]
    rows = [f'r{i},"{text}, again",{label}' for i, (text, label) in enumerate(zip(texts, labels))]
    (root / "texts.csv").write_text("\n".join(["id,text,label", *rows]) + "\n")
    lines = ({"id": f"r{i}", "text": t, "label": y} for i, (t, y) in enumerate(zip(texts, labels)))
    (root / "texts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    pq.write_table(
        pa.table({"id": [f"r{i}" for i in range(n)], "text": texts, "label": labels}), root / "texts.parquet"
    )
    x = rng.normal(size=(n // 10, 64)).astype(np.float32)
    head = ",".join(f"f{j}" for j in range(64))
    body = "\n".join(f"k{i},{'ab'[i % 2]}," + ",".join(f"{v:.5f}" for v in row) for i, row in enumerate(x))
    (root / "wide.csv").write_text(f"key,label,{head}\n{body}\n")
    lists = "\n".join(f'k{i},"[{", ".join(f"{v:.5f}" for v in row)}]"' for i, row in enumerate(x))
    (root / "lists.csv").write_text(f"key,e\n{lists}\n")
    pq.write_table(
        pa.table({"key": [f"k{i}" for i in range(len(x))], "e": x.tolist()}), root / "lists.parquet"
    )
    for i in range(200):
        for name in ("photos", "sounds"):
            (root / name / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 255, (128, 128, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((384, 384)).save(root / "photos" / "ab"[i % 2] / f"{i}.jpg")
        soundfile.write(root / "sounds" / "ab"[i % 2] / f"{i}.wav", rng.normal(size=16000) * 0.1, 8000)


def tasks(root: Path) -> dict[str, Callable[[], object]]:
    from limbeck.banks import Bank
    from limbeck.cli import main
    from limbeck.data import folder
    from limbeck.data.own.text_table import text_table

    def build(suffix: str) -> None:
        data = Path(tempfile.mkdtemp(dir=root)) / f"texts.{suffix}"
        shutil.copy(root / data.name, data)
        options = {
            "--teacher": "callable:reading_teacher:ask",
            "--column": "text",
            "--data": str(data),
            "--output": str(data.parent / "bank"),
            "--batch-size": "1024",
        }
        with contextlib.redirect_stdout(io.StringIO()):
            code = main(["bank", "build", *(word for pair in options.items() for word in pair)])
        assert code == 0

    def from_table(name: str, **columns: object) -> None:
        Bank.from_table(tempfile.mkdtemp(dir=root), root / name, key="key", overwrite=True, **columns)

    return {
        "bank build, csv": lambda: build("csv"),
        "bank build, jsonl": lambda: build("jsonl"),
        "bank build, parquet": lambda: build("parquet"),
        "from_table, csv of columns": lambda: from_table("wide.csv", features="f*", label="label"),
        "from_table, csv of lists": lambda: from_table("lists.csv", features="e"),
        "from_table, parquet": lambda: from_table("lists.parquet", features="e"),
        "texts, csv": lambda: text_table(root / "texts.csv"),
        "texts, jsonl": lambda: text_table(root / "texts.jsonl"),
        "folders, table": lambda: folder(root / "wide.csv", "table"),
        "folders, photos": lambda: folder(root / "photos", "image"),
        "folders, sounds": lambda: folder(root / "sounds", "audio"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default="", help="part of the names to run")
    args = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "reading_teacher.py").write_text(TEACHER)
        sys.path.insert(0, folder)
        make_files(root, args.rows)
        for name, run in tasks(root).items():
            if args.only not in name:
                continue
            times = []
            for _ in range(args.repeats):
                gc.collect()
                start = time.process_time()
                run()
                times.append(time.process_time() - start)
            print(
                f"{name:28s} median {statistics.median(times):7.3f}  least {min(times):7.3f} s CPU",
                flush=True,
            )


if __name__ == "__main__":
    main()
