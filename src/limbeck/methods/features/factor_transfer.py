"""Factor transfer: the teacher's features in other words, which the student translates its own into."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from limbeck.functional import hint_mse, normalised_gap
from limbeck.layers import mlp_projector
from limbeck.methods.base import Method, Settings, Shapes, StepBatch, Weight, setting, weight


@dataclass
class FactorTransferConfig(Settings):
    share: float = setting(0.5, "width of the factors, as a share of the teacher's width (k)", above=0)
    p: float = setting(1.0, "of the distance of the factors", low=1)
    weight_supervised: Weight = weight(1.0)
    weight_factor: Weight = weight(1.0, "of the distance of the factors (beta)")
    weight_paraphrase: Weight = weight(1.0, "of the paraphraser's own loss, which the student does not see")


class FactorTransfer(Method):
    r"""Follow the direction of factors that an autoencoder of the teacher's features makes, by factors of one's own.

    .. math:: L = w_s L_{CE} + w_f \frac1p \sum_{i\,\text{paired}}
        \Big\| \frac{F_s}{\|F_s\|} - \frac{F_t}{\|F_t\|} \Big\|_p
        + w_p \frac1p \sum_i \frac1D \|D(F_t) - f_t\|^2

    with the factors :math:`F_t = E(f_t)` of the paraphraser and :math:`F_s` of the translator, none of them exported;
    no gradient of the second term reaches the paraphraser, none of the third the student. See
    :func:`limbeck.functional.normalised_gap`.

    Paper: Kim, Park, Kwak, NeurIPS 2018, arXiv 1802.04977, equations 1 to 4. Deviation: on the penultimate features,
    with MLPs in the place of convolutions, and the paraphraser is trained along and not ahead.
    """

    needs = {"features"}
    links = {"paired", "partly_paired"}
    units = {"supervised": "labelled", "factor": "pair", "paraphrase": "pair"}
    detached = {"paraphrase"}
    Config = FactorTransferConfig

    def __init__(self, config: FactorTransferConfig, shapes: Shapes) -> None:
        super().__init__(config, shapes)
        d, e = shapes.student.width, shapes.teacher.width
        width = max(1, round(config.share * e))
        self.paraphrase, self.back = mlp_projector(e, width), mlp_projector(width, e)
        self.translate = mlp_projector(d, width)

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        rows, said = b.teacher.paired()
        theirs = said["features"].detach().to(next(self.parameters()).dtype)
        factors = self.paraphrase(theirs)
        gap = normalised_gap(
            self.translate(b.student.features[rows]), factors, p=self.config.p, reduction="sum"
        )
        own = hint_mse(self.back(factors), theirs, reduction="sum") / theirs.shape[1]
        return {"supervised": b.label_loss(), "factor": gap, "paraphrase": own}
