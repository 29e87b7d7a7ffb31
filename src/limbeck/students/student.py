"""A student: any model that shows its features and logits, its embedding, or its prediction.

Axis legend: n rows of the batch, K choices, p positions (tokens; pixels), d feature width, C classes.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast, get_args

import torch
from torch import Tensor, nn

from limbeck.errors import ConfigError, HeadNotFoundError, UnknownNameError, nearest
from limbeck.functional.response.vocabulary_head import LogitForm
from limbeck.problems.base import Reading
from limbeck.students.calling import answer_of, call_by_name
from limbeck.students.changes.lora import merge_lora
from limbeck.students.heads import (
    candidates,
    channels_last,
    choice_features,
    feature_rows,
    find_head,
    head_call,
    position_head,
    possible_heads,
    scores_choices,
)
from limbeck.students.language.logit_form import logit_form
from limbeck.students.language.writing import written
from limbeck.students.layers import layer_path
from limbeck.students.output import LazyLogits, StudentOutput
from limbeck.students.recorder import LinearCall, Recorder, is_pointwise


@dataclass(frozen=True)
class StudentShape:
    """What a probe found: path of the head, feature width d, outputs C, shapes of hidden states; None where a reading
    has none."""

    head: str | None
    feature_width: int | None
    n_classes: int | None
    hidden: dict[str, tuple[int, ...]] = field(default_factory=dict)


class Student(nn.Module):
    """Makes a model answer :class:`StudentOutput` without touching its forward.

    Hooks are set and removed inside each forward, so nothing is left on the model, and copies, autocast, gradient
    checkpointing and ``torch.func.functional_call`` work as with the bare model. Parameters are named ``model.<name>``.

    A multiple-choice model, logits ``[n, K]`` from a head with one output, gives the mean over the choices as the
    features ``[n, d]``, and hidden states ``[n, K, ...]``.

    Args:
        model: any ``nn.Module`` whose forward returns a tensor, a Hugging Face output, a mapping, or a tuple whose
            first entry is the answer.
        head: path of the head in ``model``; ``None`` finds it.
        reading: ``classifier``: logits ``[n, C]``, the features are what enters the head, before dropout. The head is
            the last ``nn.Linear`` executed in the first forward (or in :meth:`probe`) that makes the logits.
            ``positions``: the same at every token, frame or pixel, ``[n, *p, C]``; the head may be a 1x1 convolution
            (logits ``[n, C, *p]`` are turned). Where nothing follows the head but a scale and a cap that the model's
            config names, its outputs are made only when ``logits`` are read. ``embedding``: features and prediction are
            what the model returns. ``prediction``: so is the prediction. See :attr:`limbeck.problems.Problem.reading`.

    Limits: hooks do not reach into a model that ``torch.compile`` has already compiled; compile the student
    instead (graph breaks at the hooks). With gradient checkpointing use ``use_reentrant=False`` (the default
    here), as the reentrant kind hides hidden states from the gradient.
    """

    def __init__(self, model: nn.Module, head: str | None = None, *, reading: Reading = "classifier") -> None:
        super().__init__()
        if reading not in get_args(Reading):
            raise UnknownNameError(
                f"There is no reading {reading!r} of a student; {nearest(str(reading), get_args(Reading))}"
            )
        self.model, self.reading = model, reading
        self._head = head
        # Whether a functional dropout feeds the head; seen in the first training forward, then watched for.
        self._functional_dropout: bool | None = None
        # What follows the head, where its outputs can be made later; seen in a first forward.
        self._form: LogitForm | None = None
        self.closed: frozenset[nn.Module] = frozenset()  # where no hook reaches: inside compiled blocks
        if head is not None:
            self._check_head(head)

    def forward(self, inputs: Mapping[str, Tensor], hidden: Sequence[str] = ()) -> StudentOutput:
        """Outputs for ``inputs`` (argument name to ``[n, ...]``) and the layers named in ``hidden``: module paths, or
        ``layer:4``, ``layer:-1``, ``layer:50%`` of the stack of blocks.

        Inputs go by name where the model's forward accepts the names, by position when there is exactly one.

        Raises: ConfigError for inputs that the model does not take, and for an answer that is not as the reading says;
        UnknownNameError for a layer that does not exist; HeadNotFoundError when no linear layer made the logits.
        """
        layers = self._hidden_layers(hidden)
        if not self.classifies:
            with Recorder(self.model, {}, layers, False, closed=self.closed) as record:
                answer = answer_of(call_by_name(self.model, inputs), self.model, self.reading)
            states = _executed(record.hidden_states, layers)
            features = answer if self.reading == "embedding" else None
            return StudentOutput(features, None, states, prediction=answer)
        watch = self.model.training and self._functional_dropout is not False
        skipped = self._head if self._form is not None else None
        with Recorder(self.model, self._watched_heads(), layers, watch, skipped, self.closed) as record:
            output = call_by_name(self.model, inputs)
        answer = answer_of(output, self.model, self.reading)
        call, out = self._read(record, answer, inputs)
        if watch:
            self._functional_dropout = call.functional_dropout
        out.hidden_states = _executed(record.hidden_states, layers)
        if scores_choices(call, answer):
            out.hidden_states = {
                k: v.unflatten(0, answer.shape) if len(v) == answer.numel() else v
                for k, v in out.hidden_states.items()
            }
        return out

    def _read(
        self, record: Recorder, logits: Tensor, inputs: Mapping[str, Tensor]
    ) -> tuple[LinearCall, StudentOutput]:
        """The call of the head, and what it shows."""
        if self.reading == "classifier" and logits.ndim != 2:
            raise ConfigError(
                f"{type(self.model).__name__} gives logits {list(logits.shape)}, at several positions of a row; "
                "read it so: take a problem of positions (token_classes, segmentation), reading='positions' of a "
                "Student, or gives='positions' of a teacher."
            )
        if self._head is None:
            find = find_head if self.reading == "classifier" else position_head
            self._head = find(self.model, record, logits)
        call = head_call(self.model, record, self._head)
        if self.reading == "classifier":
            features = feature_rows(call, logits, inputs)
            each = choice_features(call, logits)
            into_head = call.given if _is(call.outputs, logits) else None
            return call, StudentOutput(
                features, logits, head=self.head_layer, into_head=into_head, of_choices=each
            )
        head = self.model.get_submodule(self._head)
        if call.skipped:
            logits_or_later: Tensor | LazyLogits = LazyLogits(head, call.given, self._form)
        else:
            logits_or_later = channels_last(logits, head)
            self._form = logit_form(self.model, call.outputs, logits) if isinstance(head, nn.Linear) else None
        mask = inputs.get("attention_mask")
        is_of_tokens = mask is not None and call.inputs.shape[:-1] == mask.shape
        return call, StudentOutput(
            call.inputs,
            logits_or_later,
            head=self.head_layer,
            mask=mask.bool() if mask is not None and is_of_tokens else None,
        )

    def write(self, prompts: Sequence[Tensor], **options: Any) -> Tensor:
        """What the model writes to prompts, see :func:`limbeck.students.language.writing.written`."""
        return written(self.model, prompts, **options)

    @torch.no_grad()
    def probe(self, inputs: Mapping[str, Tensor], hidden: Sequence[str] = ()) -> StudentShape:
        """Find the head and the widths by one forward in evaluation mode.

        BatchNorm statistics, the training flags and the state of torch's random generators stay as they were.
        """
        with _evaluating(self), _same_random_state(self):
            output = self(inputs, hidden)
        shapes = {name: tuple(value.shape) for name, value in output.hidden_states.items()}
        if self.classifies:
            return StudentShape(self.head_path, output.features.shape[-1], output.logits.shape[-1], shapes)
        width = output.prediction.shape[-1]
        return StudentShape(None, width if self.reading == "embedding" else None, width, shapes)

    @property
    def classifies(self) -> bool:
        """Whether it shows logits."""
        return self.reading in ("classifier", "positions")

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
        weight = head.weight
        return weight if weight.ndim == 2 else weight.flatten(
            1
        ), head.bias  # of a convolution its only position

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

    def _watched_heads(self) -> dict[str, nn.Module]:
        if self._head is not None:
            return {self._head: self.model.get_submodule(self._head)}
        return possible_heads(self.model, self.reading == "positions")

    def heads(self) -> list[str]:
        """Module paths of what may be the head; of a student without one none."""
        return list(self._watched_heads()) if self.classifies else []

    def _hidden_layers(self, hidden: Sequence[str]) -> dict[str, nn.Module]:
        layers = {name: self.model.get_submodule(layer_path(self.model, name)) for name in hidden}
        for name, module in layers.items():
            if module in self.closed and "forward" not in module.__dict__:
                raise ConfigError(
                    f"The layer {name!r} lies inside a compiled block, which shows nothing; name a whole block "
                    "(layer:4), or leave out training.compile_student."
                )
        return layers

    def _check_head(self, head: str) -> None:
        modules = dict(self.model.named_modules(remove_duplicate=False))
        if head not in modules:
            raise UnknownNameError(
                f"The student has no layer '{head}'; {nearest(head, possible_heads(self.model, True))}"
            )
        positions = self.reading == "positions"
        if not isinstance(modules[head], nn.Linear) and not (positions and is_pointwise(modules[head])):
            kind = type(modules[head]).__name__
            raise ConfigError(
                f"The head '{head}' is a {kind}, not an nn.Linear; {candidates(self.model, positions=positions)}."
            )


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


def _is(a: Tensor, b: Tensor) -> bool:
    """Whether they are one tensor, as it was made."""
    return a.shape == b.shape and a.data_ptr() == b.data_ptr() and b._version == 0


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
