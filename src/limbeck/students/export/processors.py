"""A processor of transformers that reads pictures as limbeck does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def image_processor(loads_with: str, settings: Mapping[str, Any]) -> Any:
    """For a classifier of RGB pictures by the settings of ``preprocessor.json``; None for any other student.

    Grey pictures have none: transformers' pipelines show every picture as RGB.
    """
    names = ("height", "width", "channels", "mean", "deviation")
    if settings.get("kind") != "image" or not loads_with.endswith("ImageClassification"):
        return None
    if not all(name in settings for name in names) or settings["channels"] != 3:
        return None
    from transformers import ViTImageProcessor

    means, deviations = (
        [float(value)] * 3 if isinstance(value, int | float) else list(value)
        for value in (settings["mean"], settings["deviation"])
    )
    return ViTImageProcessor(
        do_resize=True,
        size={"height": settings["height"], "width": settings["width"]},
        resample=2,  # bilinear, as Pillow counts
        do_rescale=True,
        rescale_factor=1 / 255,
        do_normalize=True,
        image_mean=means,
        image_std=deviations,
        do_convert_rgb=True,
    )
