"""Variational information distillation: guess the teacher's features, and how sure the guess is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.functional import variational_nll
from limbeck.layers.projectors import mlp_projector
from limbeck.methods.base import Method, Settings, Shapes, StepBatch, Weight, setting, weight


@dataclass
class VIDConfig(Settings):
    initial_variance: float = setting(5.0, "of every teacher feature at the start", above=0)
    weight_supervised: Weight = weight(1.0)
    weight_information: Weight = weight(1.0, "of the surprise at the teacher's features")


class VID(Method):
    r"""Hold as much information about the teacher's features as a normal law around a learned guess can read out.

    .. math:: L = w_s L_{CE} + w_i \frac1p \sum_{i\,\text{paired}} \frac1D \sum_d
        \tfrac12 \left( \frac{(\mu_d(f_s(i)) - f_t^d(i))^2}{v_d} + \log v_d \right)

    The guess mu (an MLP) and the variances v are trained along and not exported. What of the teacher cannot be guessed
    gets a large variance and stops pulling, which a plain hint cannot do: between modalities that is most of it.

    Paper: Ahn et al., CVPR 2019, arXiv 1904.05835, equations 5 and 6. Deviation: on the penultimate features, with an
    MLP in the place of 1x1 convolutions.
    """

    needs = {"features"}
    links = {"paired", "partly_paired"}
    units = {"supervised": "labelled", "information": "pair"}
    Config = VIDConfig

    def __init__(self, config: VIDConfig, shapes: Shapes) -> None:
        super().__init__(config, shapes)
        width: Any = shapes.teacher.width
        self.guess = mlp_projector(shapes.student.width, width)
        start = config.initial_variance
        raw = start if start > 30 else math.log(math.expm1(start))  # softplus turned round
        self.raw_variance = nn.Parameter(torch.full((width,), raw))

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        rows, said = b.teacher.paired()
        theirs = said["features"]
        surprise = variational_nll(
            self.guess(b.student.features[rows]), theirs, self.raw_variance, reduction="sum"
        )
        return {"supervised": b.label_loss(), "information": surprise / theirs.shape[1]}
