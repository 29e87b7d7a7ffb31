"""The module that the Trainer trains: student, method and EMA student, with all terms computed in its forward."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from limbeck.errors import MissingSignalError
from limbeck.methods.base import Method, StepBatch
from limbeck.seeding import keyed_generator
from limbeck.signals.output import ACCESS_OF_SIGNAL, TeacherOutput
from limbeck.students.output import StudentOutput
from limbeck.students.student import Student
from limbeck.training.ema import EMA
from limbeck.training.schemes import fast_weights


class Distiller(nn.Module):
    """Student + method (+ EMA student) behind one forward, so that DDP, checkpointing and mixed precision apply.

    Args:
        student: what will be shipped.
        method: owns its trainable parts; computes the terms.
        ema_decay: keep an EMA student with this decay; None = keep none (then ``method.needs_ema`` must be False).

    In training mode the forward takes a collated batch and returns ``{"loss", "terms"}`` (and ``"gradients"``, each
    term's squared gradient norm at the student's outputs, if asked for a report); in eval mode it takes ``inputs``
    (and ``labels``) and returns ``{"loss", "logits"}`` of the student that is scored.
    """

    accepts_loss_kwargs = True  # tells the Trainer that the loss is already divided by global counts

    def __init__(self, student: Student, method: Method, *, ema_decay: float | None = None) -> None:
        super().__init__()
        self.student, self.method = student, method
        self.ema = EMA(student, ema_decay) if ema_decay is not None else None
        if method.needs_ema and self.ema is None:
            self.ema = EMA(student)

    @property
    def scored(self) -> Student:
        """The student that is evaluated and exported: the EMA student if there is one."""
        return self.student if self.ema is None else self.ema.student

    def gradient_checkpointing_enable(
        self, gradient_checkpointing_kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> None:
        """Forwarded to the student's model; ``options`` are those of the Trainer's version."""
        self.student.gradient_checkpointing_enable(gradient_checkpointing_kwargs, **options)

    def activation_checkpointing_enable(
        self, activation_checkpointing_kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> None:
        """:meth:`gradient_checkpointing_enable` under the name that newer transformers call."""
        self.gradient_checkpointing_enable(activation_checkpointing_kwargs, **options)

    def forward(
        self,
        inputs: dict[str, Tensor],
        labels: Tensor | None = None,
        *,
        scales: Mapping[str, float] | None = None,
        progress: float = 0.0,
        seed: int = 0,
        report: bool = False,
        **batch: Any,
    ) -> dict[str, Any]:
        """Args:
        scales: unit to the factor that its sums are multiplied by (world size over global count).
        progress: share of the training done.    seed: of the method's own draws.
        report: also measure each term's share of the gradient at the student's outputs.
        batch: the rest of a collated batch.
        """
        if not self.training:
            return self._evaluate(inputs, labels)
        assert labels is not None
        b = self._step_batch(labels, batch, progress, seed)
        scales = scales or {}
        inner: dict[str, Tensor] = {}
        if self.method.scheme == "bilevel":
            b.student, inner = self._bilevel(inputs, b)
        else:
            b.student = self.student(inputs)
        result = self._combine(self.method.losses(b), b.student, scales, progress, report)
        result["terms"] |= {name: value * scales.get("batch", 1.0) for name, value in inner.items()}
        return result

    def _evaluate(self, inputs: dict[str, Tensor], labels: Tensor | None) -> dict[str, Any]:
        logits = self.scored(inputs).logits
        if labels is None:
            return {"logits": logits}
        if labels.is_floating_point():  # the values of a regression, NaN where unknown
            known = ~labels.isnan()
            return {"loss": F.mse_loss(logits[known, 0].float(), labels[known].float()), "logits": logits}
        return {"loss": F.cross_entropy(logits.float(), labels, ignore_index=-100), "logits": logits}

    def _step_batch(self, labels: Tensor, batch: Mapping[str, Any], progress: float, seed: int) -> StepBatch:
        teacher = TeacherOutput(**batch["teacher"]) if "teacher" in batch else None
        ema = None
        if self.method.needs_ema:
            assert self.ema is not None
            ema = self.ema.weak_view(batch["weak_inputs"])
        return StepBatch(
            student=None,  # type: ignore[arg-type]  # set when the scheme has run the student
            teacher=teacher,
            labels=labels,
            pair_index=batch["pair_index"],
            group_s=batch["group_s"],
            group_t=batch["group_t"],
            targets=batch.get("targets"),
            ema=ema,
            ema_index=batch.get("ema_index"),
            progress=progress,
            generator=keyed_generator(seed, batch.get("step", 0), batch.get("slot", 0), "method"),
        )

    def _bilevel(self, inputs: dict[str, Tensor], b: StepBatch) -> tuple[StudentOutput, dict[str, Tensor]]:
        """Outputs at the fast weights, and what each inner phase descended."""
        weights, inner = self.method.weights(b.progress), {}

        def run(module: nn.Module, values: Mapping[str, Tensor]) -> StudentOutput:
            return functional_call(module, dict(values), (inputs,))

        def loss(out: StudentOutput, phase: str) -> Tensor:
            b.student = out
            value = self.method.inner_losses(b, phase)
            inner[phase] = value.detach()
            return weights[phase] * value

        values = fast_weights(
            self.student,
            run,
            loss,
            self.method.inner_phases,
            learning_rate=self.method.config.inner_learning_rate,
        )
        return run(self.student, values), inner

    def _combine(
        self,
        terms: dict[str, Tensor],
        out: StudentOutput,
        scales: Mapping[str, float],
        progress: float,
        report: bool,
    ) -> dict[str, Any]:
        weights = self.method.weights(progress)
        scaled = {name: term * scales.get(self.method.units[name], 1.0) for name, term in terms.items()}
        result: dict[str, Any] = {
            "loss": torch.stack([weights[name] * term.float() for name, term in scaled.items()]).sum(),
            "terms": {name: term.detach() for name, term in scaled.items()},
        }
        if report:
            result["gradients"] = {
                name: _squared_gradient(weights[name] * term, out) for name, term in scaled.items()
            }
        return result


def _squared_gradient(term: Tensor, out: StudentOutput) -> float:
    """Squared norm of a term's gradient at the student's outputs; logits count through the features where they
    depend."""
    outputs = [v for v in (out.features, out.logits, *out.hidden_states.values()) if v.requires_grad]
    if not term.requires_grad or not outputs:
        return 0.0
    grads = torch.autograd.grad(term, outputs, retain_graph=True, allow_unused=True)
    return float(sum(g.double().square().sum() for g in grads if g is not None))


def check_signals(
    method_name: str, needs: Iterable[str], signals: frozenset[str], access: str | None
) -> None:
    """Refuse a method that ``needs`` signals which the teacher does not give, before step 1."""
    offered = set(signals)
    if "log_probs" in offered:
        offered.add("logits")
    for need in sorted(needs):
        if need not in offered:
            raise MissingSignalError(
                f"Method {method_name!r} needs the teacher's {need!r}, but this bank holds only "
                f"{', '.join(sorted(signals)) or 'nothing'} (access level {access or 'unknown'!r}); a teacher with "
                f"access level {ACCESS_OF_SIGNAL[need]!r} gives it."
            )
