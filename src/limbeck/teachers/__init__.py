"""Who speaks: any module, a transformers model, any function, a server, a generator. A bank keeps what they say."""

from limbeck.teachers.api import APITeacher
from limbeck.teachers.base import Teacher
from limbeck.teachers.callable import CallableTeacher
from limbeck.teachers.drawing import DiffusersDraw, FunctionDraw
from limbeck.teachers.generative import GenerativeTeacher
from limbeck.teachers.hf import HFTeacher
from limbeck.teachers.limits import Limits, Prices
from limbeck.teachers.live import LiveTeacher
from limbeck.teachers.module import ModuleTeacher

__all__ = [
    "APITeacher",
    "CallableTeacher",
    "DiffusersDraw",
    "FunctionDraw",
    "GenerativeTeacher",
    "HFTeacher",
    "Limits",
    "LiveTeacher",
    "ModuleTeacher",
    "Prices",
    "Teacher",
]
