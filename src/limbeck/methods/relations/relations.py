"""Relational distillation: the student's samples lie to each other as the teacher's do; no projector is needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from limbeck.functional import correlation_congruence, pkt, similarity_preserving
from limbeck.methods.base import Method, Settings, StepBatch, Weight, setting, weight
from limbeck.methods.presets import Preset

Relation = Literal["sp", "cc", "pkt"]
_RELATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sp": similarity_preserving,
    "cc": correlation_congruence,
    "pkt": pkt,
}


@dataclass
class RelationsConfig(Settings):
    relation: Relation = setting("sp", "rows of similarities, a kernel of them, or who is near whom")
    weight_supervised: Weight = weight(1.0)
    weight_relation: Weight = weight(1.0, "of the relation, a mean over all pairs of rows of a batch")


class Relations(Method):
    r"""Match the relations between the samples of a batch, as features of each side show them.

    .. math:: L = w_s L_{CE} + w_r R\big(\{f_s(i)\}, \{f_t(i)\}\big), \quad i\,\text{paired}

    with R similarity preserving, correlation congruence or probabilistic knowledge transfer (see
    :func:`limbeck.functional.similarity_preserving`, :func:`~limbeck.functional.correlation_congruence`,
    :func:`~limbeck.functional.pkt`). A batch needs three pairs or more to say much: give it as many as fit.

    Paper: Tung and Mori, ICCV 2019, arXiv 1907.09682; Peng et al., ICCV 2019, arXiv 1904.01802; Passalis and Tefas,
    ECCV 2018, arXiv 1803.10837.
    """

    needs = {"features"}
    links = {"paired", "partly_paired"}
    units = {"supervised": "labelled", "relation": "batch"}
    Config = RelationsConfig

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        rows, said = b.teacher.paired()
        relation = _RELATIONS[self.config.relation](b.student.features[rows], said["features"])
        return {"supervised": b.label_loss(), "relation": relation}


PRESETS = {
    "sp": Preset(
        "Tung and Mori, ICCV 2019, arXiv 1907.09682, equations 1 to 4",
        fixed={"relation": "sp"},
        defaults={"weight_relation": 3000.0},
    ),
    "cc": Preset("Peng et al., ICCV 2019, arXiv 1904.01802, section 3.3", fixed={"relation": "cc"}),
    "pkt": Preset(
        "Passalis and Tefas, ECCV 2018, arXiv 1803.10837, equations 3 to 6", fixed={"relation": "pkt"}
    ),
}
