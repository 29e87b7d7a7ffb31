"""Scale, spread and collapse of what teacher and student show.

Axis legend: n rows, d features, C classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

MOST_ROWS = 1024
COLLAPSED_RANK = 1.5
COLLAPSED_COSINE = 0.999
UNMATCHED_SCALE = 1000.0  # ratio of two sides' scales beyond which one of them drowns


@dataclass(frozen=True)
class FeatureFacts:
    """Of one side's features.

    Args:
        width: d.    scale: root mean square norm of a row.    spread: the same about the mean row.
        rank: effective rank of the spread, (sum of variances)^2 / sum of squared variances, in [1, d].
        cosine: mean cosine of two rows.    constant: share of columns that never change.
    """

    width: int
    scale: float
    spread: float
    rank: float
    cosine: float
    constant: float

    @property
    def collapsed(self) -> bool:
        """All rows say the same."""
        return (
            self.spread <= 1e-6 * self.scale or self.cosine > COLLAPSED_COSINE or self.rank < COLLAPSED_RANK
        )


def feature_facts(features: Tensor) -> FeatureFacts:
    """Of ``features (n, d)``, of at most 1024 rows."""
    x = features[:: max(1, -(-len(features) // MOST_ROWS))].double()
    centred = x - x.mean(0)
    variances = torch.linalg.svdvals(centred).square()
    unit = torch.nn.functional.normalize(x, dim=1)
    n = max(len(x), 2)
    return FeatureFacts(
        width=x.shape[1],
        scale=float(x.square().sum(1).mean().sqrt()),
        spread=float(centred.square().sum(1).mean().sqrt()),
        rank=float(variances.sum() ** 2 / variances.square().sum().clamp(min=1e-300)) if len(x) > 1 else 1.0,
        cosine=float((unit.sum(0).square().sum() - len(x)) / (n * (n - 1))),
        constant=float((centred.abs().amax(0) <= 1e-6 * (1 + x.abs().amax(0))).double().mean()),
    )


@dataclass(frozen=True)
class PredictionFacts:
    """Of a teacher's predictions.

    Args:
        confidence: mean of the largest probability.    entropy: mean, over ln C, in [0, 1].
        commonest: share of the rows that get the class which most rows get.    which: that class.
    """

    confidence: float
    entropy: float
    commonest: float
    which: int


def prediction_facts(log_probs: Tensor) -> PredictionFacts:
    """Of ``log_probs (n, C)``."""
    p = log_probs.double().exp()
    counts = torch.bincount(p.argmax(1), minlength=p.shape[1])
    return PredictionFacts(
        confidence=float(p.max(1).values.mean()),
        entropy=float(-torch.xlogy(p, p).sum(1).mean() / math.log(p.shape[1])),
        commonest=float(counts.max() / len(p)),
        which=int(counts.argmax()),
    )


def signal_warnings(sides: dict[str, FeatureFacts], predictions: PredictionFacts | None) -> list[str]:
    """Sentences on sides (name to facts) that have collapsed or differ a thousandfold in scale."""
    found = []
    for name, facts in sides.items():
        if facts.collapsed:
            found.append(
                f"The {name}'s features have collapsed (effective rank {facts.rank:.1f} of {facts.width}, mean cosine "
                f"{facts.cosine:.3f}): all rows say nearly the same; take another layer or pooling."
            )
        elif facts.constant > 0.5:
            found.append(f"{facts.constant:.0%} of the {name}'s feature columns never change.")
    scales = {name: facts.scale for name, facts in sides.items() if facts.scale > 0}
    if len(scales) == 2 and max(scales.values()) > UNMATCHED_SCALE * min(scales.values()):
        large = max(scales, key=lambda name: scales[name])
        found.append(
            f"The {large}'s features are {max(scales.values()) / min(scales.values()):,.0f} times as large as the "
            "other side's; a method that matches features as they are needs them normalised."
        )
    if predictions is not None and predictions.entropy > 0.99:
        found.append(
            "The teacher's predictions are uniform to within 1%: they say nothing, whatever their largest class is."
        )
    return found
