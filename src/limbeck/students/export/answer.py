"""What is shipped of a student: its model, from inputs by name to the one tensor that it answers with."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from limbeck.problems.base import Problem, Reading
from limbeck.students.calling import answer_of, call_by_name
from limbeck.students.recorder import is_pointwise
from limbeck.students.student import Student, bare_copy


class Answer(nn.Module):
    """A model whose forward takes a mapping of inputs and returns logits ``[n, *p, C]``, an embedding or a prediction.

    Args:
        classes_second: the model puts the classes of a position on the second axis; they are moved to the last.
    """

    def __init__(
        self, model: nn.Module, reading: Reading = "classifier", classes_second: bool = False
    ) -> None:
        super().__init__()
        self.model, self.reading, self.classes_second = model, reading, classes_second

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        answer = answer_of(call_by_name(self.model, inputs), self.model, self.reading)
        return answer.movedim(1, -1) if self.classes_second else answer


def answer_to(model: Student | nn.Module, problem: Problem, inputs: Mapping[str, Tensor]) -> Answer:
    """A bare copy of a model, on the CPU and in evaluation mode, as it answers a problem.

    Args:
        inputs: an example, by which the head is found where the answer depends on it.
    Raises: ConfigError, HeadNotFoundError for a model that does not answer such a problem.
    """
    bare = bare_copy(model)
    if problem.reading != "positions":
        return Answer(bare, problem.reading)
    head = model._head if isinstance(model, Student) else None
    student = Student(bare, head, reading="positions")
    student.probe({name: value.cpu() for name, value in inputs.items()})
    return Answer(bare, "positions", is_pointwise(bare.get_submodule(student.head_path)))


@torch.no_grad()
def answered(answer: Answer, inputs: Mapping[str, Tensor]) -> Tensor:
    """What it says of inputs on any device."""
    return answer({name: value.detach().cpu() for name, value in inputs.items()})
