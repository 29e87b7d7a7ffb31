"""Distillation on mixed inputs: student and teacher are asked about the same mixtures of two rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from limbeck.errors import DataError
from limbeck.functional import distillation_kl
from limbeck.methods.base import Method, Settings, StepBatch, Weight, setting, weight
from limbeck.methods.presets import Preset


@dataclass
class MixedConfig(Settings):
    mix: Literal["mixup", "cutmix"] = setting("mixup", "means of two rows, or a box of one inside the other")
    alpha: float = setting(1.0, "of the Beta law that the shares are drawn from", above=0)
    candidates: int = setting(
        1, "mixtures made of each row, of which those that the teacher is least sure of are taken", low=1
    )
    temperature: float = setting(4.0, "softens both sides (T)", above=0)
    weight_supervised: Weight = weight(1.0)
    weight_distillation: Weight = weight(1.0, "of the divergence on the rows as they are")
    weight_mixed: Weight = weight(1.0, "of the divergence on the mixtures, a mean over them")


class Mixed(Method):
    r"""Match the teacher on the batch's rows, and on mixtures of them, which need no label.

    .. math:: L = w_s L_{CE} + w_d \frac{T^2}{p} \sum_{i\,\text{paired}} KL(p_t^T(i) \,\|\, p_s^T(i))
        + w_m \frac{T^2}{n} \sum_j KL(p_t^T(\tilde x_j) \,\|\, p_s^T(\tilde x_j))

    Both sides see the very same mixtures, so the teacher must be live and of the student's modality
    (``teacher: {live: ..., view: same}``). With ``candidates: k``, k n mixtures are made and the n of highest entropy
    under the teacher are kept.

    Paper: mixup, Zhang et al., ICLR 2018, arXiv 1710.09412; CutMix, Yun et al., ICCV 2019, arXiv 1905.04899; with a
    teacher, Beyer et al., CVPR 2022, arXiv 2106.05237, and Wang et al. (CutMixPick), NeurIPS 2022, arXiv 2012.02909.
    """

    needs = {"logits"}
    links = {"paired"}
    problems = {"classification"}
    units = {"supervised": "labelled", "distillation": "pair", "mixed": "batch"}
    Config = MixedConfig

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        c, (rows, said) = self.config, b.teacher.paired()
        (name,) = b.teachers
        inputs, theirs = self._mixtures(b, name)
        mixed = distillation_kl(b.run(inputs).logits, theirs, temperature=c.temperature)
        match = distillation_kl(
            b.student.logits[rows], said.log_predictions(), temperature=c.temperature, reduction="sum"
        )
        return {"supervised": b.label_loss(), "distillation": match, "mixed": mixed}

    @torch.no_grad()
    def _mixtures(self, b: StepBatch, name: str) -> tuple[dict[str, Tensor], Tensor]:
        """Mixtures of as many rows as there are, and the teacher's log-probabilities of them."""
        draw = np.random.default_rng(int(torch.randint(2**62, (), generator=b.generator)))
        made = [
            mixtures(b.inputs, self.config.mix, self.config.alpha, draw)
            for _ in range(self.config.candidates)
        ]
        inputs = {column: torch.cat([m[column] for m in made]) for column in b.inputs}
        said = b.ask(name, inputs).log_predictions()
        if self.config.candidates == 1:
            return inputs, said
        kept = (-said.exp() * said).sum(-1).topk(len(b)).indices
        return {column: value[kept] for column, value in inputs.items()}, said[kept]


def mixtures(
    inputs: dict[str, Tensor], mix: str, alpha: float, draw: np.random.Generator
) -> dict[str, Tensor]:
    """Each row ``[n, ...]`` mixed with one other row, all columns alike.

    Raises: DataError for inputs that are no numbers with a fraction (tokens), and, of ``cutmix``, no pictures.
    """
    n = len(next(iter(inputs.values())))
    other, share = torch.from_numpy(draw.permutation(n)), draw.beta(alpha, alpha)
    whole: Any = slice(None)
    for column, value in inputs.items():
        if not value.is_floating_point() or (mix == "cutmix" and value.dim() != 4):
            raise DataError(
                f"The input {column!r} ({list(value.shape[1:])} a row, {value.dtype}) cannot be mixed by {mix}: "
                "mixup takes numbers with a fraction, cutmix pictures [channels, height, width]."
            )
        if mix == "cutmix":
            whole = (..., *_box(value.shape[2:], share, draw))
    found = {}
    for column, value in inputs.items():
        second = value[other.to(value.device)]
        if mix == "mixup":
            found[column] = share * value + (1 - share) * second
        else:
            found[column] = value.clone()
            found[column][whole] = second[whole]
    return found


def _box(grid: torch.Size, share: float, draw: np.random.Generator) -> tuple[slice, slice]:
    """Rows and columns of a box of about 1 - ``share`` of a picture, anywhere in it, cut at its edges."""
    slices = []
    for size in grid:
        half, middle = int(size * np.sqrt(1 - share)) // 2, int(draw.integers(size))
        slices.append(slice(max(0, middle - half), min(size, middle + half)))
    return slices[0], slices[1]


PRESETS = {
    "mixup_kd": Preset(
        "mixup, Zhang et al., ICLR 2018, arXiv 1710.09412, with a teacher asked about the mixtures",
        fixed={"mix": "mixup", "candidates": 1},
        row=46,
    ),
    "cutmix_pick": Preset(
        "Wang et al., NeurIPS 2022, arXiv 2012.02909, the authors' code (teacher's entropy, two candidates)",
        fixed={"mix": "cutmix"},
        defaults={"candidates": 2},
        row=106,
    ),
    "function_matching": Preset(
        "Beyer et al., CVPR 2022, arXiv 2106.05237, section 3: the same views and mixtures for both, no labels",
        fixed={"mix": "mixup", "candidates": 1},
        defaults={"temperature": 1.0, "weight_supervised": 0.0, "weight_distillation": 0.0},
        row=129,
    ),
}
