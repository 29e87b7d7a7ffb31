"""A student: any model with a linear head that shows its features and logits.

Axis legend: n rows of the batch, K choices, L positions (tokens, patches), d feature width, C classes.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from limbeck.errors import ConfigError, HeadNotFoundError, UnknownNameError, nearest
from limbeck.students.calling import call_by_name, logits_of
from limbeck.students.changes.lora import merge_lora
from limbeck.students.heads import (
    candidates,
    feature_rows,
    find_head,
    head_call,
    linear_layers,
    scores_choices,
)
from limbeck.students.layers import layer_path
from limbeck.students.output import StudentOutput
from limbeck.students.recorder import Recorder


@dataclass(frozen=True)
class StudentShape:
    """What a probe found: path of the head, feature width d, class count C, shapes of hidden states."""

    head: str
    feature_width: int
    n_classes: int
    hidden: dict[str, tuple[int, ...]] = field(default_factory=dict)


class Student(nn.Module):
    """Makes a model answer :class:`StudentOutput` without touching its forward.

    The head is the last ``nn.Linear`` executed in the first forward (or in :meth:`probe`) that makes the
    logits, unless named; the features are its input, before dropout, one row per row of logits. Hooks are set
    and removed inside each forward, so nothing is left on the model, and copies, autocast, gradient
    checkpointing and ``torch.func.functional_call`` work as with the bare model. Parameters are named
    ``model.<name>``.

    A token-level model, logits ``[n, L, C]``, gives rows in reading order: row ``i * L + t`` is token t of
    example i, in features, logits and hidden states alike; flatten its labels the same way.

    A multiple-choice model, logits ``[n, K]`` from a head with one output, gives the mean over the choices as the
    features ``[n, d]``, and hidden states ``[n, K, ...]``.

    Args:
        model: any ``nn.Module`` whose forward returns logits, a Hugging Face output with ``.logits``, a
            mapping with ``"logits"``, or a tuple whose first entry is the logits.
        head: path of the head in ``model``; ``None`` finds it.

    Limits: hooks do not reach into a model that ``torch.compile`` has already compiled; compile the student
    instead (graph breaks at the hooks). With gradient checkpointing use ``use_reentrant=False`` (the default
    here), as the reentrant kind hides hidden states from the gradient.
    """

    def __init__(self, model: nn.Module, head: str | None = None) -> None:
        super().__init__()
        self.model = model
        self._head = head
        # Whether a functional dropout feeds the head; seen in the first training forward, then watched for.
        self._functional_dropout: bool | None = None
        if head is not None:
            self._check_head(head)

    def forward(self, inputs: Mapping[str, Tensor], hidden: Sequence[str] = ()) -> StudentOutput:
        """Outputs for ``inputs`` (argument name to ``[n, ...]``) and the layers named in ``hidden``: module paths, or
        ``layer:4``, ``layer:-1``, ``layer:50%`` of the stack of blocks.

        Inputs go by name where the model's forward accepts the names, by position when there is exactly one.

        Raises: ConfigError for inputs that the model does not take; UnknownNameError for a layer that does
        not exist; HeadNotFoundError when no linear layer made the logits.
        """
        layers = self._hidden_layers(hidden)
        watch = self.model.training and self._functional_dropout is not False
        with Recorder(self.model, self._watched_linears(), layers, watch) as record:
            output = call_by_name(self.model, inputs)
        logits = logits_of(output, self.model)
        head = self._head if self._head is not None else find_head(self.model, record, logits)
        call = head_call(self.model, record, head)
        features = feature_rows(call, logits, inputs)
        self._head = head
        if watch:
            self._functional_dropout = call.functional_dropout
        states = _executed(record.hidden_states, layers)
        if scores_choices(call, logits):
            states = {
                k: v.unflatten(0, logits.shape) if len(v) == logits.numel() else v for k, v in states.items()
            }
        return _flat(features, logits, states)

    @torch.no_grad()
    def probe(self, inputs: Mapping[str, Tensor], hidden: Sequence[str] = ()) -> StudentShape:
        """Find the head and the widths by one forward in evaluation mode.

        BatchNorm statistics, the training flags and the state of torch's random generators stay as they were.
        """
        with _evaluating(self), _same_random_state(self):
            output = self(inputs, hidden)
        shapes = {name: tuple(value.shape) for name, value in output.hidden_states.items()}
        return StudentShape(self.head_path, output.features.shape[-1], output.logits.shape[-1], shapes)

    @property
    def head_path(self) -> str:
        """Path of the head in ``model``; known after the first forward or a probe."""
        if self._head is None:
            raise HeadNotFoundError(
                "The head is not known yet; call student.probe(inputs) or run one batch first."
            )
        return self._head

    @property
    def head_layer(self) -> tuple[Tensor, Tensor | None]:
        """The head's weight ``[C, d]`` and bias ``[C]`` (or None), as the live parameters; C = 1 in multiple choice."""
        head = cast(nn.Linear, self.model.get_submodule(self.head_path))
        return head.weight, head.bias

    def gradient_checkpointing_enable(
        self, gradient_checkpointing_kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> None:
        """Trade time for memory in the model, if it can; not reentrant unless asked for.

        Args:
            options: ``every_n_layers`` and ``offload``, for transformers models of a version that knows them.
        """
        kwargs = {"use_reentrant": False, **(gradient_checkpointing_kwargs or {})}
        newer = getattr(self.model, "activation_checkpointing_enable", None)
        older = getattr(self.model, "gradient_checkpointing_enable", None)
        if callable(newer):
            newer(activation_checkpointing_kwargs=kwargs, **options)
        elif callable(older):
            older(gradient_checkpointing_kwargs=kwargs, **options)
        else:
            raise ConfigError(
                f"{type(self.model).__name__} does not support gradient checkpointing; set "
                "gradient_checkpointing to false."
            )

    def activation_checkpointing_enable(
        self, activation_checkpointing_kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> None:
        """:meth:`gradient_checkpointing_enable` under the name that newer transformers call."""
        self.gradient_checkpointing_enable(activation_checkpointing_kwargs, **options)

    def gradient_checkpointing_disable(self) -> None:
        """Undo :meth:`gradient_checkpointing_enable`."""
        for name in ("activation_checkpointing_disable", "gradient_checkpointing_disable"):
            disable = getattr(self.model, name, None)
            if callable(disable):
                disable()
                return

    def _watched_linears(self) -> dict[str, nn.Module]:
        if self._head is not None:
            return {self._head: self.model.get_submodule(self._head)}
        return dict(linear_layers(self.model))

    def _hidden_layers(self, hidden: Sequence[str]) -> dict[str, nn.Module]:
        return {name: self.model.get_submodule(layer_path(self.model, name)) for name in hidden}

    def _check_head(self, head: str) -> None:
        modules = dict(self.model.named_modules(remove_duplicate=False))
        if head not in modules:
            raise UnknownNameError(
                f"The student has no layer '{head}'; {nearest(head, linear_layers(self.model))}"
            )
        if not isinstance(modules[head], nn.Linear):
            kind = type(modules[head]).__name__
            raise ConfigError(f"The head '{head}' is a {kind}, not an nn.Linear; {candidates(self.model)}.")


def bare_copy(model: Student | nn.Module) -> nn.Module:
    """A copy of the model alone, on the CPU, in evaluation mode, without gradient, adapters merged; what is shipped."""
    bare = model.model if isinstance(model, Student) else model
    return merge_lora(copy.deepcopy(bare).cpu().eval().requires_grad_(False))


def _executed(states: dict[str, Tensor], layers: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """The hidden states in the order asked for; a layer that did not run is an error."""
    for name in layers:
        if name not in states:
            raise ConfigError(f"The layer '{name}' put out no tensor in this forward; ask for one that runs.")
    return {name: states[name] for name in layers}


def _flat(features: Tensor, logits: Tensor, hidden: dict[str, Tensor]) -> StudentOutput:
    """Token-level outputs as rows in reading order; all others as they are."""
    lead = logits.shape[:-1]
    if len(lead) == 1:
        return StudentOutput(features, logits, hidden)
    for name, value in hidden.items():
        if value.shape[: len(lead)] != lead:
            raise ConfigError(
                f"The layer '{name}' puts out {list(value.shape)}, the model logits {list(logits.shape)}: "
                "with token-level logits a hidden state needs the same leading axes."
            )
    last = len(lead) - 1
    return StudentOutput(
        features.flatten(0, last), logits.flatten(0, last), {k: v.flatten(0, last) for k, v in hidden.items()}
    )


@contextlib.contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode, then every module's own flag again."""
    flags = [(m, m.training) for m in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for m, flag in flags:
            m.training = flag


@contextlib.contextmanager
def _same_random_state(module: nn.Module) -> Iterator[None]:
    """Torch's generators, of the CPU and of the module's devices, go back to where they were."""
    devices = {p.device for p in module.parameters() if p.device.type not in ("cpu", "meta")}
    kind = next(iter(devices)).type if devices else "cuda"
    with torch.random.fork_rng([device.index or 0 for device in devices], device_type=kind):
        yield
