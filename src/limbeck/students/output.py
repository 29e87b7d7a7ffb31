"""What a student shows of a batch.

Axis legend: n rows, p positions of a row (none; tokens or frames; pixels), d feature width, C outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from limbeck.errors import ConfigError
from limbeck.functional.response.vocabulary_head import LogitForm
from limbeck.signals.output import Head


class LazyLogits:
    """Logits that are computed when they are first read, from what enters the head.

    Args:
        head: the layer itself, with adapters if it has any.    entered: ``[n, *p, d]``, after dropout.
        form: what the model makes of the layer's products.
    """

    def __init__(
        self, head: Callable[[Tensor], Tensor], entered: Tensor, form: LogitForm | None = None
    ) -> None:
        self.head, self.entered, self.form = head, entered, form or LogitForm()

    def __call__(self) -> Tensor:
        return self.form.of(self.head(self.entered))

    def rows(self, index: Tensor | slice) -> LazyLogits:
        return LazyLogits(self.head, self.entered[index], self.form)


class StudentOutput:
    """Student outputs for ``n`` rows; what a reading does not give is None.

    Args:
        features: ``[n, *p, d]``, the input of the head, before dropout, one row per row of logits (multiple choice:
            their mean over the choices); of an embedder what it returns.
        logits: ``[n, *p, C]``; multiple choice ``[n, K]``, one for each choice; or what computes them.
        hidden_states: module path to its output ``[n, ...]``, for the layers that a method asked for.
        head: weight ``[C, d]`` and bias ``[C]`` of the linear head.
        prediction: of a student that classifies nothing: an embedding, a denoised sample.
        mask: ``[n, *p]`` bool, positions that count; None = all.
        of_choices: ``[n, K, d]``, multiple choice: the features of each choice.
        into_head: what entered the head, ``[n, *p, d]``, after dropout, where the logits are what it put out.
    """

    def __init__(
        self,
        features: Tensor | None = None,
        logits: Tensor | LazyLogits | None = None,
        hidden_states: Mapping[str, Tensor] | None = None,
        *,
        head: Head | None = None,
        prediction: Tensor | None = None,
        mask: Tensor | None = None,
        into_head: Tensor | None = None,
        of_choices: Tensor | None = None,
    ) -> None:
        self.into_head, self.of_choices = into_head, of_choices
        self._features, self._logits, self.head = features, logits, head
        self.hidden_states = dict(hidden_states or {})
        self._prediction, self.mask = prediction, mask

    def __len__(self) -> int:
        entered = self._logits.entered if isinstance(self._logits, LazyLogits) else self._logits
        return next(len(value) for value in (entered, self._features, self._prediction) if value is not None)

    @property
    def features(self) -> Tensor:
        """Raises ConfigError where the student shows none."""
        return self._shown("features", self._features)

    @property
    def logits(self) -> Tensor:
        """Computed on first read, so that a fused loss of a large vocabulary never makes them; ConfigError where the
        student shows none."""
        if isinstance(self._logits, LazyLogits):
            self._logits = self._logits()
        return self._shown("logits", self._logits)

    @property
    def entered(self) -> Tensor | None:
        """What enters the head, ``[n, *p, d]``, after dropout, where the logits have not been computed yet."""
        return self._logits.entered if isinstance(self._logits, LazyLogits) else None

    @property
    def entered_plainly(self) -> Tensor | None:
        """:attr:`entered`, where weight and bias of :attr:`head`, and :attr:`form`, are all that makes logits of it: no
        adapter."""
        plain = isinstance(self._logits, LazyLogits) and type(self._logits.head) is nn.Linear
        return self.entered if plain else None

    @property
    def form(self) -> LogitForm:
        """What the model makes of its head's products, where they are its logits but for a scale and a cap."""
        return self._logits.form if isinstance(self._logits, LazyLogits) else LogitForm()

    @property
    def prediction(self) -> Tensor:
        """Raises ConfigError where the student makes none."""
        return self._shown("prediction", self._prediction)

    def _shown(self, name: str, value: Tensor | None) -> Tensor:
        if value is None:
            has = [n for n in ("features", "logits", "prediction") if getattr(self, f"_{n}") is not None]
            raise ConfigError(
                f"This student shows no {name}, only {', '.join(has) or 'nothing'}; it is read by its problem."
            )
        return value

    def tensors(self) -> list[Tensor]:
        """All that has been computed and may carry a gradient; logits only where they have been read."""
        logits = None if isinstance(self._logits, LazyLogits) else self._logits
        shown = (self._features, logits, self._prediction, *self.hidden_states.values())
        return list({id(value): value for value in shown if value is not None}.values())

    def rows(self, index: Tensor | slice) -> StudentOutput:
        """The outputs of some rows."""

        def picked(value: Tensor | None) -> Tensor | None:
            return None if value is None else value[index]

        lazy = isinstance(self._logits, LazyLogits)
        return StudentOutput(
            picked(self._features),
            self._logits.rows(index) if lazy else picked(self._logits),  # type: ignore[union-attr,arg-type]
            {name: value[index] for name, value in self.hidden_states.items()},
            head=self.head,
            prediction=picked(self._prediction),
            mask=picked(self.mask),
            of_choices=picked(self.of_choices),
        )
