"""One method of each kind, as a package of somebody else would write it. Formulas that the library has not are
below."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limbeck.functional import distillation_kl, pair_cosine_gap
from limbeck.functional.diffusion.schedule import Schedule, normal_like, uniform_times
from limbeck.methods.base import (
    Declared,
    Descent,
    Method,
    Settings,
    Shapes,
    StepBatch,
    Weight,
    setting,
    weight,
)
from limbeck.signals.teacher_rows import spread

# ---- (i) a loss alone -------------------------------------------------------------------------------------------


@dataclass
class RKDConfig(Settings):
    weight_supervised: Weight = weight(1.0)
    weight_distance: Weight = weight(25.0)
    weight_angle: Weight = weight(50.0)


class RKD(Method):
    """Relations between rows: distances and angles."""

    needs = {"features"}
    links = {"paired", "partly_paired"}
    units = {"supervised": "labelled", "distance": "batch", "angle": "batch"}
    Config = RKDConfig

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        rows, said = b.teacher.paired()
        x_s, x_t = b.student.features[rows], said["features"].to(b.student.features)
        return {
            "supervised": b.label_loss(),
            "distance": F.smooth_l1_loss(distances(x_s), distances(x_t)),
            "angle": F.smooth_l1_loss(angles(x_s), angles(x_t)),
        }


def distances(x: Tensor) -> Tensor:
    d = (x.unsqueeze(0) - x.unsqueeze(1)).square().sum(-1).clamp(min=1e-12).sqrt()
    return d / d[d > 1e-5].mean().clamp(min=1e-12)


def angles(x: Tensor) -> Tensor:
    e = F.normalize(x.unsqueeze(0) - x.unsqueeze(1), dim=-1)
    return torch.bmm(e, e.mT).flatten()


# ---- (ii) live networks -----------------------------------------------------------------------------------------


@dataclass
class MutualConfig(Settings):
    temperature: float = setting(2.0, "of both sides", above=0)
    weight_supervised: Weight = weight(1.0)
    weight_fellow_supervised: Weight = weight(1.0)
    weight_to_student: Weight = weight(1.0)
    weight_to_fellow: Weight = weight(1.0)


class Mutual(Method):
    """Two students teach each other."""

    peers = {"fellow"}
    units = {
        "supervised": "labelled",
        "fellow_supervised": "labelled",
        "to_student": "row",
        "to_fellow": "row",
    }
    detached = {"fellow_supervised", "to_fellow"}
    Config = MutualConfig

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        s, f, t = b.student, b.peer("fellow"), self.config.temperature
        return {
            "supervised": b.label_loss(),
            "fellow_supervised": b.label_loss(f),
            "to_student": distillation_kl(s.logits, f.logits, temperature=t, reduction="sum"),
            "to_fellow": distillation_kl(f.logits, s.logits, temperature=t, reduction="sum"),
        }


@dataclass
class AdaptedConfig(Settings):
    weight_supervised: Weight = weight(1.0)
    weight_distillation: Weight = weight(1.0)
    weight_adapter: Weight = weight(1.0)
    weight_adapter_supervised: Weight = weight(1.0)


class AdaptedTeacher(Method):
    """An adapter in an open teacher learns to be followed."""

    needs = {"logits"}
    links = {"paired"}
    units = {
        "supervised": "labelled",
        "distillation": "row",
        "adapter": "row",
        "adapter_supervised": "labelled",
    }
    detached = {"adapter", "adapter_supervised"}
    Config = AdaptedConfig

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        s, t = b.student.logits, b.teachers["teacher"].said["logits"]
        ours = {"supervised": b.label_loss(), "distillation": distillation_kl(s, t, reduction="sum")}
        theirs = {"adapter_supervised": b.label_loss(t), "adapter": distillation_kl(t, s, reduction="sum")}
        return ours | theirs


# ---- (iii) another tokenizer ------------------------------------------------------------------------------------


@dataclass
class SortedConfig(Settings):
    weight_supervised: Weight = weight(1.0)
    weight_transport: Weight = weight(1.0)


class SortedVocabularies(Method):
    """A bank of top-k tokens of another tokenizer: distributions are compared sorted, so that no word must be the
    same."""

    needs = {"tokens"}
    links = {"paired"}
    problems = {"token_classes"}
    units = {"supervised": "labelled", "transport": "pair"}
    Config = SortedConfig

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        rows, said = b.teacher.paired()
        theirs, shown = said["tokens"].padded()
        gap = sorted_gap(b.student.logits[rows], theirs.log_probs, b.student.mask, rows, shown)
        return {"supervised": b.label_loss(), "transport": gap.sum()}


def sorted_gap(logits: Tensor, log_probs: Tensor, mask: Tensor | None, rows: Tensor, shown: Tensor) -> Tensor:
    """``[p]``: mean over the positions that both show of the L1 distance of the sorted probabilities."""
    n = min(logits.shape[1], log_probs.shape[1])
    ours, theirs = logits.softmax(-1).sort(-1, descending=True).values[:, :n], log_probs.exp()[:, :n]
    width = max(ours.shape[-1], theirs.shape[-1])
    ours, theirs = (
        F.pad(x, (0, width - x.shape[-1])) for x in (ours, theirs.sort(-1, descending=True).values)
    )
    both = shown[:, :n] if mask is None else shown[:, :n] & mask[rows][:, :n]
    gap = (ours - theirs.to(ours)).abs().sum(-1) * both
    return gap.sum(-1) / both.sum(-1).clamp(min=1)


# ---- (v) several teachers ---------------------------------------------------------------------------------------


@dataclass
class GatedConfig(Settings):
    weight_supervised: Weight = weight(1.0)
    weight_distillation: Weight = weight(1.0)
    weight_gate: Weight = weight(1.0)


class Gated(Method):
    """A gate, learned from the labelled rows, says whom to follow."""

    needs = {"logits"}
    links = {"paired", "partly_paired"}
    problems = {"classification"}
    units = {"supervised": "labelled", "distillation": "pair", "gate": "pair"}
    detached = {"gate"}
    Config = GatedConfig

    def __init__(self, config: Any, shapes: Shapes) -> None:
        super().__init__(config, shapes)
        self.gate = nn.Linear(shapes.student.width, len(shapes.teachers))

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        log_p, there = spread(b.teachers, len(b))
        rows = there.any(1)
        share = self.gate(b.student.features.detach()).masked_fill(~there, -1e4)[rows].log_softmax(-1)
        fused = (share.unsqueeze(-1) + log_p[rows]).logsumexp(1)
        known = rows & b.labelled
        return {
            "supervised": b.label_loss(),
            "distillation": distillation_kl(b.student.logits[rows], fused, reduction="sum"),
            "gate": F.nll_loss(fused[known[rows]], b.classes[known], reduction="sum") + 0.0 * share.sum(),
        }


# ---- (vi) missing modalities ------------------------------------------------------------------------------------


@dataclass
class AnySubsetConfig(Settings):
    weight_supervised: Weight = weight(1.0)
    weight_inter: Weight = weight(1.0)
    weight_intra: Weight = weight(1.0)


class AnySubset(Method):
    """The student is asked again with one of its modalities set aside."""

    needs = {"features"}
    links = {"paired"}
    units = {"supervised": "labelled", "inter": "batch", "intra": "pair"}
    Config = AnySubsetConfig

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        rows, said = b.teacher.paired()
        whole = b.student.features[rows]
        part = b.run(without_one(b.inputs, b.generator)).features[rows]
        return {
            "supervised": b.label_loss(),
            "inter": F.mse_loss(cosines(whole), cosines(said["features"].to(whole))),
            "intra": pair_cosine_gap(part, whole.detach(), reduction="sum"),
        }


def without_one(inputs: dict[str, Tensor], generator: torch.Generator | None) -> dict[str, Tensor]:
    """The same rows, each without one of its modalities: ``present [n, M]``."""
    gone = torch.randint(inputs["present"].shape[1], (len(inputs["present"]), 1), generator=generator)
    return {**inputs, "present": inputs["present"].scatter(1, gone, 0.0)}


def cosines(x: Tensor) -> Tensor:
    return F.normalize(x) @ F.normalize(x).T


# ---- (viii) no data ---------------------------------------------------------------------------------------------


@dataclass
class DataFreeConfig(Settings):
    generator_steps: int = setting(1, "descents of the generator in a step", low=1)
    generator_rate: float = setting(1e-2, "of the generator", above=0)
    weight_distillation: Weight = weight(1.0)


class DataFree(Method):
    """A generator looks for what the student does not know yet."""

    needs = {"logits"}
    links = {"paired"}
    units = {"distillation": "row"}
    Config = DataFreeConfig

    @classmethod
    def declared(cls, c: DataFreeConfig) -> Declared:
        descent = Descent(
            "generator", moves="generator", steps=c.generator_steps, learning_rate=c.generator_rate
        )
        return super().declared(c).with_(student="asked", descents=(descent,))

    def __init__(self, config: Any, shapes: Shapes) -> None:
        super().__init__(config, shapes)
        (width,) = shapes.teacher.inputs["x"]
        self.generator = nn.Sequential(nn.Linear(width, 16), nn.Tanh(), nn.Linear(16, width))

    def _gap(self, b: StepBatch, x: Tensor) -> Tensor:
        return (b.run({"x": x}).logits - b.ask("teacher", {"x": x}).logits).abs().mean(-1)

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        return {"distillation": self._gap(b, self.generator(b.inputs["noise"]).detach()).sum()}

    def descent_loss(self, b: StepBatch, name: str) -> Tensor:
        return -self._gap(b, self.generator(b.inputs["noise"])).mean()


# ---- (x) diffusion ----------------------------------------------------------------------------------------------


@dataclass
class StepHalvingConfig(Settings):
    steps: int = setting(4, "of the student's sampler", low=1)
    weight_distillation: Weight = weight(1.0)


class StepHalving(Method):
    """Two steps of the teacher are one of the student."""

    needs = {"prediction"}
    links = {"paired"}
    problems = {"denoising"}
    units = {"distillation": "row"}
    Config = StepHalvingConfig

    @classmethod
    def declared(cls, config: StepHalvingConfig) -> Declared:
        return super().declared(config).with_(student="asked")

    def losses(self, b: StepBatch) -> dict[str, Tensor]:
        path, x, half = Schedule(), b.inputs["x"], 0.5 / self.config.steps
        t = uniform_times(len(x), b.generator, steps=self.config.steps).to(x)
        x_t = path.noised(x, normal_like(x, b.generator), t)
        reached = x_t
        for at in (t, t - half):
            with torch.no_grad():
                said = b.ask("teacher", {"x": reached, "t": at}).prediction
                reached = path.ddim(reached, said, at, at - half)
        found = b.run({"x": x_t, "t": t}).prediction
        return {"distillation": (found - path.goal(x_t, reached, t, t - 2 * half)).square().mean(-1).sum()}
