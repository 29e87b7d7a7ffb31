"""Distillation from a stronger teacher: predictions need only be correlated."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from limbeck.functional import prediction_correlation
from limbeck.methods.base import Method, Settings, StepBatch, Weight, setting, weight


@dataclass
class DISTConfig(Settings):
    temperature: float = setting(1.0, "softens both sides (T)", above=0)
    weight_supervised: Weight = weight(1.0)
    weight_inter: Weight = weight(2.0, "of each row's correlation over classes (beta)")
    weight_intra: Weight = weight(2.0, "of each class's correlation over the rows of a batch (gamma)")


class DIST(Method):
    r"""Correlate the student's predictions with the teacher's, row by row over classes and class by class over rows.

    .. math:: L = w_s L_{CE} + w_b \frac{T^2}{p} \sum_{i\,\text{paired}} (1 - \rho(p_s(i), p_t(i)))
        + w_g \frac{T^2}{C} \sum_c (1 - \rho(p_s^c, p_t^c))

    with rho Pearson's correlation, see :func:`limbeck.functional.prediction_correlation`.

    Paper: Huang et al., NeurIPS 2022, arXiv 2205.10536, equations 8 to 11. Deviation: none.
    """

    needs = {"logits"}
    links = {"paired", "partly_paired"}
    problems = {"classification", "choice"}
    units = {"supervised": "labelled", "inter": "pair", "intra": "batch"}
    Config = DISTConfig

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        t, (rows, said) = self.config.temperature, b.teacher.paired()
        ours, theirs = b.student.logits[rows], said.log_predictions()
        return {
            "supervised": b.label_loss(),
            "inter": prediction_correlation(ours, theirs, temperature=t, reduction="sum"),
            "intra": prediction_correlation(ours, theirs, over="rows", temperature=t),
        }
