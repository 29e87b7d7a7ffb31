"""One small world of files for all rows."""

from __future__ import annotations

import gc

import pytest
from systems.evidence import Evidence, written

from limbeck import distill


@pytest.fixture(scope="session")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    gc.freeze()  # every run collects, and would look at all modules that were imported
    return written(tmp_path_factory.mktemp("systems"))


@pytest.fixture(autouse=True)
def _without_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five megabytes a run, of which tests/reporting says what is to be said."""
    monkeypatch.setattr(distill, "report_folder", lambda folder: None)
