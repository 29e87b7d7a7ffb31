r"""From data to noise and back: :math:`x_t = \alpha_t x_0 + \sigma_t \epsilon`, t in [0, 1].

Axis legend: n rows, ... the axes of a sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from limbeck.errors import DataError

Predicts = Literal["noise", "data", "velocity"]
Kind = Literal["cosine", "linear"]
ENDS = 1e-3  # times nearer to an end than this are moved there, where one side cannot be told from the other


@dataclass(frozen=True)
class Schedule:
    r"""A variance-preserving schedule, and what a network says of :math:`(x_t, t)`.

    Args:
        kind: ``cosine``: :math:`\alpha_t = \cos(\pi t / 2)`; ``linear``: :math:`\alpha_t^2 = \exp(-9.95 t^2 - 0.05 t)`,
            the continuous form of betas from 1e-4 to 0.02 over 1000 steps.
        predicts: ``noise`` :math:`\epsilon`, ``data`` :math:`x_0`, or ``velocity`` :math:`\alpha_t \epsilon -
            \sigma_t x_0`.

    Source: Ho et al., arXiv 2006.11239; Salimans and Ho, arXiv 2202.00512, sections 2 and 4 and appendix D.
    """

    kind: str = "cosine"
    predicts: str = "velocity"

    def coefficients(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """:math:`\\alpha_t, \\sigma_t`, ``[n, 1, ...]`` as many axes as ``like``.

        Args:
            t: ``[n]`` in [0, 1].
        """
        if t.shape != like.shape[:1]:
            raise DataError(f"t must be [n] for samples {list(like.shape)}, got {list(t.shape)}.")
        t = t.clamp(ENDS, 1 - ENDS).to(like.dtype).reshape(-1, *(1,) * (like.ndim - 1))
        if self.kind == "cosine":
            return torch.cos(math.pi * t / 2), torch.sin(math.pi * t / 2)
        squared = torch.exp(-9.95 * t.square() - 0.05 * t)
        return squared.sqrt(), (1 - squared).sqrt()

    def noised(self, x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """The samples ``x [n, ...]`` at times ``t``."""
        alpha, sigma = self.coefficients(t, x)
        return alpha * x + sigma * noise

    def target(self, x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What a network should say of :meth:`noised`."""
        if self.predicts == "noise":
            return noise
        if self.predicts == "data":
            return x
        alpha, sigma = self.coefficients(t, x)
        return alpha * noise - sigma * x

    def parts(self, said: Tensor, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """The data and the noise that a network's answer stands for."""
        alpha, sigma = self.coefficients(t, x_t)
        if self.predicts == "noise":
            return (x_t - sigma * said) / alpha, said
        if self.predicts == "data":
            return said, (x_t - alpha * said) / sigma
        return alpha * x_t - sigma * said, sigma * x_t + alpha * said

    def ddim(self, x_t: Tensor, said: Tensor, t: Tensor, until: Tensor) -> Tensor:
        """A deterministic step from times ``t`` to ``until``."""
        x, noise = self.parts(said, x_t, t)
        return self.noised(x, noise, until)

    def goal(self, x_t: Tensor, reached: Tensor, t: Tensor, until: Tensor) -> Tensor:
        """What a network would have to say at ``t`` for one step to ``until`` to end at ``reached``."""
        (a, s), (a_u, s_u) = self.coefficients(t, x_t), self.coefficients(until, x_t)
        x = (reached - s_u / s * x_t) / (a_u - s_u / s * a)
        return self.target(x, (x_t - a * x) / s, t)


def uniform_times(n: int, generator: torch.Generator | None, *, steps: int | None = None) -> Tensor:
    """``[n]`` times in (0, 1], of ``steps`` equal ones, or any; drawn on the CPU."""
    if steps is not None:
        return (torch.randint(steps, (n,), generator=generator) + 1) / steps
    return 1 - torch.rand(n, generator=generator)


def normal_like(x: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal numbers of the shape, dtype and device of ``x``, drawn on the CPU."""
    return torch.randn(x.shape, generator=generator).to(x)
