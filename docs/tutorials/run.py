"""Run the tutorials as they are printed, each in an empty folder: ``make tutorials``.

A block whose first line is ``# NAME.SUFFIX`` is written to that file; other Python is run, and so is every line of a
``console`` block. Blocks of other kinds are only shown.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent


def blocks(path: Path) -> list[tuple[str, str]]:
    """Kind and content of each fenced block."""
    return re.findall(r"^```(\w+)\n(.*?)^```", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def run(path: Path, folder: Path) -> None:
    """Run one tutorial in ``folder``; CalledProcessError where a step fails."""
    beside = str(Path(sys.executable).parent)  # the command `limbeck` of this Python
    environment = {**os.environ, "PATH": f"{beside}{os.pathsep}{os.environ['PATH']}"}
    for kind, text in blocks(path):
        name = re.match(r"# ([\w.-]+\.\w+)\n", text)
        if name is not None:
            (folder / name[1]).write_text(text, encoding="utf-8")
        elif kind == "python":
            subprocess.run([sys.executable, "-c", text], cwd=folder, check=True, env=environment)
        elif kind == "console":
            for line in text.strip().splitlines():
                print(f"$ {line}", flush=True)
                subprocess.run(line, cwd=folder, check=True, env=environment, shell=True)


def main() -> None:
    for path in sorted(HERE.glob("*.md")):
        print(f"== {path.stem}", flush=True)
        folder, start = Path(tempfile.mkdtemp(prefix=f"{path.stem}-")), time.monotonic()
        run(path, folder)
        print(f"== {path.stem}: {time.monotonic() - start:.0f} s", flush=True)
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
