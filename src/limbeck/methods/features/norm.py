"""NORM: a block of the student that widens its last maps reproduces the teacher's in each of N groups."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from limbeck.errors import ConfigError
from limbeck.functional import many_to_one
from limbeck.methods.base import (
    Settings,
    Shapes,
    StepBatch,
    Weight,
    setting,
    weight,
)
from limbeck.methods.features.maps import channels_of
from limbeck.methods.layer_pairs import OverLayerPair


@dataclass
class NORMConfig(Settings):
    layer: str = setting(
        "layer:-1",
        "STUDENT=TEACHER, the widened maps of the student and the maps of the teacher: a module path or layer:-1",
    )
    weight_supervised: Weight = weight(1.0)
    weight_match: Weight = weight(1.0, "of the match (beta), a sum over groups")


class NORM(OverLayerPair):
    r"""Match one map of the teacher with each of N groups of the student's widened map.

    .. math:: L = w_s L_{CE} + w_m \frac1p \sum_{i\,\text{paired}} \sum_{k=1}^N \frac1{C H W}
        \|F_s^k(i) - F_t(i)\|^2

    with N C the channels of the student's layer and C those of the teacher's. The widening belongs to the student, and
    is shipped with it: ``model: small_conv_net, config: {widened: ...}`` has such a block
    (:class:`limbeck.layers.Widened`, ``wide`` in it is the layer to name). Of grids of two sizes the finer one is
    pooled to the other by its largest values, and both sides must show the same thing at the same place.

    Paper: Liu et al., ICLR 2023, arXiv 2305.13803, as the authors' code computes it. Deviation: their code also
    standardises the logits of both sides and changes beta in steps; both are settings (``logit_std``, a curve).
    """

    units = {"supervised": "labelled", "match": "pair"}
    Config = NORMConfig

    def __init__(self, config: NORMConfig, shapes: Shapes) -> None:
        super().__init__(config, shapes)
        ((ours, theirs),) = channels_of([(self.ours, self.theirs)], shapes)
        if ours % theirs:
            raise ConfigError(
                f"The layer {self.ours!r} of the student has {ours} channels, which is no multiple of the teacher's "
                f"{theirs}; widen it to N times as many (small_conv_net: widened: {4 * theirs})."
            )

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        rows, said = b.teacher.paired()
        ours, theirs = b.student.hidden_states[self.ours][rows], said["hidden_states"][self.theirs]
        grid = (min(ours.shape[2], theirs.shape[2]), min(ours.shape[3], theirs.shape[3]))
        s, t = (
            (x if x.shape[2:] == grid else F.adaptive_max_pool2d(x, grid)).flatten(2).mT.flatten(0, 1)
            for x in (ours, theirs)
        )
        match = many_to_one(s, t, reduction="sum") / (grid[0] * grid[1])
        return {"supervised": b.label_loss(), "match": match}
