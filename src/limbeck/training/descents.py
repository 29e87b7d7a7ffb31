"""Descents that come before the student's own step: on fast copies of it, or on a part of the method that it keeps.

Everything happens inside the distiller's forward, with gradients by ``autograd.grad``, so that the Trainer's optimiser,
clipping and DDP see nothing of it. Moments of kept descents are buffers, so that checkpoints and resuming are as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from limbeck.errors import ConfigError
from limbeck.methods.base import Method
from limbeck.methods.declared import Descent
from limbeck.students.output import StudentOutput
from limbeck.students.student import Student

Values = Mapping[str, Tensor]


class Moments:
    """AdamW's averages of the gradients of some tensors, and how often each has moved."""

    def __init__(self, first: list[Tensor], second: list[Tensor], count: list[Tensor]) -> None:
        self.first, self.second, self.count = first, second, count

    @classmethod
    def at_zero(cls, parameters: Sequence[Tensor]) -> Moments:
        first, second = ([torch.zeros_like(p, requires_grad=False) for p in parameters] for _ in range(2))
        return cls(first, second, [torch.zeros((), device=p.device) for p in parameters])


class KeptMoments(nn.Module):
    """Moments as buffers, so that they are saved with the distiller."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        super().__init__()
        start = Moments.at_zero(parameters)
        for kind in ("first", "second", "count"):
            for i, value in enumerate(getattr(start, kind)):
                self.register_buffer(f"{kind}_{i}", value)

    def now(self) -> Moments:
        n = sum(name.startswith("count_") for name, _ in self.named_buffers())
        first, second, count = (
            [self.get_buffer(f"{kind}_{i}") for i in range(n)] for kind in ("first", "second", "count")
        )
        return Moments(first, second, count)


def move(
    values: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
    moments: Moments,
    descent: Descent,
    rate: float,
) -> None:
    """One step on ``values``, in place; those without a gradient stay.

    Args:
        rate: of the student's own optimiser in this step, for ``learning_rate="outer"``.
    """
    moving = [i for i, gradient in enumerate(gradients) if gradient is not None]
    lr = rate if descent.learning_rate == "outer" else float(descent.learning_rate)
    grads = [g for g in gradients if g is not None]
    if not moving:
        return
    if descent.optimizer == "sgd":
        for i, gradient in zip(moving, grads):
            values[i].mul_(1 - lr * descent.weight_decay).add_(gradient, alpha=-lr)
        return
    beta1, beta2 = descent.betas
    adamw(
        [values[i] for i in moving], grads, [moments.first[i] for i in moving],
        [moments.second[i] for i in moving], [], [moments.count[i] for i in moving],
        foreach=False, fused=True, amsgrad=False, beta1=beta1, beta2=beta2, lr=lr, weight_decay=descent.weight_decay,
        eps=1e-8, maximize=False,
    )  # fmt: skip


def averaged(values: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Gradients of ``values`` as their means over all processes; one that a process lacks (a part without such rows)
    counts as 0 there, and one that all lack stays None."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()) or not values:
        return list(gradients)
    there = torch.tensor([float(g is not None) for g in gradients], device=values[0].device)
    torch.distributed.all_reduce(there)
    shared = [i for i, count in enumerate(there.tolist()) if count]
    if not shared:
        return [None] * len(values)
    given = {i: gradients[i] for i in shared}
    parts = [torch.zeros_like(values[i]) if g is None else g for i, g in given.items()]
    flat = torch.cat([part.flatten() for part in parts]) / torch.distributed.get_world_size()
    torch.distributed.all_reduce(flat)
    means = flat.split([part.numel() for part in parts])
    found = {i: mean.view_as(part) for i, mean, part in zip(shared, means, parts)}
    return [found.get(i) for i in range(len(values))]


# ---- parts of the method ----------------------------------------------------------------------------------------


def part_of(method: Method, descent: Descent) -> nn.Module:
    """The part that a descent moves; ConfigError where the method has none of that name."""
    part = getattr(method, descent.moves, None)
    if not isinstance(part, nn.Module):
        raise ConfigError(
            f"The descent {descent.name!r} of {type(method).__name__} moves {descent.moves!r}, which is no module of "
            f"the "
            "method; make it in __init__, or move 'student' or 'head'."
        )
    return part


def descend_part(
    method: Method, descent: Descent, kept: KeptMoments, loss: Callable[[], Tensor], rate: float
) -> None:
    """All steps of a descent that keeps what it moved."""
    parameters, moments = list(part_of(method, descent).parameters()), kept.now()
    for _ in range(descent.steps):
        with torch.enable_grad(), _trainable(parameters):
            value = loss()
            gradients = _gradients(value, parameters)
        with torch.no_grad():
            move(parameters, averaged(parameters, gradients), moments, descent, rate)


@contextmanager
def _trainable(parameters: Sequence[Tensor]) -> Iterator[None]:
    for p in parameters:
        p.requires_grad_(True)
    try:
        yield
    finally:
        for p in parameters:
            p.requires_grad_(False)


def _gradients(value: Tensor, parameters: Sequence[Tensor]) -> list[Tensor | None]:
    if not value.requires_grad or not parameters:
        return [None] * len(parameters)
    return list(torch.autograd.grad(value, parameters, allow_unused=True))


# ---- fast copies of the student ---------------------------------------------------------------------------------


class FastWeights:
    """Copies of the student's weights that descents move, and that the outer loss sees.

    First order: a fast weight is the real one plus a constant, so that the outer gradient at the fast weights is what
    moves the real ones. BatchNorm statistics are cloned: only the outer pass updates the real ones. Moments start at
    zero in each step and are shared by the descents of the step, as in the authors' code of UCMKD.

    Args:
        run: the student with the given parameters and buffers in place of its own.
        loss: what a descent goes down, from the student's outputs and its name.
    """

    def __init__(
        self,
        student: Student,
        run: Callable[[Values], StudentOutput],
        loss: Callable[[StudentOutput, str], Tensor],
        *,
        rate: float = 0.0,
    ) -> None:
        self._student, self._run, self._loss, self._rate = student, run, loss, rate
        self._real = {name: p for name, p in student.named_parameters() if p.requires_grad}
        head = {id(p) for p in student.head_layer if p is not None}
        self._head = {name for name, p in self._real.items() if id(p) in head}
        self._copies = {name: p.detach().clone().requires_grad_() for name, p in self._real.items()}
        self._buffers = {name: value.clone() for name, value in student.named_buffers()}
        self._moments = Moments.at_zero(list(self._copies.values()))
        self.values: dict[
            str, Tensor
        ] = {}  # the fast weights, through which a gradient reaches the real ones

    def descend(self, descents: Sequence[Descent]) -> StudentOutput:
        """The outputs that the outer loss sees.

        Where the last descents move the head alone, they and the outer loss share one forward of what lies below.
        """
        body, heads = _split(descents)
        self._descend_whole(body)
        self.values = self._fast(self._real)
        if not heads:
            return self._run(self.values)
        buffers = {name: value.clone() for name, value in self._student.named_buffers()}
        out = self._run(self.values | buffers)
        if (
            out.into_head is None or self._head_is_tied()
        ):  # something follows the head, or its weight is another's too
            self._descend_whole(heads)
            self.values = self._fast(self._real)
            return self._run(self.values)
        for name, value in self._student.named_buffers():
            value.copy_(buffers[name])
        return self._descend_head(heads, out, out.into_head)

    def _descend_whole(self, descents: Sequence[Descent]) -> None:
        """Descents by whole forwards."""
        for descent in descents:
            moving = self._head if descent.moves == "head" else set(self._copies)
            for _ in range(descent.steps):
                values = {n: c if n in moving else c.detach() for n, c in self._copies.items()}
                with torch.enable_grad():
                    self._step(descent, self._run(values | self._buffers), moving)

    def _descend_head(self, heads: Sequence[Descent], out: StudentOutput, entered: Tensor) -> StudentOutput:
        below = StudentOutput(
            out.features.detach(), None, {n: h.detach() for n, h in out.hidden_states.items()}
        )
        for descent in heads:
            for _ in range(descent.steps):
                weight, bias = self._head_of(self._copies)
                with torch.enable_grad():
                    logits = nn.functional.linear(entered.detach(), weight, bias)
                    seen = StudentOutput(
                        below.features, logits, below.hidden_states, head=(weight, bias), mask=out.mask
                    )
                    self._step(descent, seen, self._head)
        self.values |= self._fast(self._head)
        weight, bias = self._head_of(self.values)
        logits = nn.functional.linear(entered, weight, bias)
        return StudentOutput(out.features, logits, out.hidden_states, head=(weight, bias), mask=out.mask)

    def _step(self, descent: Descent, out: StudentOutput, moving: set[str]) -> None:
        value = self._loss(out, descent.name)
        names = [n for n in self._copies if n in moving]
        gradients = _gradients(value, [self._copies[n] for n in names])
        there = dict(zip(names, averaged([self._copies[n] for n in names], gradients)))
        with torch.no_grad():
            gradients = [there.get(name) for name in self._copies]
            move(list(self._copies.values()), gradients, self._moments, descent, self._rate)

    def _fast(self, names: Iterable[str]) -> dict[str, Tensor]:
        """The real weights plus constants."""
        real, copies = self._real, self._copies
        return {name: real[name] + (copies[name].detach() - real[name].detach()) for name in names}

    def _head_is_tied(self) -> bool:
        head = {id(p) for p in self._student.head_layer if p is not None}
        places = [id(p) for module in self._student.modules() for p in module.parameters(recurse=False)]
        return sum(place in head for place in places) > len(head)

    def _head_of(self, values: Values) -> tuple[Tensor, Tensor | None]:
        """Weight and bias of the head among ``values``; one that is not trained as it is."""
        names = {id(p): name for name, p in self._real.items()}
        weight, bias = (
            None if p is None else values[names[id(p)]] if id(p) in names else p
            for p in self._student.head_layer
        )
        assert weight is not None
        return weight, bias


def _split(descents: Sequence[Descent]) -> tuple[list[Descent], list[Descent]]:
    """All descents up to the last that moves more than the head, and those of the head behind it."""
    last = max((i for i, d in enumerate(descents) if d.moves != "head"), default=-1)
    return list(descents[: last + 1]), list(descents[last + 1 :])


# ---- what a run cannot do ---------------------------------------------------------------------------------------


def check_descents(method: Method, *, accumulation: int, fsdp: bool, deepspeed: bool, fp16: bool) -> None:
    """Refuse what descents cannot do: move sharded weights, go down under a loss scaler, or keep what they moved where
    a step has several parts. ConfigError."""
    descents = method.plan.descents
    wrong = [name for name, used in (("FSDP", fsdp), ("DeepSpeed", deepspeed), ("fp16", fp16)) if used]
    if descents and wrong:
        raise ConfigError(
            f"A method that descends ({descents[0].name}) cannot train under {' and '.join(wrong)}: it needs the "
            f"whole, "
            "unscaled parameters; use plain data parallel in float32 or bfloat16."
        )
    kept = [descent for descent in descents if descent.keeps]
    if kept and accumulation > 1:
        raise ConfigError(
            f"The descent {kept[0].name!r} moves {kept[0].moves!r} once in a step, and training."
            f"gradient_accumulation_steps={accumulation} cuts a step into parts; set it to 1 and lower n_labelled and "
            "n_unlabelled."
        )
