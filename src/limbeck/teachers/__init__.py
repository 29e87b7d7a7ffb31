"""Who speaks: any module, a transformers model, any function. A bank keeps what they say."""

from limbeck.teachers.base import Teacher
from limbeck.teachers.callable import CallableTeacher
from limbeck.teachers.hf import HFTeacher
from limbeck.teachers.live import LiveTeacher
from limbeck.teachers.module import ModuleTeacher

__all__ = ["CallableTeacher", "HFTeacher", "LiveTeacher", "ModuleTeacher", "Teacher"]
