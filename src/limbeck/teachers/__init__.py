"""Who speaks: any module, a transformers encoder, any function. A bank keeps what they say."""

from limbeck.teachers.base import Teacher
from limbeck.teachers.callable import CallableTeacher
from limbeck.teachers.module import ModuleTeacher

__all__ = ["CallableTeacher", "ModuleTeacher", "Teacher"]
