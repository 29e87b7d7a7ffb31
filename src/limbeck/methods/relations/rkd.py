"""Relational knowledge distillation: distances and angles between samples."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from limbeck.functional import rkd_angle, rkd_distance
from limbeck.methods.base import Method, Settings, StepBatch, Weight, weight


@dataclass
class RKDConfig(Settings):
    weight_supervised: Weight = weight(1.0)
    weight_distance: Weight = weight(25.0, "of the distances between pairs of rows")
    weight_angle: Weight = weight(50.0, "of the angles of triples of rows; its time grows with their cube")


class RKD(Method):
    r"""Match relative distances of pairs and angles of triples of samples, blind to scale, motion and width.

    .. math:: L = w_s L_{CE} + w_d \frac1{p^2} \sum_{ij} \ell_1\big(\psi_D^s - \psi_D^t\big)
        + w_a \frac1{p^3} \sum_{ijk} \ell_1\big(\psi_A^s - \psi_A^t\big)

    over the p paired rows of a batch, with Huber's loss. Two pairs have one distance, of ratio 1 to the mean: a batch
    needs three or more.

    Paper: Park et al., CVPR 2019, arXiv 1904.05068, equations 4 to 8. Deviation: means over pairs and triples, with the
    weights of the authors' code.
    """

    needs = {"features"}
    links = {"paired", "partly_paired"}
    units = {"supervised": "labelled", "distance": "batch", "angle": "batch"}
    row = 23
    Config = RKDConfig

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        rows, said = b.teacher.paired()
        ours, theirs = b.student.features[rows], said["features"]
        return {
            "supervised": b.label_loss(),
            "distance": rkd_distance(ours, theirs),
            "angle": rkd_angle(ours, theirs),
        }
