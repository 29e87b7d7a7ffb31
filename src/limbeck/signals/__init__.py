"""What teachers say, of a batch or a whole data set, and which of their rows go with which student rows."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from limbeck.signals.bank import Bank
    from limbeck.signals.classes import join_class_names
    from limbeck.signals.files import bank_info, delete_bank
    from limbeck.signals.output import TeacherOutput
    from limbeck.signals.pairing import Pairing, oracle_like, random_like, shuffled, uniform_like
    from limbeck.signals.teacher import Teacher

# Loaded on first use: `limbeck bank info` needs no torch, and data imports only the pairing.
_HOME = {
    "Bank": "bank",
    "Pairing": "pairing",
    "Teacher": "teacher",
    "TeacherOutput": "output",
    "bank_info": "files",
    "delete_bank": "files",
    "join_class_names": "classes",
    "oracle_like": "pairing",
    "random_like": "pairing",
    "shuffled": "pairing",
    "uniform_like": "pairing",
}

__all__ = [
    "Bank",
    "Pairing",
    "Teacher",
    "TeacherOutput",
    "bank_info",
    "delete_bank",
    "join_class_names",
    "oracle_like",
    "random_like",
    "shuffled",
    "uniform_like",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
