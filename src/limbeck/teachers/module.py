"""Any ``nn.Module`` as a teacher."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from limbeck.errors import ConfigError, HeadNotFoundError, UnknownNameError, nearest
from limbeck.layers.pooling import pool
from limbeck.signals.fingerprint import module_fingerprint, settings_fingerprint
from limbeck.signals.output import AccessLevel, TeacherOutput
from limbeck.students.calling import call_by_name
from limbeck.teachers.base import device_of, representation_of, to_device


class ModuleTeacher:
    """A model that was trained on its own modality, read in evaluation mode and without gradient.

    Args:
        model: called with the inputs by name, or by position when there is only one.
        class_names: names of its outputs, in order.
        gives: ``classifier``: logits = the output of the last ``nn.Linear`` that runs, features = its input (of a head
            over all positions of a text at the one that the model answers with);
            ``embedding``: features = what the model returns, ``[m, D]``.
        layers: module paths whose outputs are kept as hidden states.
        preprocessing: JSON-able description of how its inputs are made; part of the fingerprint.
        licence: what its owner allows; kept with a bank.

    Raises: UnknownNameError for a layer that does not exist.    HeadNotFoundError, when it is called: no
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
        gives: Literal["classifier", "embedding"] = "classifier",
        layers: Sequence[str] = (),
        preprocessing: Any = None,
        licence: str = "",
    ) -> None:
        if gives not in ("classifier", "embedding"):
            raise ConfigError(f"gives must be 'classifier' or 'embedding'; it is {gives!r}.")
        modules = dict(model.named_modules())
        if unknown := [name for name in layers if name not in modules]:
            raise UnknownNameError(f"The model has no layer {unknown[0]!r}; {nearest(unknown[0], modules)}")
        self.model, self.gives, self.licence = model, gives, licence
        self.class_names = None if class_names is None else tuple(class_names)
        self.access: AccessLevel = "weights"
        self._layers = {name: modules[name] for name in layers}
        self._preprocessing = preprocessing
        self._head: nn.Linear | None = None

    def __call__(self, inputs: Mapping[str, Any]) -> TeacherOutput:
        """Features and logits of ``m`` inputs, on the model's device."""
        self.model.eval()
        given = to_device(inputs, device_of(self.model))
        with torch.no_grad(), _watch(self.model, self._layers) as seen:
            answer = call_by_name(self.model, given)
        if self.gives == "embedding":
            return TeacherOutput(features=representation_of(answer), hidden_states=seen.layers)
        head, features, logits = seen.last_linear or (None, None, None)
        if features is not None and logits is not None and logits.dim() == 3:
            features, logits = _at_one_position(features, logits, answer, given.get("attention_mask"))
        n_rows = len(next(iter(inputs.values())))
        if head is None or features is None or logits is None or logits.dim() != 2 or len(logits) != n_rows:
            raise HeadNotFoundError(_no_head(self.model, seen))
        self._head = head
        return TeacherOutput(features=features, logits=logits, hidden_states=seen.layers)

    @property
    def head(self) -> tuple[Tensor, Tensor | None] | None:
        """Weight and bias of the classifier, known after the first call."""
        if self._head is None:
            return None
        bias = self._head.bias
        return self._head.weight.detach().clone(), None if bias is None else bias.detach().clone()

    def fingerprint(self) -> dict[str, str]:
        """Parts: ``architecture``, ``weights``, ``reading`` (what is taken from it), ``preprocessing``."""
        return {
            "architecture": settings_fingerprint(repr(self.model)),
            "weights": module_fingerprint(self.model),
            "reading": settings_fingerprint([self.gives, sorted(self._layers)]),
            "preprocessing": settings_fingerprint(self._preprocessing),
        }


def _at_one_position(
    features: Tensor, logits: Tensor, answer: Any, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Features ``[m, D]`` and logits ``[m, C]`` at the position whose logits the model returns, of a head that runs
    over all positions ``[m, T, .]`` (the last one that counts, of a causal language model); unchanged if there is
    none."""
    returned = getattr(answer, "logits", None)
    for place in ("last", "cls"):
        picked = pool(logits, place, mask)
        if isinstance(returned, Tensor) and picked.shape == returned.shape and torch.equal(picked, returned):
            return pool(features, place, mask), picked
    return features, logits


class _Seen:
    """What ran in one forward."""

    def __init__(self) -> None:
        self.last_linear: tuple[nn.Linear, Tensor, Tensor] | None = None
        self.linears: list[tuple[nn.Linear, tuple[int, ...]]] = []
        self.layers: dict[str, Tensor] = {}

    def linear(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        assert isinstance(module, nn.Linear)
        self.last_linear = module, inputs[0], output
        self.linears.append((module, tuple(output.shape)))

    def keep(self, name: str, output: Any) -> None:
        self.layers[name] = representation_of(output[0] if isinstance(output, tuple) else output)


@contextmanager
def _watch(model: nn.Module, layers: Mapping[str, nn.Module]) -> Iterator[_Seen]:
    """Hooks for the length of one forward, so that the model is left as it was."""
    seen = _Seen()
    hooks = [m.register_forward_hook(seen.linear) for m in model.modules() if isinstance(m, nn.Linear)]
    for name, module in layers.items():
        hooks.append(module.register_forward_hook(lambda _m, _i, out, name=name: seen.keep(name, out)))
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _no_head(model: nn.Module, seen: _Seen) -> str:
    paths = {module: path or "(the model)" for path, module in model.named_modules()}
    ran = [f"{paths[module]} gives {list(shape)}" for module, shape in seen.linears[-5:]]
    return (
        "The teacher has no linear layer that gives one row of logits for each input; "
        f"linear layers that ran: {'; '.join(ran) if ran else 'none'}. "
        "Use gives='embedding' for a model that returns features."
    )
