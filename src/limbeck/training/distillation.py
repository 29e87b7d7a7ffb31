"""A method, a student and a bank as one object, for somebody else's loop: ``loss = d(batch)``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from accelerate.utils import send_to_device
from torch import Tensor, nn

from limbeck.banks.bank import Bank
from limbeck.data.base import Examples, View
from limbeck.errors import ConfigError, LinkError, some
from limbeck.methods.declared import Shapes, Side
from limbeck.methods.registry import plan_method
from limbeck.problems.base import Problem, Targets
from limbeck.problems.classification import numbered
from limbeck.problems.registry import problem_class, sized
from limbeck.signals.key import Key
from limbeck.signals.links.base import Draw, Link
from limbeck.signals.links.choose import link_named
from limbeck.signals.links.paired import PartlyPaired
from limbeck.students.student import Student
from limbeck.training.collator import DistillationCollator
from limbeck.training.distiller import Distiller
from limbeck.training.streams import check_link
from limbeck.training.teacher_reading import Wanted, banked

KEYS, LABELS = ("keys", "key"), "labels"


class Distillation(nn.Module):
    """``d(batch)`` is the loss of a whole method on a batch, its terms weighted and each divided by its units.

    A batch is a mapping: ``keys`` (or ``key``) of the rows, a list or a tensor of whole numbers; ``labels``, -100 (NaN
    in a regression) where unknown, which may be left out; everything else are the student's inputs by name. What the
    bank holds of these rows is looked up here; a row that it does not hold has no partner.

    ``d.parameters()`` are the student's and those that the method trains along (projectors), so hand these to the
    optimiser. ``d.student.model`` is the network, ``d.terms`` the last batch's terms by name.

    Args:
        method: its name.    student: any ``nn.Module`` that ends in a linear layer, or a ``Student``.
        bank: what the teacher said; None for a method without one.
        batch: one to size the method's parts by; two rows are run.
        problem: what is asked: an object, or the name of a kind.
        class_names: in the order of the labels; default the bank's, else numbers.
        link: what says which rows of the bank go with a student's row; default equal keys. ``by_class``, ``unpaired``
            or an object of ``limbeck.signals.links``.
        class_map: student class name to teacher class name, where they differ.
        views: ``weak`` and ``strong``, see ``limbeck.data.files.views``; default none.
        max_steps: calls over which weights that change do so; None: they keep their first value.
        seed: of the method's own draws.    config: the method's settings.

    Raises: ConfigError, UnknownNameError, LinkError, MissingSignalError, ClassNamesError: one sentence, before any
    training.
    """

    def __init__(
        self,
        method: str,
        student: nn.Module,
        bank: Bank | None = None,
        *,
        batch: Mapping[str, Any],
        problem: Problem | str = "classification",
        class_names: Sequence[str] | None = None,
        link: Link | str | None = None,
        class_map: Mapping[str, str] | None = None,
        views: Mapping[str, View] | None = None,
        max_steps: int | None = None,
        seed: int = 0,
        **config: Any,
    ) -> None:
        super().__init__()
        plan = plan_method(method, config)
        if plan.declared.has_teacher != (bank is not None):
            what = "needs a bank" if bank is None else "has no teacher, so it takes no bank"
            raise ConfigError(f"The method {plan.name!r} {what}.")
        self.views, self.max_steps, self.seed = dict(views or {}), max_steps, seed
        self.calls: Tensor
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.terms: dict[str, Tensor] = {}
        self._own_names: dict[str, Key] = {}
        reading = sized(problem, 2).reading
        student = student if isinstance(student, Student) else Student(student, reading=reading)
        shape = student.probe(_first_rows(_inputs(batch)), plan.declared.layers.student)
        self.problem = _posed(problem, class_names, bank, shape.n_classes)
        taught = None
        if bank is not None:
            found = self._link(bank, link, batch)
            check_link(plan.name, plan.declared, found)
            needs = plan.declared.needs
            by_class = found.goes_by_class or bool(needs & {"logits", "head"})
            layers = tuple(plan.declared.layers.teachers.get("teacher", ()))
            names = tuple(self.problem.names)
            wanted = Wanted(plan.name, found, needs, layers, "none", seed, names, class_map, by_class)
            taught = banked(bank, replace(wanted, class_means=plan.declared.class_means))
        hidden = {name: size[1:] for name, size in shape.hidden.items()}
        ours = {name: tuple(value.shape[1:]) for name, value in _inputs(batch).items()}
        shapes = Shapes(
            Side(shape.feature_width, shape.n_classes, hidden, ours),
            {} if taught is None else {"teacher": taught.side},
        )
        self.linked = {} if taught is None else {"teacher": taught.linked}
        self.distiller = Distiller(
            student,
            plan.cls(plan.config, shapes),
            problem=self.problem,
            layers={} if taught is None else {"teacher": taught.layers},
        )

    @property
    def student(self) -> Student:
        """What learns; its ``model`` is the network that was given."""
        return self.distiller.student

    def forward(self, batch: Mapping[str, Any]) -> Tensor:
        """The loss, a scalar with a gradient; in evaluation mode the mean label loss.

        Raises: ConfigError for a batch without keys where the link goes by keys.
        """
        inputs, targets = _inputs(batch), self._targets(batch)
        if not self.training:
            return self.distiller(inputs, send_to_device(targets.tensors(), self._device))["loss"]
        done = int(self.calls)
        if done:  # an average follows what the loop's optimiser made of the student since
            self.distiller.follow(done)
        rows = Examples(inputs, self._keys(batch, len(targets)), targets, self.problem)
        collate = DistillationCollator(
            rows,
            self.linked,
            views=self.views,
            needs_weak="ema" in self.distiller.method.plan.peers,
            seed=self.seed,
        )
        known = targets.known.tolist()
        collated = collate(
            [Draw("labelled" if known[i] else "unlabelled", i, done, i) for i in range(len(targets))]
        )
        scales = {unit: 1 / max(1, count) for unit, count in collated.pop("counts").items()}
        del collated["keys"]
        progress = min(1.0, done / self.max_steps) if self.max_steps else 0.0
        out = self.distiller(
            **send_to_device(collated, self._device), scales=scales, progress=progress, seed=self.seed
        )
        self.terms = out["terms"]
        self.calls += 1
        return out["loss"]

    @property
    def _device(self) -> torch.device:
        return next(self.student.parameters()).device

    # ---- what a batch says ------------------------------------------------------------------------------------

    def _link(self, bank: Bank, link: Link | str | None, batch: Mapping[str, Any]) -> Link:
        """The link; by equal keys it knows every row of the bank."""
        if isinstance(link, Link):
            return link
        if link is not None and link not in ("paired", "partly_paired"):
            return link_named(link)
        self._own_names = {str(key): key for key in bank.keys}  # 7 is "7" where the bank has texts
        found = self._keys(batch, 0)
        if not any(key in self._own_names.values() for key in found):
            raise LinkError(
                f"No key of the batch is in the bank {bank.name}: the batch has {some(found, 2)}, the bank "
                f"{some(bank.keys, 2)}; give equal keys to what belongs together, or name another link."
            )
        return PartlyPaired(bank.keys)

    def _keys(self, batch: Mapping[str, Any], n: int) -> list[Key]:
        given = next((batch[name] for name in KEYS if name in batch), None)
        if given is None:
            if self._own_names or (not self.linked and n == 0):
                raise ConfigError("The batch has no keys; give each row its key as batch['keys'].")
            return list(range(n))
        keys = given.tolist() if isinstance(given, Tensor) else list(given)
        return [self._own_names.get(str(key), key) for key in keys]

    def _targets(self, batch: Mapping[str, Any]) -> Targets:
        labels = batch.get(LABELS)
        if labels is None:
            return self.problem.unlabelled(len(next(iter(_inputs(batch).values()))))
        if isinstance(labels, Targets):
            return labels
        labels = torch.as_tensor(labels).cpu()
        if not labels.is_floating_point():
            return (
                numbered(labels) if labels.dim() == 1 else Targets(labels, (labels != -100).flatten(1).any(1))
            )
        return Targets(labels, ~labels.reshape(len(labels), -1).isnan().any(1))


def _inputs(batch: Mapping[str, Any]) -> dict[str, Tensor]:
    found = {name: value for name, value in batch.items() if name not in (*KEYS, LABELS)}
    if not found:
        raise ConfigError(f"The batch holds {some(batch)} and no inputs of the student.")
    return found


def _first_rows(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value[:2] for name, value in inputs.items()}


def _posed(
    asked: Problem | str, names: Sequence[str] | None, bank: Bank | None, n_outputs: int | None
) -> Problem:
    """The problem with its names: given, the bank's, else numbers; ConfigError for a head of another width."""
    if isinstance(asked, Problem):
        return asked
    if names is None:
        names = (bank.class_names if bank is not None else None) or tuple(map(str, range(n_outputs or 0)))
    posed = problem_class(asked)(tuple(names))
    wanted = posed.n_outputs()
    if wanted is not None and wanted != n_outputs:
        raise ConfigError(
            f"The student has {n_outputs} outputs for {len(names)} names ({some(names, 3)}); name the classes of the "
            "labels with class_names."
        )
    return posed
