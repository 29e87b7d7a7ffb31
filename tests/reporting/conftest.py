"""A comparison with figures like those of the real benchmark."""

from __future__ import annotations

import html
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from limbeck.evaluation import Row

SPEC = (
    ("supervised", "supervised", "none", 48.0, 4.0, None),
    ("ucmkd", "ucmkd", "by_class", 48.3, 4.0, 48.2),
    ("paired", "kd", "paired", 88.2, 2.7, 45.6),
    ("bagged", "bagkd", "bagged", 80.2, 3.6, 42.0),
)


@pytest.fixture
def comparison() -> Callable[..., list[Row]]:
    def rows(seeds: int = 5, splits: tuple[str, ...] = ("test",)) -> list[Row]:
        draw = random.Random(0)
        found = []
        for seed in range(seeds):
            for arm, method, link, mean, sd, shuffled in SPEC:
                for control, centre in (("none", mean), ("shuffled", shuffled)):
                    for split in splits:
                        if centre is not None:
                            value = min(1.0, draw.gauss(centre, sd) / 100)
                            found.append(
                                Row(arm, method, link, control, seed, split, "accuracy", value, 8.0, 240)
                            )
        return found

    return rows


@pytest.fixture
def curves() -> list[dict[str, Any]]:
    return [
        {"arm": arm, "control": control, "seed": seed, "step": step, "value": 0.1 + step / 500 + seed / 100}
        for arm in ("supervised", "paired")
        for control in ("none", "shuffled")
        for seed in (0, 1)
        for step in (0, 120, 240)
    ]


@pytest.fixture
def chromium(tmp_path: Path) -> Callable[..., str]:
    """Opens a file in a headless browser and gives the title that the page has in the end."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no chromium here; install the one of the system (apt install chromium)")

    def title(path: Path, width: int, scheme: str) -> str:
        dark = ["--force-dark-mode", "--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
        command = [
            program, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=15000", f"--window-size={width},900", *dark, "--dump-dom", path.as_uri(),
        ]  # fmt: skip
        page = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout
        return html.unescape(page.partition("<title>")[2].partition("</title>")[0])

    return title
