"""One class for each pixel of a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.errors import DataError
from limbeck.problems.base import likeliest
from limbeck.problems.metric import ACCURACY, MEAN_IOU, Metric
from limbeck.problems.positions import Positions, accuracy, mean_iou, summed


@dataclass(frozen=True)
class Segmentation(Positions):
    """Targets are class numbers ``[N, H, W]``, -100 where a pixel does not count; logits of a coarser grid are brought
    to that of the targets bilinearly, as transformers' models are trained."""

    kind: ClassVar[str] = "segmentation"
    measures: ClassVar[tuple[Metric, ...]] = (MEAN_IOU, ACCURACY)
    auto_model: ClassVar[str | None] = "SemanticSegmentation"
    title: ClassVar[str] = "A classifier of pixels into {n} classes: {names}."

    def _resized(self, logits: Tensor, classes: Tensor) -> Tensor:
        if logits.ndim != 4 or classes.ndim != 3:
            raise DataError(
                f"A segmentation has logits [n, h, w, C] and targets [n, H, W], not {list(logits.shape)} and "
                f"{list(classes.shape)}."
            )
        if logits.shape[1:3] == classes.shape[1:]:
            return logits
        size = (int(classes.shape[1]), int(classes.shape[2]))
        return F.interpolate(logits.movedim(-1, 1), size=size, mode="bilinear").movedim(1, -1)

    def scores(self, statistics: Mapping[str, Tensor]) -> dict[str, float]:
        counts = summed(statistics)
        return {"mean_iou": mean_iou(counts), "accuracy": accuracy(counts)}

    def answers(self, outputs: Tensor, mask: Tensor | None = None) -> list[dict[str, Any]]:
        """The share of each class, and the class number of every pixel."""
        found = outputs.argmax(-1)
        shares = [torch.bincount(row.flatten(), minlength=len(self.names)) / row.numel() for row in found]
        return [
            {"shares": dict(zip(self.names, share.tolist(), strict=True)), "pixels": row.tolist()}
            for share, row in zip(shares, found)
        ]

    def told(self, answer: Mapping[str, Any]) -> str:
        return likeliest(answer["shares"])
