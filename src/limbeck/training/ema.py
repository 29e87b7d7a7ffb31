"""The exponential moving average of a student: the one that gives soft labels, and the one that is scored."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn
from torch.func import functional_call

from limbeck.students.output import StudentOutput
from limbeck.students.student import Student
from limbeck.training.step.walks import buffers_of, modules_of, parameters_of

DECAY = 0.99


class EMA(nn.Module):
    """A frozen copy of a student whose weights and float buffers follow it; it lives in the Distiller's state dict.

    Args:
        student: the student to follow. Its bfloat16 and float16 weights are followed in float32 beside the copy: of
            these the small moves of a late average would round away, and the copy would stand still.
        decay: in [0, 1); update ``t`` (from 0) uses ``min(decay, (t + 1) / (t + 10))``, so that early weights fade.
    """

    def __init__(self, student: Student, decay: float = DECAY) -> None:
        super().__init__()
        self.student = copy.deepcopy(student).requires_grad_(False)
        self.precise = nn.ParameterDict(  # of the trained parameters, by their place
            {
                str(i): nn.Parameter(mine.detach().float(), requires_grad=False)
                for i, (mine, new) in enumerate(zip(self.student.parameters(), student.parameters()))
                if new.requires_grad and mine.dtype in (torch.bfloat16, torch.float16)
            }
        )
        self.decay = decay

    @torch.no_grad()
    def update(self, student: Student, t: int) -> None:
        """Move towards ``student`` after optimiser step ``t``."""
        share = 1 - min(self.decay, (t + 1) / (t + 10))
        own, others = modules_of(self.student), modules_of(student)
        followed: list[tuple[torch.Tensor, torch.Tensor]] = [
            *zip(parameters_of(own), parameters_of(others)),
            *zip(buffers_of(own), buffers_of(others)),
        ]
        pairs: list[tuple[torch.Tensor, torch.Tensor]] = [
            (self.precise[str(i)], new.float()) if str(i) in self.precise else (mine, new)
            for i, (mine, new) in enumerate(followed)
        ]
        floats = [(mine, new) for mine, new in pairs if mine.is_floating_point()]
        torch._foreach_lerp_([mine for mine, _ in floats], [new.detach() for _, new in floats], share)
        for mine, new in pairs:
            if not mine.is_floating_point():
                mine.copy_(new)
        for i, value in self.precise.items():
            followed[int(i)][0].copy_(value)

    @torch.no_grad()
    def weak_view(self, inputs: dict[str, torch.Tensor], hidden: Sequence[str] = ()) -> StudentOutput:
        """Outputs on the weak view in train mode: BatchNorm uses the batch, its running statistics stay untouched."""
        self.student.train()
        buffers = {name: value.clone() for name, value in self.student.named_buffers()}
        return functional_call(self.student, buffers, (inputs,), {"hidden": hidden})

    def train(self, mode: bool = True) -> EMA:
        """Stays in eval mode: only :meth:`weak_view` runs it otherwise."""
        super().train(False)
        return self
