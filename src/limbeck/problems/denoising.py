"""Samples like those of the data, made from noise: the data are what is to be found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from limbeck.errors import ConfigError
from limbeck.functional.diffusion.schedule import Schedule, normal_like, uniform_times
from limbeck.functional.precision import widened
from limbeck.functional.transport.sliced import projection_directions, wasserstein_1d
from limbeck.problems.base import Problem, Reading, Run, Shown, Targets
from limbeck.problems.metric import DENOISING_ERROR, SLICED_WASSERSTEIN, Metric
from limbeck.seeding import keyed_generator

DIRECTIONS = 64  # along which samples and data are compared


@dataclass(frozen=True)
class Denoising(Problem):
    """A student ``(x [n, ...], t [n]) -> [n, ...]`` that says what noise hides, at times t in [0, 1].

    There is no label loss: a method draws time and noise. Evaluation draws them too, the same for a row in every run:
    the error of the student's answer at a time of the row's own, and, over all rows, how far samples that the student
    makes in
    ``steps`` steps from noise are from the data (sliced Wasserstein-1 distance).

    Args:
        names: the input that is noised.
        predicts: ``noise``, ``data`` or ``velocity``.    schedule: ``cosine`` or ``linear``.
        steps: of the sampler, at least 1.    time: the input that takes t.
    """

    predicts: str = "velocity"
    schedule: str = "cosine"
    steps: int = 10
    time: str = "t"

    kind: ClassVar[str] = "denoising"
    measures: ClassVar[tuple[Metric, ...]] = (SLICED_WASSERSTEIN, DENOISING_ERROR)
    reading: ClassVar[Reading] = "prediction"
    title: ClassVar[str] = "A denoiser of {names}."
    has_label_loss: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value, known in (
            ("predicts", self.predicts, ("noise", "data", "velocity")),
            ("schedule", self.schedule, ("cosine", "linear")),
        ):
            if value not in known:
                raise ConfigError(f"{name} of a denoising is one of {', '.join(known)}; it is {value!r}.")
        if self.steps < 1:
            raise ConfigError(f"The sampler of a denoising takes at least 1 step, not {self.steps}.")

    @property
    def path(self) -> Schedule:
        """From data to noise."""
        return Schedule(self.schedule, self.predicts)

    def n_outputs(self) -> None:
        return None

    def loss(self, out: Shown, targets: Targets) -> Tensor:
        """Zero, with a gradient path."""
        (found,) = widened(out.prediction)
        return 0.0 * found.sum()

    def inputs_at(self, inputs: Mapping[str, Tensor], x_t: Tensor, t: Tensor) -> dict[str, Tensor]:
        """The student's inputs with noised samples at times ``t [n]``."""
        return {**inputs, self.names[0]: x_t, self.time: t.to(x_t)}

    def evaluated(
        self, run: Run, inputs: dict[str, Tensor], targets: Targets
    ) -> tuple[Tensor, dict[str, Tensor]]:
        x = inputs[self.names[0]]
        draws = [keyed_generator("denoising", row.cpu().numpy().tobytes()) for row in x]
        noise = torch.stack([normal_like(row, draw) for row, draw in zip(x, draws)]) if len(x) else x
        t = torch.cat([uniform_times(1, draw) for draw in draws]).to(x) if len(x) else x.new_zeros(0)
        said = run(self.inputs_at(inputs, self.path.noised(x, noise, t), t)).prediction
        error = (said - self.path.target(x, noise, t)).float().square().flatten(1).mean(1)
        made = self.sampled(run, inputs, noise)
        lines = projection_directions(
            x[0].numel() if len(x) else 1, DIRECTIONS, generator=keyed_generator("lines")
        ).to(x)
        along = torch.stack([rows.float().flatten(1) @ lines.float().T for rows in (made, x)], dim=1)
        return error.sum(), {"error": error, "along": along, "known": targets.known}

    def sampled(self, run: Run, inputs: dict[str, Tensor], noise: Tensor) -> Tensor:
        """Samples made from noise ``[n, ...]`` in :attr:`steps` deterministic steps."""
        x_t = noise
        for step in range(self.steps, 0, -1):
            t, until = (
                torch.full((len(x_t),), place / self.steps, device=x_t.device) for place in (step, step - 1)
            )
            x_t = self.path.ddim(x_t, run(self.inputs_at(inputs, x_t, t)).prediction, t, until)
        return x_t

    def scores(self, statistics: Mapping[str, Tensor]) -> dict[str, float]:
        if not len(statistics["error"]):
            return {"sliced_wasserstein": float("nan"), "denoising_error": float("nan")}
        made, data = statistics["along"].double().unbind(1)
        return {
            "sliced_wasserstein": float(wasserstein_1d(made, data, p=1)) / DIRECTIONS,
            "denoising_error": float(statistics["error"].double().mean()),
        }

    def answers(self, outputs: Tensor, mask: Tensor | None = None) -> list[dict[str, Any]]:
        return [{"prediction": row} for row in self.predictions(outputs).tolist()]

    def told(self, answer: Mapping[str, Any]) -> str:
        values = torch.tensor(answer["prediction"]).flatten()
        return f"{values.numel()} numbers from {float(values.min()):.3g} to {float(values.max()):.3g}"

    @classmethod
    def unlabelled(cls, n: int) -> Targets:
        """The rows themselves are what is to be found, so that all of them are known."""
        return Targets(torch.zeros(n), torch.ones(n, dtype=torch.bool))

    @classmethod
    def names_in(cls, labels: Sequence[Any], column: str) -> tuple[str, ...]:
        return (column,)

    @classmethod
    def targets_of(cls, labels: Sequence[Any], names: Sequence[str]) -> Targets:
        return cls.unlabelled(len(labels))
