"""Small generated stand-ins for the real data sets."""

from __future__ import annotations

from pathlib import Path

import pytest
from raw_files import fsdd_folder, mnist_folder


@pytest.fixture(scope="session")
def fsdd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fsdd_folder(tmp_path_factory.mktemp("fsdd"))


@pytest.fixture(scope="session")
def mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mnist_folder(tmp_path_factory.mktemp("mnist"))
