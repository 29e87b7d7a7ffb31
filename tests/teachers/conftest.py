"""Tiny transformers models, shared by all tests of a session."""

from __future__ import annotations

import pytest
from teachers.tiny_models import TinyModels


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyModels:
    """``tiny["clip"]`` is the folder of a tiny CLIP with tokenizer and image processor."""
    return TinyModels(tmp_path_factory.mktemp("tiny"))
