"""Shared fixtures: where the real data sets are, and one thread so that numbers repeat."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

# Timings never decide a test.
hypothesis.settings.register_profile("limbeck", deadline=None)
hypothesis.settings.load_profile("limbeck")


def data_folder() -> Path | None:
    """``LIMBECK_DATA``, else ``../shared/data`` beside the checkout, else None."""
    named = os.environ.get("LIMBECK_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[1].parent / "shared" / "data"
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the real data sets (``mnist``, ``fsdd``, ...)."""
    folder = data_folder()
    if folder is None:
        pytest.skip("the real data sets are not here; set LIMBECK_DATA to their folder")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
