"""Ranking: the student orders classes or choices as the teacher does, or with the teacher's margins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from limbeck.functional import margin_mse, pair_ranking
from limbeck.methods.base import Method, Settings, StepBatch, Weight, setting, weight
from limbeck.methods.presets import Preset


@dataclass
class RankingConfig(Settings):
    match: Literal["logistic", "hinge", "margin_mse"] = setting(
        "logistic", "the order of every two, by its logistic or hinge loss, or how far the likeliest is ahead"
    )
    margin: float = setting(1.0, "of the hinge", above=0)
    weight_supervised: Weight = weight(1.0)
    weight_ranking: Weight = weight(1.0, "of the ranking, a mean over the pairs of classes of a row")


class Ranking(Method):
    r"""Score of every two classes the one higher that the teacher does, whatever its level.

    .. math:: L = w_s L_{CE} + w_r \frac1p \sum_{i\,\text{paired}} \frac1{|O_i|} \sum_{(k, l) \in O_i}
        \log\big(1 + e^{-(z_s^k - z_s^l)}\big), \qquad O_i = \{(k, l): p_t^k > p_t^l\}

    see :func:`limbeck.functional.pair_ranking`; with ``margin_mse`` the gap between the class that the teacher holds
    likeliest and each other is that of the teacher's logits (:func:`limbeck.functional.margin_mse`).

    Paper: Burges et al. (RankNet), ICML 2005; Hofstatter et al., arXiv 2010.02666, equation 5. Deviation: the likeliest
    choice of the teacher stands for the relevant passage.
    """

    needs = {"logits"}
    links = {"paired", "partly_paired"}
    problems = {"classification", "choice"}
    units = {"supervised": "labelled", "ranking": "pair"}
    Config = RankingConfig

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        c, (rows, said) = self.config, b.teacher.paired()
        ours, theirs = b.student.logits[rows], said.log_predictions()
        if c.match == "margin_mse":
            first = theirs.argsort(-1, descending=True)
            gaps = margin_mse(ours.gather(-1, first), theirs.gather(-1, first), reduction="none")
            ranking = gaps.sum() / max(gaps.shape[-1], 1)
        else:
            kind: Literal["logistic", "hinge"] = "logistic" if c.match == "logistic" else "hinge"
            found = pair_ranking(ours, theirs.softmax(-1), kind=kind, margin=c.margin, reduction="none")
            ranking = torch.sum(found)
        return {"supervised": b.label_loss(), "ranking": ranking}


PRESETS = {
    "margin_mse": Preset("Hofstatter et al., arXiv 2010.02666, equation 5", fixed={"match": "margin_mse"}),
}
