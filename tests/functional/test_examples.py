"""The examples of the docstrings give what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest
import torch

from limbeck import functional

MODULES = sorted(
    found.name for found in pkgutil.walk_packages(functional.__path__, functional.__name__ + ".")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    result = doctest.testmod(importlib.import_module(name), extraglobs={"torch": torch})
    assert result.failed == 0


def test_there_are_examples():
    found = (doctest.DocTestFinder().find(importlib.import_module(name)) for name in MODULES)
    assert sum(len(test.examples) for tests in found for test in tests) > 10
