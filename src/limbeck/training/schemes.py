"""How the terms of a method meet the student: all at once, or on fast weights first (bilevel)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from limbeck.errors import ConfigError
from limbeck.methods.base import InnerPhase
from limbeck.students.output import StudentOutput
from limbeck.students.student import Student


def fast_weights(
    student: Student,
    forward: Callable[[nn.Module, Mapping[str, Tensor]], StudentOutput],
    loss: Callable[[StudentOutput, str], Tensor],
    phases: tuple[InnerPhase, ...],
    *,
    learning_rate: float,
    weight_decay: float = 0.0,
) -> dict[str, Tensor]:
    """Descend the inner phases on a copy of the weights, and return the fast weights.

    First order: a fast weight is the real one plus a constant, so that the outer gradient at the fast weights is
    what moves the real ones. BatchNorm statistics are cloned: only the outer pass updates the real ones. The
    optimiser is AdamW, fresh each step, as in the authors' code of UCMKD.

    Args:
        forward: runs the student with the given parameters and buffers in place of its own.
        loss: the scalar that a phase descends, from the student's outputs and the phase's name.
        learning_rate: > 0, of the inner descent.
    """
    real = {name: p for name, p in student.named_parameters() if p.requires_grad}
    copies = {name: p.detach().clone().requires_grad_() for name, p in real.items()}
    buffers = {name: value.clone() for name, value in student.named_buffers()}
    optimizer = torch.optim.AdamW(copies.values(), lr=learning_rate, weight_decay=weight_decay, fused=True)
    head = {id(p) for p in student.head_layer if p is not None}
    with torch.enable_grad():
        for phase in phases:
            moving = {n for n, p in real.items() if not phase.head_only or id(p) in head}
            for _ in range(phase.steps):
                values = {n: c if n in moving else c.detach() for n, c in copies.items()}
                value = loss(forward(student, values | buffers), phase.name)
                _descend(optimizer, value, [copies[n] for n in moving])
    return {name: p + (copies[name].detach() - p.detach()) for name, p in real.items()}


def _descend(optimizer: torch.optim.Optimizer, value: Tensor, parameters: list[Tensor]) -> None:
    optimizer.zero_grad(set_to_none=True)
    if value.requires_grad:
        for parameter, grad in zip(parameters, torch.autograd.grad(value, parameters, allow_unused=True)):
            parameter.grad = grad
        optimizer.step()


def check_bilevel(*, fsdp: bool, deepspeed: bool, fp16: bool) -> None:
    """Refuse what the bilevel scheme cannot do: replace sharded weights, or descend under a loss scaler."""
    wrong = [name for name, used in (("FSDP", fsdp), ("DeepSpeed", deepspeed), ("fp16", fp16)) if used]
    if wrong:
        raise ConfigError(
            f"A bilevel method cannot train under {' and '.join(wrong)}: its fast weights need the whole, unscaled "
            "parameters; use plain data parallel in float32 or bfloat16, or scheme='joint'."
        )
