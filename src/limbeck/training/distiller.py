"""The module that the Trainer trains: student, method and EMA student, with all terms computed in its forward."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from limbeck.errors import ConfigError
from limbeck.methods.base import Method
from limbeck.methods.batch import PeerRows, StepBatch
from limbeck.problems.base import Problem, Targets
from limbeck.seeding import keyed_generator
from limbeck.signals.teacher import Teacher
from limbeck.signals.teacher_rows import TeacherRows
from limbeck.students.changes.visible import Visible, inner_states
from limbeck.students.output import StudentOutput
from limbeck.students.student import Student
from limbeck.training.collator import teacher_rows
from limbeck.training.descents import FastWeights, KeptMoments, descend_part, part_of
from limbeck.training.ema import DECAY, EMA
from limbeck.training.peers import check_peers
from limbeck.training.step.walks import Flags, modules_of, parameters_of


class Distiller(nn.Module):
    """Student + method (+ EMA student) behind one forward, so that DDP, checkpointing and mixed precision apply.

    Args:
        student: what will be shipped.
        method: owns its trainable parts; computes the terms.
        problem: what is asked of the student.
        ema_decay: keep the average ``ema`` of the student with this decay; None = keep none, unless the method names
        it.
        averages: further averages of the student, name to decay.    fellows: name to a student that learns beside it.
        scores: who is evaluated and exported: ``student``, or a peer's name; None = the average ``ema`` if there is
        one.
        live: name to a teacher that is asked here, in every step, about the samples that the collator found for it (or
            about the student's own view); it is no part of the module, so it is neither trained nor saved.
        layers: teacher to its inner layers: as the method names them, to the hidden states' own names.

    In training mode the forward takes a collated batch and returns ``{"loss", "terms"}`` (and ``"gradients"``, each
    term's squared gradient norm at the student's outputs, if asked for a report); in eval mode it takes ``inputs`` and
    ``targets`` and returns ``{"loss", "statistics"}`` of the student that is scored, or ``{"logits"}`` without targets.
    """

    accepts_loss_kwargs = True  # tells the Trainer that the loss is already divided by global counts

    def __init__(
        self,
        student: Student,
        method: Method,
        *,
        problem: Problem,
        ema_decay: float | None = None,
        averages: Mapping[str, float] | None = None,
        fellows: Mapping[str, Student] | None = None,
        scores: str | None = None,
        live: Mapping[str, Teacher] | None = None,
        layers: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        super().__init__()
        self.student, self.method, self.problem = student, method, problem
        self.live, self.teacher_layers = dict(live or {}), dict(layers or {})
        decays = dict(averages or {}) | ({} if ema_decay is None else {"ema": ema_decay})
        if "ema" in method.plan.peers:
            decays.setdefault("ema", DECAY)
        self.peers = nn.ModuleDict(
            {name: EMA(student, decay) for name, decay in decays.items()} | dict(fellows or {})
        )
        self._flags = Flags()
        self.scores = check_peers(method.plan, list(self.peers), scores)
        trained = {name: getattr(teacher, "trained", None) for name, teacher in self.live.items()}
        self.trained = nn.ModuleDict({name: part for name, part in trained.items() if part is not None})
        self.moments = nn.ModuleDict()
        for descent in method.plan.descents:
            if descent.keeps:
                part = part_of(method, descent).requires_grad_(False)
                self.moments[descent.name] = KeptMoments(list(part.parameters()))

    @property
    def layers(self) -> tuple[str, ...]:
        """Inner layers of the student that the method reads, as it names them."""
        return self.method.plan.layers.student

    @property
    def scored(self) -> Student:
        """The student that is evaluated and exported."""
        peer = None if self.scores == "student" else self.peers[self.scores]
        return (
            self.student if peer is None else cast(Student, peer.student if isinstance(peer, EMA) else peer)
        )

    @property
    def ema(self) -> EMA | None:
        """The average of the student that ``training.ema`` asks for."""
        return cast(EMA, self.peers["ema"]) if "ema" in self.peers else None

    def train(self, mode: bool = True) -> Distiller:
        """As of any module; nothing is walked through where all flags stand so already, as the Trainer asks for it in
        every step."""
        if not self._flags.hold(mode):
            super().train(mode)
            self._flags.keep(self)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """As of any module, by a walk without names."""
        if not set_to_none:
            super().zero_grad(set_to_none)
            return
        for value in parameters_of(modules_of(self)):
            value.grad = None

    def follow(self, step: int) -> None:
        """Move every average towards the student, after optimiser step ``step``."""
        for peer in self.peers.values():
            if isinstance(peer, EMA):
                peer.update(self.student, step)

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
        targets: Mapping[str, Tensor] | None = None,
        *,
        scales: Mapping[str, float] | None = None,
        progress: float = 0.0,
        seed: int = 0,
        rate: float = 0.0,
        report: bool = False,
        **batch: Any,
    ) -> dict[str, Any]:
        """Args:
        scales: unit to the factor that its sums are multiplied by (world size over global count).
        progress: share of the training done.    seed: of the method's own draws.
        rate: learning rate of the student's own optimiser in this step.
        report: also measure each term's share of the gradient at the student's outputs.
        batch: the rest of a collated batch.
        """
        if not self.training:
            return self._evaluate(inputs, targets)
        assert targets is not None
        b = self._step_batch(inputs, Targets.of(targets), batch, progress, seed)
        scales = scales or {}
        inner = self._descend(inputs, b, rate)
        result = self._combine(self.method.losses(b), b.student, scales, progress, report)
        result["terms"] |= {name: value * scales.get("batch", 1.0) for name, value in inner.items()}
        return result

    def _run(self, inputs: dict[str, Tensor]) -> StudentOutput:
        return self.student(inputs, self.layers)

    def _evaluate(self, inputs: dict[str, Tensor], targets: Mapping[str, Tensor] | None) -> dict[str, Any]:
        if not targets:
            return {"logits": self.scored(inputs).logits}
        wanted = Targets.of(targets)
        loss, statistics = self.problem.evaluated(self.scored, inputs, wanted)
        return {"loss": loss / max(1, self.problem.count(wanted)), "statistics": statistics}

    def _step_batch(
        self,
        inputs: dict[str, Tensor],
        targets: Targets,
        batch: Mapping[str, Any],
        progress: float,
        seed: int,
    ) -> StepBatch:
        """All of a step's batch but what the student says."""
        return StepBatch(
            inputs=inputs,
            targets=targets,
            problem=self.problem,
            teachers={
                name: self._asked(name, rows.checked(name, len(targets)), inputs)
                for name, rows in teacher_rows(batch).items()
            },
            peers={name: self._shown(self.peers[name], inputs, batch) for name in self.method.plan.peers},
            run=self._run,
            ask=self._ask,
            states=self._states,
            module=self.student.model,
            progress=progress,
            generator=keyed_generator(seed, batch.get("step", 0), batch.get("slot", 0), "method"),
        )

    def _shown(self, peer: nn.Module, inputs: dict[str, Tensor], batch: Mapping[str, Any]) -> PeerRows:
        """What a peer shows: an average of the weak view of the unlabelled rows, a fellow of what the student
        is shown."""
        if isinstance(peer, EMA):
            return PeerRows(peer.weak_view(batch["weak_inputs"]), batch["weak_index"])
        out = peer(inputs)
        return PeerRows(out, torch.arange(len(out), device=next(iter(inputs.values())).device))

    def _ask(self, name: str, inputs: dict[str, Tensor]) -> Any:
        """What a live teacher or a peer says of other inputs; a gradient reaches these, and what trains."""
        if name in self.live:
            return self.live[name](inputs)
        if name in self.peers:
            peer = self.peers[name]
            return (peer.student if isinstance(peer, EMA) else peer)(inputs)
        known = sorted({*self.live, *self.peers})
        raise ConfigError(
            f"Only a live teacher or a peer can be asked about other inputs, and {name!r} is neither "
            f"({', '.join(known) or 'there is none'}); give the teacher as live."
        )

    def _states(
        self, name: str, inputs: dict[str, Tensor], visible: Visible | None = None
    ) -> dict[str, Tensor]:
        """The method's layers of the student or of a live teacher, by its names for them, and nothing else of it."""
        if name == "student":
            return inner_states(self.student.model, inputs, self.layers, visible)
        read = getattr(self.live.get(name), "states", None)
        if read is None:
            raise ConfigError(
                f"The teacher {name!r} is to be run in part, which a network that is live alone can be; give it as "
                "teacher: {live: model, model: ..., view: same}."
            )
        states, device = read(inputs, visible), next(iter(inputs.values())).device
        layers = self.teacher_layers.get(name) or {own: own for own in states}
        return {asked: states[own].to(device) for asked, own in layers.items()}

    def _asked(self, name: str, rows: TeacherRows, inputs: dict[str, Tensor]) -> TeacherRows:
        """A teacher's rows with what it says of them, where it is live, and its layers as the method names them."""
        if name in self.live and self.method.plan.teachers == "asked":
            return rows
        if name in self.live:
            with torch.set_grad_enabled(torch.is_grad_enabled() and name in self.trained):
                said = self.live[name](rows.said.inputs or inputs)
            device = rows.pair_index.device
            rows.said = replace(said.map_tensors(lambda value: value.to(device)), labels=rows.said.labels)
        if layers := self.teacher_layers.get(name):
            states = rows.said.hidden_states
            rows.said = replace(
                rows.said, hidden_states={asked: states[own] for asked, own in layers.items()}
            )
        return rows

    def _descend(self, inputs: dict[str, Tensor], b: StepBatch, rate: float) -> dict[str, Tensor]:
        """What comes before the student's own step; ``b.student`` is then what the losses see of it.

        Returns what each descent went down to.
        """
        weights, plan = self.method.weights(b.progress), self.method.plan

        def run(values: Mapping[str, Tensor], inputs: dict[str, Tensor] = inputs) -> StudentOutput:
            return functional_call(self.student, dict(values), (inputs, self.layers))

        found: dict[str, Tensor] = {}

        def loss(out: StudentOutput | None, name: str) -> Tensor:
            if out is not None:
                b.student = out
            value = self.method.descent_loss(b, name)
            found[name] = value.detach()
            return weights[name] * value

        # At weight 0 nothing is left of a descent: neither weight decay nor a draw of dropout.
        fast = [descent for descent in plan.descents if not descent.keeps and weights[descent.name] != 0]
        if fast:
            copies = FastWeights(self.student, run, loss, rate=rate)
            b.student = copies.descend(fast)
            b.run = lambda other: run(copies.values, other)
        elif plan.student == "always":
            b.student = self._run(inputs)
        for descent in plan.descents:
            if descent.keeps:
                moments = cast(KeptMoments, self.moments[descent.name])
                name = descent.name
                descend_part(self.method, descent, moments, lambda: loss(None, name), rate)  # noqa: B023  # at once
        return found

    def _combine(
        self,
        terms: dict[str, Tensor],
        out: StudentOutput,
        scales: Mapping[str, float],
        progress: float,
        report: bool,
    ) -> dict[str, Any]:
        weights = self.method.weights(progress)
        scaled = {name: term * scales.get(self.method.plan.units[name], 1.0) for name, term in terms.items()}
        parts = [weights[name] * term.float() for name, term in scaled.items()]
        result: dict[str, Any] = {
            "loss": parts[0].sum() if len(parts) == 1 else torch.stack(parts).sum(),
            "terms": {name: term.detach() for name, term in scaled.items()},
        }
        if report:
            result["gradients"] = {
                name: _squared_gradient(weights[name] * term, out) for name, term in scaled.items()
            }
        return result


def _squared_gradient(term: Tensor, out: StudentOutput | None) -> float:
    """Squared norm of a term's gradient at the student's outputs; logits count through the features where they
    depend."""
    outputs = [] if out is None else [value for value in out.tensors() if value.requires_grad]
    if not term.requires_grad or not outputs:
        return 0.0
    grads = torch.autograd.grad(term, outputs, retain_graph=True, allow_unused=True)
    return float(sum(g.double().square().sum() for g in grads if g is not None))
