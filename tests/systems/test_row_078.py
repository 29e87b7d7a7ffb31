"""DMAE (Bai et al., CVPR 2023): few patches for both, a teacher that stops at a layer, pixels of the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from systems.evidence import Evidence
from torch import nn
from transformers import ViTForImageClassification

from limbeck.distill import distill

VIT = {"live": "model", "view": "same", "train": False, "model": "vit_small"}
VIT |= {"config": {"layers": 4, "patch": 4}}
STUDENT = {"model": "vit_small", "config": {"layers": 2, "patch": 4}}
SMALL = {"decoder_width": 32, "decoder_layers": 1, "decoder_heads": 2, "layer": "layer:50%"}
TRAINING = {"max_steps": 30, "learning_rate": 1e-3}


@pytest.mark.full
def test_an_inner_layer_and_pixels_teach(
    evidence: Evidence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No block of the teacher after its layer ever runs in a step, and both sides see four patches of sixteen."""
    lengths: dict[int, set[int]] = {}
    made = ViTForImageClassification.__init__

    def watched(self: Any, config: Any) -> None:
        made(self, config)
        if config.num_hidden_layers == 4:
            for place, block in enumerate(_blocks(self)):
                block.register_forward_hook(
                    lambda m, args, out, place=place: lengths.setdefault(place, set()).add(args[0].shape[1])
                )

    monkeypatch.setattr(ViTForImageClassification, "__init__", watched)
    evidence.holds(
        tmp_path, "dmae", "match", "reconstruction",
        config=SMALL, student="picture", model=STUDENT, training=TRAINING, teacher=VIT,
    )  # fmt: skip
    # whole pictures, 17 tokens, only when two rows are asked for the sizes
    assert lengths == {0: {17, 5}, 1: {17, 5}, 2: {17}, 3: {17}}


@pytest.mark.full
def test_a_student_that_never_saw_a_whole_picture_is_tuned_on_labels(
    evidence: Evidence, tmp_path: Path
) -> None:
    config = {**SMALL, "weight_supervised": 0.0}
    run = evidence.recipe(tmp_path / "masked", "dmae", config, student="picture", model=STUDENT, teacher=VIT)
    first = distill(run)
    assert not any("decoder" in name for name, _ in first.student.named_parameters())
    tuned = {**STUDENT, "init": str(tmp_path / "masked" / "student")}
    evidence.ships(
        distill(evidence.recipe(tmp_path / "tuned", "supervised", student="picture", model=tuned)),
        "picture",
    )


def _blocks(model: nn.Module) -> list[nn.Module]:
    stacks = [m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == 4]
    return list(stacks[0])
