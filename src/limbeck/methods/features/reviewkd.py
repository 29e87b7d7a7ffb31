"""Knowledge review: each stage of the student, mixed with the deeper ones, reproduces a stage of the teacher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from limbeck.functional import pyramid_mse
from limbeck.layers import Review
from limbeck.methods.base import (
    Settings,
    Shapes,
    StepBatch,
    Weight,
    setting,
    weight,
)
from limbeck.methods.features.maps import channels_of
from limbeck.methods.layer_pairs import OverLayerPairs


@dataclass
class ReviewKDConfig(Settings):
    layers: list[str] = setting(
        ["layer:50%=layer:50%"],
        "pairs of layers from the shallowest, STUDENT=TEACHER: a module path, layer:4, layer:-1 or layer:50%",
    )
    width: int = setting(256, "channels that the stages share", low=1)
    weight_supervised: Weight = weight(1.0)
    weight_review: Weight = weight(
        1.0, "of the review, a sum over stages; the authors ramp it up over 20 epochs"
    )


class ReviewKD(OverLayerPairs):
    r"""Reproduce the teacher's maps from the student's own and deeper ones, at several resolutions.

    .. math:: L = w_s L_{CE} + w_r \sum_l \frac1p \sum_{i\,\text{paired}} \mathrm{HCL}\big(o_l(i), h_t^l(i)\big), \qquad
        o_l = u_l(v_l), \quad v_l = a_l \odot e_l(h_s^l) + b_l \odot v_{l+1}

    with e and u convolutions, a and b shares of attention (see :class:`limbeck.layers.Review`), none of them
    exported, and HCL squares over a pyramid of grids (see :func:`limbeck.functional.pyramid_mse`). A map of the
    student is brought to the height and width of the teacher's.

    Paper: Chen et al., CVPR 2021, arXiv 2104.09044, equation 6 and section 3.4. Deviation: none known.
    """

    units = {"supervised": "labelled", "review": "pair"}
    Config = ReviewKDConfig

    def __init__(self, config: ReviewKDConfig, shapes: Shapes) -> None:
        super().__init__(config, shapes)
        d_student, d_teacher = zip(*channels_of(self.pairs, shapes))
        self.review = Review(d_student, d_teacher, d_middle=config.width)

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        rows, said = b.teacher.paired()
        ours = [b.student.hidden_states[s][rows] for s, _ in self.pairs]
        theirs = [said["hidden_states"][t] for _, t in self.pairs]
        made = self.review(ours, [cast(tuple[int, int], tuple(t.shape[2:])) for t in theirs])
        gaps = [pyramid_mse(s, t, reduction="sum") for s, t in zip(made, theirs)]
        return {"supervised": b.label_loss(), "review": torch.stack(gaps).sum()}
