"""Tiny transformers models, shared by all tests of a session, and a server that misbehaves as it is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from teachers.fault_server import FaultServer
from teachers.tiny_models import TinyModels


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyModels:
    """``tiny["clip"]`` is the folder of a tiny CLIP with tokenizer and image processor."""
    return TinyModels(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FaultServer]:
    with FaultServer(tmp_path) as running:
        yield running
