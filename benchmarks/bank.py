"""Bank against a Hugging Face ``datasets`` Arrow set: opening, memory, and random look-ups, in one process.

    python benchmarks/bank.py [--rows 1000000] [--width 512] [--keys int|str] [--folder DIR]
    python benchmarks/bank.py --ragged [--rows 20000] [--width 256]     rows of 0 to 63 states of different number

Writes about 3.1 GB into a temporary folder (1 GB for each side) and deletes it. Timings are interleaved, on one
thread, from a warm page cache; a result is a median, and a comparison the ratio of two medians.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import torch

from limbeck.banks import Bank
from limbeck.signals import Ragged, TopK

LOOKUP = 256  # rows a look-up, a usual batch
Read = Callable[[list[int], list[int | str]], object]  # of row numbers, for Arrow, or keys, for a bank


def make_bank(folder: Path, n_rows: int, width: int, kind: str) -> None:
    """The bank, in a process of its own so that its memory does not count here."""
    x = torch.empty(n_rows, width, dtype=torch.float16)
    for start in range(0, n_rows, 65536):
        x[start : start + 65536].normal_(generator=torch.Generator().manual_seed(start))
    keys = [f"sample-{i:08d}" for i in range(n_rows)] if kind == "str" else range(n_rows)
    Bank.from_arrays(folder, keys=keys, features=x, labels=torch.arange(n_rows) % 10)


def make_arrow(file: Path, bank: Bank, kind: pa.DataType) -> datasets.Dataset:
    """The same column in an Arrow file, 1000 rows a record batch as ``datasets`` writes it, memory-mapped."""
    schema = pa.schema({"features": kind})
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for block in bank.blocks(1000, signals=["features"]):
            rows = pa.array(list(block.features.numpy()), type=kind)
            writer.write_batch(pa.record_batch([rows], schema=schema))
    return datasets.Dataset.from_file(str(file))


def make_ragged(folder: Path, n_rows: int, width: int) -> Bank:
    """Texts of 0 to 63 tokens: their states, float16, and the likeliest 20 of 50,000 classes at each."""
    g = torch.Generator().manual_seed(0)
    lengths = torch.randint(64, (n_rows,), generator=g)
    n_tokens = int(lengths.sum())
    states = torch.empty(n_tokens, width, dtype=torch.float16).normal_(generator=g)
    ids = (torch.randint(50_000, (n_tokens, 1), generator=g) + 97 * torch.arange(20)) % 50_000
    log_probs = torch.full((n_tokens, 20), -4.0, dtype=torch.float16)
    tokens = Ragged(TopK(ids, log_probs, 50_000), lengths)
    return Bank.from_arrays(
        folder, keys=range(n_rows), hidden_states={"last": Ragged(states, lengths)}, tokens=tokens
    )


def report_ragged(root: Path, args: argparse.Namespace) -> None:
    """Random batches of rows of different lengths, with padding, against the same lists in Arrow."""
    bank = make_ragged(root / "bank", args.rows, args.width)
    kind, file = pa.list_(pa.list_(pa.float16(), args.width)), root / "lists.arrow"
    schema = pa.schema({"states": kind})
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for block in bank.blocks(1000, signals=["hidden_states"]):
            rows = pa.array([list(row.numpy()) for row in block.hidden_states["last"]], type=kind)
            writer.write_batch(pa.record_batch([rows], schema=schema))
    arrow = datasets.Dataset.from_file(str(file)).with_format("numpy")

    def of_arrow(rows: Sequence[int]) -> torch.Tensor:
        found = [torch.from_numpy(np.stack(row)) for row in arrow[rows]["states"] if len(row)]
        return torch.nn.utils.rnn.pad_sequence(found, batch_first=True)

    functions: dict[str, Read] = {
        "states of a bank": lambda rows, keys: bank.lookup(keys, signals=["hidden_states"]),
        "states of a bank, padded": lambda rows, keys: (
            bank.lookup(keys, signals=["hidden_states"]).hidden_states["last"].padded()
        ),
        "tokens of a bank, padded": lambda rows, keys: bank.lookup(keys, signals=["tokens"])[
            "tokens"
        ].padded(),
        "lists of datasets, padded": lambda rows, keys: of_arrow(rows),
    }
    medians = {
        name: statistics.median(v) for name, v in interleaved(functions, bank.keys, args.repeats).items()
    }
    of_batch = 2 * args.width * 31.5 * LOOKUP / 1e6
    for name, value in medians.items():
        rate = f"  ({of_batch / value:.2f} GB/s)" if "states" in name else ""
        print(f"{name:28s} {value:8.3f} ms for {LOOKUP} rows{rate}")


def opening(folder: Path) -> dict[str, float]:
    """Time and memory of :meth:`Bank.open` in a fresh process, libraries loaded beforehand."""
    code = (
        "import sys, time, json, re; from limbeck.signals import Bank; import limbeck.banks.build, filelock\n"
        "def own(): return int(re.search(r'RssAnon:\\s+(\\d+)', open('/proc/self/status').read())[1]) / 1e3\n"
        "before = own(); times = []\n"
        "for _ in range(21):\n"
        "    start = time.perf_counter(); bank = Bank.open(sys.argv[1]); times.append(time.perf_counter() - start)\n"
        "print(json.dumps([times[0], sorted(times)[10], own() - before]))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True
    )
    first, median, grown = json.loads(answer.stdout)
    return {"first_ms": 1e3 * first, "median_ms": 1e3 * median, "own_memory_mb": grown}


def interleaved(
    functions: dict[str, Read], keys: Sequence[int | str], repeats: int
) -> dict[str, list[float]]:
    """Milliseconds of each function on the same random rows, turn by turn.

    The order changes from turn to turn, because whoever reads first finds colder caches.
    """
    rng = np.random.default_rng(0)
    times: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(repeats + 3):
        rows = rng.integers(0, len(keys), LOOKUP).tolist()
        asked = [keys[row] for row in rows]
        for name in rng.permutation(list(functions)).tolist():
            start = time.perf_counter()
            functions[name](rows, asked)
            if turn >= 3:
                times[name].append(1e3 * (time.perf_counter() - start))
    return times


def own_memory() -> float:
    """Megabytes of memory that is not a mapped file (Linux)."""
    gc.collect()
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ragged", action="store_true", help="rows of different lengths")
    parser.add_argument("--rows", type=int, default=None)
    parser.add_argument("--width", type=int, default=None)
    parser.add_argument("--keys", choices=("int", "str"), default="int")
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--folder", type=Path, default=None, help="where the temporary folder goes")
    parser.add_argument("--make", type=Path, default=None, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.rows = args.rows or (20_000 if args.ragged else 1_000_000)
    args.width = args.width or (256 if args.ragged else 512)
    if args.make is not None:
        return make_bank(args.make, args.rows, args.width, args.keys)
    torch.set_num_threads(1)
    pa.set_cpu_count(1)
    with tempfile.TemporaryDirectory(dir=args.folder) as temporary:
        (report_ragged if args.ragged else report)(Path(temporary), args)
    return None


def report(root: Path, args: argparse.Namespace) -> None:
    """Make both sides, measure, print."""
    start = time.perf_counter()
    sizes = ["--rows", str(args.rows), "--width", str(args.width), "--keys", args.keys]
    subprocess.run([sys.executable, __file__, *sizes, "--make", str(root / "bank")], check=True)
    print(f"made {args.rows} x {args.width} float16 in {time.perf_counter() - start:.1f} s, {args.keys} keys")
    print("open:", {name: round(value, 2) for name, value in opening(root / "bank").items()})

    bank = Bank.open(root / "bank")
    # what Dataset.from_dict makes of a matrix, and the column with its length declared
    lists = make_arrow(root / "lists.arrow", bank, pa.list_(pa.float16()))
    fixed = make_arrow(root / "fixed.arrow", bank, pa.list_(pa.float16(), args.width)).with_format("torch")
    as_torch, as_numpy = lists.with_format("torch"), lists.with_format("numpy")
    labels = torch.arange(LOOKUP) % 10
    generator = torch.Generator().manual_seed(0)
    keys = bank.keys
    before = own_memory()
    functions: dict[str, Read] = {
        "bank.lookup": lambda rows, keys: bank.lookup(keys),
        "bank.sample, class-matched": lambda rows, keys: bank.sample(
            LOOKUP, labels=labels, generator=generator
        ),
        "datasets, torch": lambda rows, keys: as_torch[rows]["features"],
        "datasets, fixed length": lambda rows, keys: fixed[rows]["features"],
        "datasets, numpy": lambda rows, keys: as_numpy[rows]["features"],
    }
    same = torch.equal(
        bank.take(np.arange(5)).features, torch.as_tensor(np.asarray(as_numpy[:5]["features"]))
    )
    assert same, "both sides hold the same numbers"
    times = interleaved(functions, keys, args.repeats)
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, value in medians.items():
        print(
            f"{name:28s} {value:8.3f} ms for {LOOKUP} rows  ({value / medians['bank.lookup']:.1f} x bank.lookup)"
        )
    print(f"memory, mapped files left out, grew by {own_memory() - before:.1f} MB over all look-ups")
    print(f"{os.cpu_count()} cores, torch {torch.__version__}, datasets {datasets.__version__}")


if __name__ == "__main__":
    main()
