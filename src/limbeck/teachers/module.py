"""Any ``nn.Module`` as a teacher, read as a student is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limbeck.errors import ConfigError, HeadNotFoundError, UnknownNameError, nearest
from limbeck.problems.base import Reading
from limbeck.signals.fingerprint import module_fingerprint, settings_fingerprint
from limbeck.signals.layers import is_numbered
from limbeck.signals.output import AccessLevel, TeacherOutput
from limbeck.students.changes.adapter import add_adapter
from limbeck.students.changes.visible import Visible, inner_states
from limbeck.students.output import StudentOutput
from limbeck.students.student import Student
from limbeck.teachers.base import device_of, to_device
from limbeck.teachers.compact import compacted


class ModuleTeacher:
    """A model that was trained on its own modality, read in evaluation mode; without gradient, but to inputs that want
    one (a generator's samples) and to a part of it that trains.

    Args:
        model: called with the inputs by name, or by position when there is only one.
        class_names: names of its outputs, in order.
        gives: how it is read, see :class:`limbeck.students.Student`: ``classifier``: logits are what its head puts out
            (not what the model makes of it), features what enters the head; ``positions``: the same at every token or
            pixel; ``embedding``: features are what the model returns; ``prediction``: so is the prediction.
        head: path of the head; None finds it.
        layers: its inner layers that are kept as hidden states: module paths, ``layer:4``, ``layer:50%``.
        ragged: of what it says at every position ``[m, L, ...]`` keep those that the input ``attention_mask`` shows, as
            rows of different lengths.
        top_k: keep its likeliest classes alone: of its logits their log-probabilities (``log_probs``; at every
            position ``tokens``) and the mass of all others.
        changes: what is put into it that trains, while everything else stays: ``[{"name": "adapter", "at": "head"}]``
            (see :func:`limbeck.students.changes.adapter.add_adapter`). For a teacher that is asked during the training.
        preprocessing: JSON-able description of how its inputs are made; part of the fingerprint.
        licence: what its owner allows; kept with a bank.

    Raises: UnknownNameError for a layer or a reading that does not exist.    HeadNotFoundError, when it is called: no
        linear layer gives one row of logits for each input; lists the candidates.

    Example:
        >>> teacher = ModuleTeacher(nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2)))
        >>> teacher({"x": torch.zeros(3, 8)}).features.shape
        torch.Size([3, 4])
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        class_names: Sequence[str] | None = None,
        gives: Reading = "classifier",
        head: str | None = None,
        layers: Sequence[str] = (),
        ragged: bool = False,
        top_k: int | None = None,
        changes: Sequence[Mapping[str, Any]] = (),
        preprocessing: Any = None,
        licence: str = "",
    ) -> None:
        self.model, self.gives, self.licence = model, gives, licence
        self.class_names = None if class_names is None else tuple(class_names)
        self.access: AccessLevel = "weights"
        self._read = Student(model, head, reading=gives)
        modules = dict(model.named_modules())
        for name in layers:
            if not is_numbered(name) and name not in modules:
                raise UnknownNameError(f"The model has no layer {name!r}; {nearest(name, modules)}")
        self._layers = tuple(layers)
        self._ragged, self._top_k = ragged, top_k
        self._preprocessing, self._changes = preprocessing, [dict(change) for change in changes]
        self._knows_head = False
        self.trained: nn.Module | None = None  # the part that trains, known after the first call
        _check_changes(self._changes)

    def __call__(self, inputs: Mapping[str, Any]) -> TeacherOutput:
        """What it says of ``m`` inputs, on the model's device."""
        mask = inputs.get("attention_mask") if self._ragged else None
        return compacted(self._whole(inputs), mask, self._top_k)

    @torch.no_grad()
    def states(self, inputs: Mapping[str, Any], visible: Visible | None = None) -> dict[str, Tensor]:
        """What its ``layers`` show of ``m`` inputs, or of their visible patches, and nothing else: the network is run
        no further than the last of them.

        Raises: as :func:`limbeck.students.changes.visible.inner_states`.
        """
        self.model.eval()
        return inner_states(self.model, to_device(inputs, device_of(self.model)), self._layers, visible)

    def _whole(self, inputs: Mapping[str, Any]) -> TeacherOutput:
        """Features and logits of ``m`` inputs, on the model's device."""
        self.model.eval()
        n_rows = len(next(iter(inputs.values())))
        given = to_device(inputs, device_of(self.model))
        if self._changes and self.trained is None:
            self._read.probe(given)
            self.trained = add_adapter(self.model, _settings(self._changes[0]), self._read.head_path)
        follows = any(isinstance(x, Tensor) and x.requires_grad for x in given.values())
        with torch.set_grad_enabled(torch.is_grad_enabled() and (follows or self.trained is not None)):
            out = self._read(given, self._layers)
        if len(out) != n_rows:
            raise HeadNotFoundError(
                f"The teacher gives {len(out)} rows for {n_rows} inputs; let it give one row for each. "
                "Use gives='embedding' for a model that returns features."
            )
        said = TeacherOutput(hidden_states=out.hidden_states)
        if self.gives == "embedding":
            said.features = out.features
        elif self.gives == "prediction":
            said.prediction = out.prediction
        else:
            self._knows_head = True
            with torch.set_grad_enabled(out.features.requires_grad):
                said.features, said.logits = out.features, self._logits(out)
        return said

    def _logits(self, out: StudentOutput) -> Tensor:
        """What the head puts out, whatever the model makes of it (a softmax, a temperature)."""
        assert out.head is not None
        made = F.linear(out.features, *out.head)
        return made if made.shape == out.logits.shape else out.logits

    def compile(self, **options: Any) -> None:
        """Run what it reads through ``torch.compile`` from now on; after the first call, which finds the head."""
        self._read.compile(**options)

    @property
    def head(self) -> tuple[Tensor, Tensor | None] | None:
        """Weight and bias of the classifier, known after the first call."""
        if not self._knows_head:
            return None
        weight, bias = self._read.head_layer
        return weight.detach().clone(), None if bias is None else bias.detach().clone()

    def fingerprint(self) -> dict[str, str]:
        """Parts: ``architecture``, ``weights``, ``reading`` (what is taken from it), ``preprocessing``."""
        read: list[Any] = [self.gives, sorted(self._layers)]
        if self._ragged or self._top_k is not None:
            read += [self._ragged, self._top_k]
        return {
            "architecture": settings_fingerprint(repr(self.model)),
            "weights": module_fingerprint(self.model),
            "reading": settings_fingerprint(read),
            "preprocessing": settings_fingerprint(self._preprocessing),
        }


def _check_changes(changes: Sequence[Mapping[str, Any]]) -> None:
    """Raises UnknownNameError, ConfigError."""
    for change in changes:
        if change.get("name") != "adapter":
            name = str(change.get("name"))
            raise UnknownNameError(f"There is no change {name!r} of a teacher; {nearest(name, ('adapter',))}")
    if len(changes) > 1:
        raise ConfigError("A teacher takes one change; leave out the others.")


def _settings(change: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in change.items() if name != "name"}
