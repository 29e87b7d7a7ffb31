"""Two levels of tests: of a matrix, `make test` runs the everyday cases, `make test-all` every one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def some_of(cases: Iterable[Any], *everyday: Any) -> list[Any]:
    """All cases for ``parametrize``, a tuple being its arguments; those not named are left to `make test-all`."""
    cases = list(cases)
    assert set(everyday) <= set(cases), "an everyday case that is none"
    marks = [() if case in everyday else (pytest.mark.full,) for case in cases]
    values = [case if isinstance(case, tuple) else (case,) for case in cases]
    return [pytest.param(*value, marks=mark) for value, mark in zip(values, marks, strict=True)]
