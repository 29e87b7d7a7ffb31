"""The toy task of the training tests serves the methods too."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from limbeck.signals.bank import Bank


@pytest.fixture(scope="session")
def toy() -> ModuleType:
    name = "limbeck_tests_toy"
    if name not in sys.modules:
        path = Path(__file__).parents[1] / "training" / "toy.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def bank(toy: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Bank:
    return toy.bank(tmp_path_factory.mktemp("bank") / "bank")
