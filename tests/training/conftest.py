"""The toy task as fixtures: the module, and its bank."""

from __future__ import annotations

from types import ModuleType

import pytest

from limbeck.banks.bank import Bank


@pytest.fixture(scope="session")
def toy() -> ModuleType:
    import toy

    return toy


@pytest.fixture(scope="session")
def bank(toy: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Bank:
    return toy.bank(tmp_path_factory.mktemp("bank") / "bank")
