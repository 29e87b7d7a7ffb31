"""No teacher: a denoiser learns from the data alone. The baseline of every comparison of denoisers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from torch import Tensor

from limbeck.functional.diffusion.schedule import normal_like, uniform_times
from limbeck.methods.base import Declared, Method, Settings, StepBatch, Weight, weight

if TYPE_CHECKING:
    from limbeck.problems.denoising import Denoising


@dataclass
class DenoiseConfig(Settings):
    weight_denoising: Weight = weight(1.0)


class Denoise(Method):
    r"""The student answers at a time and with a noise that each step draws for each row.

    .. math:: L = \frac1n \sum_i \frac1D \| f(\alpha_t x_i + \sigma_t \epsilon, t) - v_t(x_i, \epsilon) \|^2

    where :math:`v_t` is what the problem's student predicts: noise, data or velocity.

    Paper: Ho, Jain, Abbeel, NeurIPS 2020, arXiv 2006.11239, equation 14 (with noise predicted).
    """

    problems = {"denoising"}
    units = {"denoising": "row"}
    Config = DenoiseConfig

    @classmethod
    def declared(cls, config: DenoiseConfig) -> Declared:
        return super().declared(config).with_(student="asked")

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        asked = cast("Denoising", b.problem)  # it claims no other
        x, path = b.inputs[asked.names[0]], asked.path
        noise, t = normal_like(x, b.generator), uniform_times(len(x), b.generator).to(x)
        found = b.run(asked.inputs_at(b.inputs, path.noised(x, noise, t), t)).prediction
        error = (found - path.target(x, noise, t)).float().square()
        return {"denoising": error.flatten(1).mean(1).sum()}
