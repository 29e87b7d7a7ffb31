"""Check the README's table of peers against what they ship: ``python benchmarks/peers.py [--wheels FOLDER]``.

Each cell rests on words that the package's source must or must not have; the script fetches the two wheels with pip (no
dependencies, nothing is installed or run), reads their source, and says which cell does not hold. A word that is absent
is weak evidence of a "no"; one that turns up where the table says "no" is reason to look again.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PEERS = {"torchdistill": "1.1.5", "trl": "1.16.0"}


@dataclass(frozen=True)
class Cell:
    """What the table says of a package, and the words that show it: some file has them, or none has."""

    says: str
    words: str
    has: bool
    under: str = ""  # of the package's paths


CELLS: Mapping[str, Mapping[str, Cell]] = {
    "teacher and student in different modalities": {
        "torchdistill": Cell("by hand", r"cross.?modal", False),
        "trl": Cell("no", r"AutoModelForCausalLM", True, "trl/trainer/distillation_"),
    },
    "closed teachers (any OpenAI-compatible server)": {
        "torchdistill": Cell("no", r"openai|chat/completions", False),
        "trl": Cell("its own vLLM server", r"teacher_model_server_url|teacher_server", True),
    },
    "answers kept on disk, each row found by its key": {
        "torchdistill": Cell("no", r"cache_?dir|cacheable|cache.{0,20}output", False),
        "trl": Cell("no", r"cache_teacher|precomputed_teacher|teacher_logprobs_path", False),
    },
    "bags, class-linked and unpaired data": {
        "torchdistill": Cell("no", r"\bbags?\b|unpaired", False),
        "trl": Cell("no", r"\bbags?\b", False),
    },
    "broken teachers beside every result": {
        "torchdistill": Cell("no", r"shuffled.{0,20}teacher|random.{0,10}teacher", False),
        "trl": Cell("no", r"shuffled.{0,20}teacher|random.{0,10}teacher", False),
    },
    "intervals over seeds and test items": {
        "torchdistill": Cell("no", r"confidence.?interval|bootstrap", False),
        "trl": Cell("no", r"confidence.?interval|bootstrap", False),
    },
    "loss independent of how a batch is split": {
        "torchdistill": Cell("no", r"num_items_in_batch", False),
        "trl": Cell("yes", r"num_items_in_batch", True, "trl/trainer/distillation_"),
    },
}


def table_of(readme: str) -> dict[str, dict[str, str]]:
    """The README's table: row, then package, then cell."""
    text = readme.partition("## How it compares")[2].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in row.split("|")] for row in re.findall(r"^\|(.*)\|$", text, re.MULTILINE)
    ]
    return {row[0]: dict(zip(("limbeck", *PEERS), row[1:], strict=True)) for row in rows[2:]}


def differences(readme: str) -> list[str]:
    """Where the README says otherwise than :data:`CELLS`."""
    table = table_of(readme)
    found = [f"the rows differ: {sorted(set(table) ^ set(CELLS))}"] if set(table) != set(CELLS) else []
    for row, cells in CELLS.items():
        for name, cell in cells.items():
            said = table.get(row, {}).get(name)
            found += [f"{row}, {name}: {said!r}, not {cell.says!r}"] if said != cell.says else []
    return found


def refuted(sources: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Cells whose words say otherwise, by package and file name to text."""
    found = []
    for row, cells in CELLS.items():
        for name, cell in cells.items():
            texts = {file: text for file, text in sources[name].items() if file.startswith(cell.under)}
            where = [file for file, text in texts.items() if re.search(cell.words, text, re.IGNORECASE)]
            if bool(where) != cell.has:
                found.append(f"{row}, {name}: {cell.words!r} {'nowhere' if cell.has else f'in {where[0]}'}")
    return found


def source_of(wheel: Path) -> dict[str, str]:
    """Python files of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(".py")]
        return {name: archive.read(name).decode("utf-8", errors="replace") for name in names}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheels", type=Path, help="a folder that has the wheels already")
    wheels = parser.parse_args().wheels
    with tempfile.TemporaryDirectory() as temporary:
        folder = wheels or Path(temporary)
        if wheels is None:
            pinned = [f"{name}=={version}" for name, version in PEERS.items()]
            command = [
                sys.executable,
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-deps",
                "--dest",
                str(folder),
                *pinned,
            ]
            subprocess.run(command, check=True)
        found = {n: source_of(next(folder.glob(f"{n}-{version}-*.whl"))) for n, version in PEERS.items()}
    wrong = differences((ROOT / "README.md").read_text(encoding="utf-8")) + refuted(found)
    print("\n".join(wrong) or f"All {sum(map(len, CELLS.values()))} cells hold.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
