"""The settings of ARMADA: our form by default, the paper's by its presets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from limbeck.methods.base import Settings, Weight, setting, weight

Manifold = Literal["pairs", "cosine", "elementwise", "euclid", "cosine_verbatim"]
_TEMPERATURE = {"kl": 1.0, "l2": 5.0}


@dataclass
class ARMADAConfig(Settings):
    weight_supervised: Weight = weight(1.0, "of the student's own label loss")
    weight_logits: Weight = weight(1.0, "of the match to the aligner's task output")
    weight_manifold: Weight = weight(1.0, "of the distance of the two projections (beta)")
    weight_auxiliary: Weight = weight(1.0, "of the task head on the student's projection (gamma)")
    weight_aligner: Weight = weight(1.0, "of the aligner's own label loss; it does not move the student")
    manifold: Manifold = setting(
        "pairs",
        "pairs: mean Euclidean distance of pairs; cosine: one minus the cosine of pairs; and as the paper prints them: "
        "elementwise (pairs), euclid: distance of the two means, cosine_verbatim: one minus the inner product of the "
        "means, which has no least value",
    )
    width: int = setting(768, "of the shared space", low=1)
    depth: int = setting(2, "linear layers of each projection; of heads: one", low=1)
    temperature: float | None = setting(
        None, "of the match; null: 1 for kl, 5 for l2; kl has none in a regression", above=0
    )
    match_trains_aligner: bool = setting(False, "the logit match also moves the aligner")
    manifold_trains_both: bool = setting(
        False, "the manifold term also moves the teacher's projection (see below)"
    )
    teacher: Literal["features", "text"] = setting(
        "features",
        "the bank's features, or its texts (captions, rationales), embedded once by a frozen text encoder",
    )
    teacher_row: Literal["row", "choice"] = setting(
        "row",
        "choice: multiple choice whose every choice has a teacher row of its own (data.config.teacher_rows)",
    )
    match: Literal["kl", "l2"] = setting(
        "kl",
        "kl: divergence of the predictions, T^2 times; l2: Euclidean distance of the softened predictions, as printed",
    )
    alpha: float | None = setting(
        None,
        "share of the matches, 1 - alpha that of the student's label losses, beside their weights; null: no shares",
        low=0,
        high=1,
    )
    heads: Literal["one", "two"] = setting(
        "one",
        "one: the aligner's task head reads its projection; two: it reads an inner layer, and both projections have "
        "auxiliary heads with losses and a match of their own, as in the paper's table 1",
    )
    weight_auxiliary_logits: Weight = weight(
        1.0, "of heads: two; of the match of the auxiliary heads (gamma)"
    )
    weight_aligner_auxiliary: Weight = weight(
        1.0, "of heads: two; of the label loss of the aligner's auxiliary head (gamma)"
    )
    aligner: Literal["trained", "frozen", "without_teacher"] = setting(
        "trained",
        "frozen: its teacher's side stays as method.init left it, or as it was drawn; without_teacher: it reads the "
        "student's own representation, through a fixed random map to the teacher's width, so that it has as many "
        "weights and no teacher",
    )
    teacher_noise: float = setting(
        0.0,
        "normal noise on what the teacher shows in training, in units of the spread within each row",
        low=0,
    )
    pretrain: Literal["no", "labels", "reconstruction"] = setting(
        "no",
        "a stage for the aligner alone, before the student's: from labels, or by reproducing the teacher's features; "
        "the next stage starts from it by method.init",
    )

    @property
    def softness(self) -> float:
        """The temperature of the match."""
        return _TEMPERATURE[self.match] if self.temperature is None else self.temperature
